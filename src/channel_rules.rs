//! Rules of channels: which cross the link, which are copied into others, and what one
//! client may emit.
//!
//! ```text
//!   [channels.raw]  forward-to = ["log.*"]        raw ─▶ log.a ─▶ all
//!   [channels.'log.a']  forward-to = ["all"]       └──▶ log.b
//! ```
//! Copies are made of routes, not of events: a listener of `all` stands in the routes of
//! every channel whose events reach `all`, so that each of them is queued to it as to any
//! other listener.
//!
//! Invariant: no channel's events reach itself, and each reaches another one once.
//!
//! Decision: `docs/decisions/061-forwarding-by-routes.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use netcluster_wire::limits::HARD_MAX_PAYLOAD_BYTES;
use netcluster_wire::{Pattern, check_channel};

/// Channels of a cycle that are told.
const MAX_TOLD: usize = 16;

/// Options of one channel, each with a default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelOptions {
    /// Whether its events go to other machines, and theirs come here; where there is a link.
    pub network: bool,
    /// Patterns of the channels of this machine whose listeners get its events, too.
    pub forward_to: Vec<String>,
    /// Largest payload of an event, in bytes, if it is less than for all channels.
    pub max_payload_bytes: Option<usize>,
    /// Most bytes that one client may emit in a second.
    pub max_bytes_per_s: Option<u64>,
    /// Most events that one client may emit in a second.
    pub max_events_per_s: Option<u64>,
}

impl Default for ChannelOptions {
    fn default() -> ChannelOptions {
        ChannelOptions {
            network: true,
            forward_to: Vec::new(),
            max_payload_bytes: None,
            max_bytes_per_s: None,
            max_events_per_s: None,
        }
    }
}

/// Most bytes and events that one client may emit in a second; none of both: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Bytes in a second.
    pub bytes_per_s: Option<u64>,
    /// Events in a second.
    pub events_per_s: Option<u64>,
}

/// Rules of one channel, checked.
#[derive(Clone, Debug)]
struct Rule {
    network: bool,
    forward_to: Vec<Pattern>,
    max_payload_bytes: Option<usize>,
    rate: Rate,
}

/// Rules of all channels that have any.
///
/// What a look costs grows with the rules that are met and with the patterns that have
/// wildcards, not with all rules: a client's hello looks, and each of its subscriptions.
#[derive(Clone, Debug, Default)]
pub struct ChannelRules {
    rules: BTreeMap<Arc<str>, Rule>,
    /// Names of the channels that are copied into a channel of exactly this name.
    exact: BTreeMap<Box<str>, Vec<Arc<str>>>,
    /// Channels that are copied into those that match, and the pattern.
    wild: Vec<(Arc<str>, Pattern)>,
}

impl ChannelRules {
    /// Checks the options of channels, by name.
    ///
    /// # Errors
    /// Which key is wrong, and what is allowed: a text that begins with it.
    pub fn new(options: &BTreeMap<String, ChannelOptions>) -> Result<ChannelRules, String> {
        let mut rules = BTreeMap::new();
        for (name, options) in options {
            let wrong =
                |key: &str, text: &dyn std::fmt::Display| format!("channels.{name}.{key}: {text}");
            if let Err(error) = check_channel(name.as_bytes()) {
                return Err(format!("channels.{name}: {error}"));
            }
            let patterns = options.forward_to.iter().map(|text| {
                if text == name {
                    return Err(wrong("forward-to", &"a channel is not copied into itself"));
                }
                let pattern = Pattern::new(text.as_bytes());
                pattern.map_err(|error| wrong("forward-to", &format_args!("{text:?}: {error}")))
            });
            let forward_to = patterns.collect::<Result<Vec<_>, _>>()?;
            let rate = Rate {
                bytes_per_s: options.max_bytes_per_s,
                events_per_s: options.max_events_per_s,
            };
            if options
                .max_payload_bytes
                .is_some_and(|it| !(1..=HARD_MAX_PAYLOAD_BYTES).contains(&it))
            {
                let allowed = format!("must be between 1 B and {HARD_MAX_PAYLOAD_BYTES} B (1 GiB)");
                return Err(wrong("max-payload", &allowed));
            }
            let zero = [
                ("max-rate", rate.bytes_per_s == Some(0)),
                ("max-event-rate", rate.events_per_s == Some(0)),
            ];
            if let Some((key, _)) = zero.into_iter().find(|(_, is_zero)| *is_zero) {
                return Err(wrong(key, &"must be at least 1"));
            }
            let (network, max_payload_bytes) = (options.network, options.max_payload_bytes);
            let rule = Rule { network, forward_to, max_payload_bytes, rate };
            rules.insert(Arc::from(name.as_str()), rule);
        }
        let mut rules = ChannelRules { rules, ..ChannelRules::default() };
        for (name, rule) in &rules.rules {
            for pattern in &rule.forward_to {
                match literal(pattern) {
                    Some(into) => rules.exact.entry(into.into()).or_default().push(name.clone()),
                    None => rules.wild.push((name.clone(), pattern.clone())),
                }
            }
        }
        rules.check_cycles()?;
        Ok(rules)
    }

    /// Returns whether a channel's events go to other machines, where there is a link.
    pub fn crosses(&self, channel: &str) -> bool {
        self.rules.get(channel).is_none_or(|rule| rule.network)
    }

    /// Returns the largest payload of an event in a channel, if all may have this much: no
    /// more than any channel takes that the event reaches.
    pub fn max_payload_bytes(&self, channel: &str, of_all: usize) -> usize {
        let mut least = of_all;
        let mut met = BTreeSet::from([channel]);
        let mut open = vec![channel];
        while let Some(name) = open.pop() {
            let own = self.rules.get(name).and_then(|rule| rule.max_payload_bytes);
            least = least.min(own.unwrap_or(of_all));
            open.extend(self.targets(name).into_iter().filter(|name| met.insert(name)));
        }
        least
    }

    /// Returns what one client may emit in a channel, if that is limited.
    pub fn rate(&self, channel: &str) -> Option<Rate> {
        self.rules.get(channel).map(|rule| rule.rate).filter(|rate| *rate != Rate::default())
    }

    /// Returns the channels whose events reach this one, directly or through others, in
    /// order.
    pub fn sources_of(&self, channel: &str) -> Vec<Arc<str>> {
        let mut met: BTreeSet<&Arc<str>> = BTreeSet::new();
        let mut open = vec![channel];
        while let Some(name) = open.pop() {
            let exact = self.exact.get(name).into_iter().flatten();
            let is_meant = |(from, pattern): &&(Arc<str>, Pattern)| {
                // A wildcard stands for other channels.
                **from != *name && pattern.matches(name.as_bytes())
            };
            let wild = self.wild.iter().filter(is_meant).map(|(from, _)| from);
            open.extend(exact.chain(wild).filter(|from| met.insert(from)).map(|from| &**from));
        }
        met.into_iter().cloned().collect()
    }

    /// Returns whether the events of one channel reach another one.
    pub fn reaches(&self, from: &str, to: &str) -> bool {
        self.sources_of(to).iter().any(|name| **name == *from)
    }

    /// Returns the names of the channels that have rules here or there, in order.
    pub fn names_with<'a>(&'a self, other: &'a ChannelRules) -> impl Iterator<Item = &'a Arc<str>> {
        let names: BTreeSet<_> = self.rules.keys().chain(other.rules.keys()).collect();
        names.into_iter()
    }

    /// Returns the channels with rules into which this one is copied directly, in order.
    fn targets<'a>(&'a self, from: &str) -> Vec<&'a str> {
        let mut targets = Vec::new();
        for pattern in self.rules.get(from).into_iter().flat_map(|rule| &rule.forward_to) {
            let names = match literal(pattern) {
                Some(name) => {
                    self.rules.range::<str, _>((Bound::Included(name), Bound::Included(name)))
                }
                None => self.rules.range::<str, _>(..),
            };
            let others = names.map(|(name, _)| &**name).filter(|name| *name != from);
            targets.extend(others.filter(|name| pattern.matches(name.as_bytes())));
        }
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// Follows all copies, each once.
    fn check_cycles(&self) -> Result<(), String> {
        let mut met = BTreeSet::new();
        for name in self.rules.keys() {
            // The way to where it is, with what is left to follow at each place.
            let mut way: Vec<(&str, Vec<&str>)> = Vec::new();
            let mut on_way = BTreeSet::new();
            let mut next = Some(&**name);
            while let Some(name) = next.take() {
                if on_way.contains(name) {
                    let round = way.iter().map(|(name, _)| *name).skip_while(|it| *it != name);
                    return Err(cycle(&round.collect::<Vec<_>>()));
                }
                if met.insert(name) {
                    on_way.insert(name);
                    way.push((name, self.targets(name)));
                }
                while let Some((name, left)) = way.last_mut()
                    && next.is_none()
                {
                    next = left.pop();
                    if next.is_none() {
                        on_way.remove(name);
                        way.pop();
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the only name that a pattern matches, if there is one.
fn literal(pattern: &Pattern) -> Option<&str> {
    pattern.is_literal().then(|| pattern.as_str())
}

/// Tells a cycle by its channels, the first ones if there are many.
fn cycle(round: &[&str]) -> String {
    let first = round[0];
    let told = round[..round.len().min(MAX_TOLD)].join(" -> ");
    let rest = match round.len() - round.len().min(MAX_TOLD) {
        0 => String::new(),
        more => format!(" -> {more} others"),
    };
    format!(
        "channels.{first}.forward-to: events would go round in a cycle: {told}{rest} -> {first}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(all: &[(&str, &[&str])]) -> Result<ChannelRules, String> {
        let options = all.iter().map(|(name, forward_to)| {
            let forward_to = forward_to.iter().map(ToString::to_string).collect();
            ((*name).to_owned(), ChannelOptions { forward_to, ..ChannelOptions::default() })
        });
        ChannelRules::new(&options.collect())
    }

    #[test]
    fn events_reach_channels_directly_and_through_others_once() {
        let rules = rules(&[("a", &["b", "log.*"]), ("b", &["c"]), ("log.x", &["c"])]).unwrap();
        let sources = |channel: &str| rules.sources_of(channel).join(" ");
        assert_eq!(sources("a"), "");
        assert_eq!(sources("b"), "a");
        assert_eq!(sources("c"), "a b log.x");
        assert_eq!(sources("log.y"), "a");
        assert_eq!(sources("log.y.z"), "");
        assert_eq!(sources("elsewhere"), "");
    }

    #[test]
    fn a_wildcard_stands_for_the_other_channels() {
        let rules = rules(&[("a", &["**"])]).unwrap();
        assert_eq!(rules.sources_of("a"), []);
        assert_eq!(rules.sources_of("b"), [Arc::from("a")]);
    }

    #[test]
    fn cycles_are_refused_by_name() {
        let error = rules(&[("a", &["b"]), ("b", &["x*", "c.*"]), ("c.d", &["a"])]);
        // `x*` is a pattern of another system.
        assert!(error.unwrap_err().starts_with("channels.b.forward-to: \"x*\""));
        let error = rules(&[("a", &["b"]), ("b", &["c.*"]), ("c.d", &["a"]), ("q", &["a"])]);
        assert_eq!(
            error.unwrap_err(),
            "channels.a.forward-to: events would go round in a cycle: a -> b -> c.d -> a"
        );
        let error = rules(&[("a", &["**"]), ("b", &["**"])]).unwrap_err();
        assert!(error.ends_with("a -> b -> a"), "{error}");
        let error = rules(&[("a", &["a"])]).unwrap_err();
        assert!(error.contains("not copied into itself"), "{error}");
    }

    /// Rules were followed again for each that asked: minutes, and in a shard for each
    /// subscription.
    #[test]
    fn thousands_of_rules_are_followed_once() {
        const COUNT: usize = 3000;
        let name = |number: usize| format!("c{number}");
        let chain = |end: usize| {
            let options = (0..COUNT).map(|number| {
                let forward_to = vec![name(if number + 1 == COUNT { end } else { number + 1 })];
                (name(number), ChannelOptions { forward_to, ..ChannelOptions::default() })
            });
            ChannelRules::new(&options.collect())
        };
        let rules = chain(COUNT).unwrap();
        assert_eq!(rules.sources_of(&name(COUNT)).len(), COUNT);
        assert_eq!(rules.max_payload_bytes(&name(0), 9), 9);
        let error = chain(0).unwrap_err();
        assert!(error.contains("cycle: c0 -> c1 -> c2 "), "{error}");
        assert!(error.ends_with("c15 -> 2984 others -> c0"), "{error}");
        // Each into all behind it.
        let options = (0..500).map(|number| {
            let forward_to = (number + 1..500).map(name).collect();
            (name(number), ChannelOptions { forward_to, ..ChannelOptions::default() })
        });
        assert_eq!(ChannelRules::new(&options.collect()).unwrap().sources_of("c499").len(), 499);
    }

    /// A listener is sent nothing larger than its welcome named.
    #[test]
    fn an_event_is_no_larger_than_any_channel_takes_that_it_reaches() {
        let options = |forward_to: &[&str], max_payload_bytes| ChannelOptions {
            forward_to: forward_to.iter().map(ToString::to_string).collect(),
            max_payload_bytes,
            ..ChannelOptions::default()
        };
        let all = [
            ("a", options(&["b"], Some(500))),
            ("b", options(&["c.*"], None)),
            ("c.x", options(&[], Some(100))),
        ];
        let rules = ChannelRules::new(&all.map(|(name, it)| (name.to_owned(), it)).into()).unwrap();
        let limit = |channel| rules.max_payload_bytes(channel, 1000);
        assert_eq!(["a", "b", "c.x", "c.y"].map(limit), [100, 100, 100, 1000]);
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let options = ChannelOptions { max_bytes_per_s: Some(0), ..ChannelOptions::default() };
        let error = ChannelRules::new(&BTreeMap::from([("a".to_owned(), options)])).unwrap_err();
        assert_eq!(error, "channels.a.max-rate: must be at least 1");
    }
}
