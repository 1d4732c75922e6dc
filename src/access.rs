//! Access rules: which clients may emit and listen to what.
//!
//! ```text
//!   [access.sensors]  user = "sensor"  channel = "plant"  emit = "sensor.**"
//!   [access.screens]  group = "screens"                   listen = ["sensor.**", "alarm.*"]
//! ```
//! A rule is for the users and groups that it names, and for everybody if it names none.
//! Whom at least one rule is for may emit and listen to what these rules together allow, each
//! on its channels, and to nothing else. Whom none is for may do everything, or nothing if
//! the default is to deny; root and the broker's own user may always do everything.
//!
//! Invariant: a peer that the system does not tell is never freer than one that it tells.
//!
//! Decision: `docs/decisions/064-access-is-what-rules-allow.md`.

use std::collections::BTreeMap;
use std::sync::Arc;

use netcluster_platform::{Peer, find_group, find_user};
use netcluster_wire::Pattern;

/// Options of one access rule, each with a default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessOptions {
    /// Users that the rule is for, by name or number; on Windows by name or security
    /// identifier.
    pub users: Vec<String>,
    /// Groups that the rule is for, by name or number. Windows has none.
    pub groups: Vec<String>,
    /// Patterns of the channels that the rule holds on; none: all.
    pub channels: Vec<String>,
    /// Patterns of the events that may be emitted.
    pub emit: Vec<String>,
    /// Patterns of the events that may be listened to.
    pub listen: Vec<String>,
}

/// Rights of clients whom no access rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessDefault {
    /// Everything.
    #[default]
    Allow,
    /// Nothing.
    Deny,
}

/// One rule, checked.
#[derive(Debug)]
struct Rule {
    name: Box<str>,
    users: Vec<Peer>,
    groups: Vec<u32>,
    channels: Vec<Pattern>,
    emit: Vec<Pattern>,
    listen: Vec<Pattern>,
}

/// The access rules of a broker.
#[derive(Debug, Default)]
pub struct AccessRules {
    rules: Vec<Rule>,
    default: AccessDefault,
}

/// Rights of one client on its channel, as far as rules restrict it.
#[derive(Clone, Debug)]
pub struct Rights {
    rules: Arc<AccessRules>,
    /// Rules that are for the client, on its channel.
    here: Box<[u16]>,
    /// Names of all rules that are for the client, for messages.
    names: Box<str>,
}

/// Right that a client may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Emit events of a name.
    Emit,
    /// Listen to the events that a pattern matches.
    Listen,
}

impl AccessRules {
    /// Checks rules, by name.
    ///
    /// # Errors
    /// Which key is wrong, and what is allowed: a text that begins with it.
    pub fn new(
        options: &BTreeMap<String, AccessOptions>,
        default: AccessDefault,
    ) -> Result<AccessRules, String> {
        if options.len() > usize::from(u16::MAX) {
            return Err(format!("access: there can be {} rules at the most", u16::MAX));
        }
        let rules = options.iter().map(|(name, options)| {
            let wrong = |key: &str, error: String| format!("access.{name}.{key}: {error}");
            let patterns = |key: &str, texts: &[String]| {
                let pattern = |text: &String| {
                    let pattern = Pattern::new(text.as_bytes());
                    pattern.map_err(|error| wrong(key, format!("{text:?}: {error}")))
                };
                texts.iter().map(pattern).collect::<Result<Vec<_>, _>>()
            };
            let user = |text: &String| find_user(text).map_err(|error| wrong("user", error));
            let group = |text: &String| find_group(text).map_err(|error| wrong("group", error));
            Ok(Rule {
                name: name.as_str().into(),
                users: options.users.iter().map(user).collect::<Result<_, _>>()?,
                groups: options.groups.iter().map(group).collect::<Result<_, _>>()?,
                channels: patterns("channel", &options.channels)?,
                emit: patterns("emit", &options.emit)?,
                listen: patterns("listen", &options.listen)?,
            })
        });
        Ok(AccessRules { rules: rules.collect::<Result<_, String>>()?, default })
    }

    /// Returns the rights of a client on a channel; `None`: it may do everything there and on
    /// every other channel.
    pub fn rights(self: &Arc<Self>, peer: &Peer, channel: &str) -> Option<Rights> {
        let own = self.rules.iter().enumerate().filter(|(_, rule)| rule.is_for(peer));
        let own: Vec<(usize, &Rule)> = own.collect();
        let is_free = self.default == AccessDefault::Allow
            && own.is_empty()
            && (peer.is_known() || self.rules.is_empty());
        if is_free || own.iter().any(|(_, rule)| rule.is_everything()) {
            return None;
        }
        let names: Vec<&str> = own.iter().map(|(_, rule)| &*rule.name).collect();
        let here = own.iter().filter(|(_, rule)| rule.holds_on(channel));
        let here = here.map(|(at, _)| *at as u16).collect();
        Some(Rights { rules: Arc::clone(self), here, names: names.join(", ").into() })
    }
}

impl Rule {
    fn is_for(&self, peer: &Peer) -> bool {
        let names_nobody = self.users.is_empty() && self.groups.is_empty();
        names_nobody
            || peer.is_known() && self.users.iter().any(|user| user.is_same_user(peer))
            || self.groups.iter().any(|group| peer.is_in_group(*group))
    }

    fn holds_on(&self, channel: &str) -> bool {
        self.channels.is_empty() || matches_any(&self.channels, channel.as_bytes())
    }

    /// Returns whether it allows everything everywhere.
    fn is_everything(&self) -> bool {
        let is_all = |patterns: &[Pattern]| patterns.iter().any(|it| it.as_str() == "**");
        (self.channels.is_empty() || is_all(&self.channels))
            && is_all(&self.emit)
            && is_all(&self.listen)
    }
}

impl Rights {
    /// Returns whether events of this name may be emitted.
    pub fn may_emit(&self, name: &[u8]) -> bool {
        self.here().any(|rule| matches_any(&rule.emit, name))
    }

    /// Returns whether every event that a pattern can match may be listened to. One pattern
    /// of the rules must cover it.
    pub fn may_listen(&self, pattern: &Pattern) -> bool {
        self.here().any(|rule| rule.listen.iter().any(|it| it.covers(pattern)))
    }

    /// Says for people why something is refused, and where that is changed.
    pub fn reason(&self, act: Act, peer: &Peer, channel: &str) -> String {
        let (verb, pattern): (_, fn(&Rule) -> &[Pattern]) = match act {
            Act::Emit => ("emit", |rule| &rule.emit),
            Act::Listen => ("listen to", |rule| &rule.listen),
        };
        let patterns = self.here().flat_map(pattern).map(Pattern::as_str);
        let patterns: Vec<&str> = patterns.collect();
        let allowed = if patterns.is_empty() { "nothing".to_owned() } else { patterns.join(" ") };
        let who = match &peer.user {
            Some(user) => format!("user {user}"),
            None if peer.is_known() => format!("user {}", peer.uid),
            None => "a user that the system does not tell".to_owned(),
        };
        let by = if self.names.is_empty() {
            "as no rule of [access] is for it".to_owned()
        } else {
            format!("by [access] {}", self.names)
        };
        format!("{who} may {verb} {allowed} on channel {channel}, {by}")
    }

    fn here(&self) -> impl Iterator<Item = &Rule> {
        self.here.iter().filter_map(|at| self.rules.rules.get(usize::from(*at)))
    }
}

fn matches_any(patterns: &[Pattern], name: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn rule(users: &[&str], groups: &[&str], channels: &[&str]) -> AccessOptions {
        AccessOptions {
            users: list(users),
            groups: list(groups),
            channels: list(channels),
            ..AccessOptions::default()
        }
    }

    fn may(mut options: AccessOptions, emit: &[&str], listen: &[&str]) -> AccessOptions {
        options.emit = list(emit);
        options.listen = list(listen);
        options
    }

    fn rules(all: &[(&str, AccessOptions)]) -> Arc<AccessRules> {
        let all = all.iter().map(|(name, options)| ((*name).to_owned(), options.clone()));
        Arc::new(AccessRules::new(&all.collect(), AccessDefault::Allow).unwrap())
    }

    fn peer(uid: u32, groups: &[u32]) -> Peer {
        Peer { uid, gid: uid, groups: Some(Arc::new(groups.to_vec())), ..Peer::UNKNOWN }
    }

    fn listens(rights: &Rights, pattern: &str) -> bool {
        rights.may_listen(&Pattern::new(pattern.as_bytes()).unwrap())
    }

    #[test]
    fn without_rules_everybody_may_everything() {
        assert!(rules(&[]).rights(&peer(7, &[]), "a").is_none());
        assert!(rules(&[]).rights(&Peer::UNKNOWN, "a").is_none());
    }

    #[cfg(unix)]
    #[test]
    fn who_is_named_may_what_his_rules_together_allow_and_others_everything() {
        let rules = rules(&[
            ("a", may(rule(&["7"], &[], &["plant"]), &["sensor.**"], &[])),
            ("b", may(rule(&[], &["50"], &[]), &[], &["alarm.*", "sensor.*"])),
        ]);
        assert!(rules.rights(&peer(8, &[51]), "plant").is_none());
        let rights = rules.rights(&peer(7, &[]), "plant").unwrap();
        assert!(rights.may_emit(b"sensor.a.b") && !rights.may_emit(b"alarm.a"));
        assert!(!listens(&rights, "sensor.a"));
        let elsewhere = rules.rights(&peer(7, &[]), "office").unwrap();
        assert!(!elsewhere.may_emit(b"sensor.a"));
        let both = rules.rights(&peer(7, &[50]), "plant").unwrap();
        assert!(both.may_emit(b"sensor.a"));
        assert!(listens(&both, "alarm.*") && listens(&both, "sensor.x"));
        assert!(!listens(&both, "alarm.**") && !listens(&both, "*.*"));
    }

    #[cfg(unix)]
    #[test]
    fn a_rule_that_names_nobody_is_for_everybody() {
        let rules = rules(&[
            ("all", may(rule(&[], &[], &[]), &[], &["public.**"])),
            ("free", may(rule(&["7"], &[], &[]), &["**"], &["**"])),
        ]);
        assert!(rules.rights(&peer(7, &[]), "a").is_none(), "everything on every channel");
        let rights = rules.rights(&peer(8, &[]), "a").unwrap();
        assert!(listens(&rights, "public.x") && !rights.may_emit(b"public.x"));
    }

    /// On Windows an ordinary broker may not be told another user's name.
    #[cfg(unix)]
    #[test]
    fn a_peer_that_the_system_does_not_tell_is_not_freer_than_others() {
        let named = may(rule(&["7"], &[], &[]), &["x"], &["x"]);
        let rights = rules(&[("a", named.clone())]).rights(&Peer::UNKNOWN, "a").unwrap();
        assert!(!rights.may_emit(b"x"));
        let all = may(rule(&[], &[], &[]), &["y"], &[]);
        let rights = rules(&[("a", named), ("b", all)]).rights(&Peer::UNKNOWN, "a").unwrap();
        assert!(rights.may_emit(b"y") && !rights.may_emit(b"x"));
    }

    #[test]
    fn by_default_whom_no_rule_is_for_may_everything_or_nothing() {
        let deny = AccessRules::new(&BTreeMap::new(), AccessDefault::Deny).unwrap();
        let rights = Arc::new(deny).rights(&peer(7, &[]), "a").unwrap();
        assert!(!rights.may_emit(b"x") && !listens(&rights, "x"));
        assert_eq!(
            rights.reason(Act::Emit, &peer(7, &[]), "a"),
            "user 7 may emit nothing on channel a, as no rule of [access] is for it"
        );
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let error = |options: AccessOptions| {
            let all = BTreeMap::from([("r".to_owned(), options)]);
            AccessRules::new(&all, AccessDefault::Allow).unwrap_err()
        };
        assert!(
            error(rule(&["no-such-user-here"], &[], &[])).starts_with("access.r.user: there is no")
        );
        assert!(error(rule(&[], &["no-such-group-here"], &[])).starts_with("access.r.group: "));
        assert!(error(rule(&[], &[], &["a#", ">"])).starts_with("access.r.channel: \">\": "));
        let foreign = may(rule(&[], &[], &[]), &["log.>"], &[]);
        assert!(error(foreign).starts_with("access.r.emit: \"log.>\": "));
    }

    #[cfg(unix)]
    #[test]
    fn a_refusal_says_who_what_and_by_which_rule() {
        let rules = rules(&[("sensors", may(rule(&["7"], &[], &[]), &["s.**", "t"], &[]))]);
        let rights = rules.rights(&peer(7, &[]), "plant").unwrap();
        assert_eq!(
            rights.reason(Act::Emit, &peer(7, &[]), "plant"),
            "user 7 may emit s.** t on channel plant, by [access] sensors"
        );
        assert_eq!(
            rights.reason(Act::Listen, &peer(7, &[]), "plant"),
            "user 7 may listen to nothing on channel plant, by [access] sensors"
        );
    }
}
