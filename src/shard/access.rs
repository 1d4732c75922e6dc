//! Access rules at work: events and subscriptions that they refuse, and clients that lose a
//! right while they are there.
//!
//! A refused event is counted and told: the first one at once, those of the next second
//! together, and whatever is left before the answer to a ping. So a client that ignores
//! refusals costs one error a second, and one that asks knows all of them.
//!
//! Decision: `docs/decisions/064-access-is-what-rules-allow.md`.

use std::sync::Arc;

use netcluster_platform::{Conn, Io};
use netcluster_wire::{ErrorCode, Pattern, Source};

use crate::access::{Act, Rights};
use crate::budget::Purpose;
use crate::config::ShardConfig;
use crate::connection::Receiving;
use crate::guard::Guard;
use crate::pattern_set::PatternSet;
use crate::target::Target;
use crate::timers::Timer;

use super::Shard;
use super::interest::heard_by;
use super::sharing::Sharing;

/// Patterns that an error names.
const MAX_NAMED: usize = 16;

impl<I: Io> Shard<I> {
    /// Returns the guard of a client that joins a channel, if access rules restrict it.
    pub(super) fn first_guard(&mut self, conn: Conn, channel: &str) -> Option<Box<Guard>> {
        let rights = self.rights_of(conn, channel)?;
        let seed = self.shared.config.seed;
        Some(Box::new(Guard::new(rights, seed, &self.shared.budget)))
    }

    fn rights_of(&mut self, conn: Conn, channel: &str) -> Option<Rights> {
        let peer = &self.connections.at(conn).peer;
        let rights = self.shared.config.access.rights(peer, channel)?;
        (!self.acceptor.limits.is_trusted(peer)).then_some(rights)
    }

    /// Refuses events that a client emitted.
    #[cold]
    pub(super) fn refuse_events(&mut self, conn: Conn, name: &[u8], events: usize) {
        let events = events as u64;
        self.totals.forbidden_events += events;
        let connection = self.connections.at(conn);
        connection.forbidden += events;
        let target = connection.target;
        let Some(guard) = &mut connection.guard else { return };
        match guard.refused(self.now, name, events) {
            Some(at) if at <= self.now => self.tell_refused(conn),
            Some(at) => self.timers.set(at, Timer::Refusals(target)),
            None => {}
        }
    }

    /// Tells a client of its events that were refused and that it does not know of.
    pub(super) fn tell_refused(&mut self, conn: Conn) {
        let now = self.now;
        let connection = self.connections.at(conn);
        let Some(untold) = connection.guard.as_mut().and_then(|it| it.take_untold(now)) else {
            return;
        };
        let (client, pid) = (connection.target.client, connection.peer.pid);
        let why = self.why_not_emit(conn, &untold.name);
        let text = match untold.events {
            1 => format!("{why}: it was not delivered"),
            events => format!("{why}: {events} events were not delivered, this name's the first"),
        };
        tracing::warn!(client, pid, "refused: {text}");
        self.reply_error(conn, ErrorCode::Forbidden, 0, &text);
    }

    /// Tells a client of its refused events, a second after it was told last.
    pub(super) fn refusals_timed_out(&mut self, target: Target) {
        if self.connections.find_open(target).is_some() {
            self.tell_refused(target.conn);
        }
    }

    /// Says why a client may not emit events of a name.
    pub(super) fn why_not_emit(&mut self, conn: Conn, name: &[u8]) -> String {
        let name = String::from_utf8_lossy(name);
        format!("the event {name} is not allowed: {}", self.reason(conn, Act::Emit))
    }

    fn reason(&mut self, conn: Conn, act: Act) -> String {
        let connection = self.connections.at(conn);
        let (Some(guard), Some(channel)) = (&connection.guard, connection.channel) else {
            return String::new();
        };
        let channel = &self.router.channels.get(channel).name;
        guard.rights().reason(act, &connection.peer, channel)
    }

    /// Returns why a client may not listen to a pattern, if it may not.
    pub(super) fn forbids_listening(&mut self, conn: Conn, pattern: &Pattern) -> Option<String> {
        let connection = self.connections.at(conn);
        let guard = connection.guard.as_ref()?;
        if guard.rights().may_listen(pattern) {
            return None;
        }
        let (client, pid) = (connection.target.client, connection.peer.pid);
        self.totals.forbidden_patterns += 1;
        let reason = self.reason(conn, Act::Listen);
        tracing::warn!(client, pid, "refused: the pattern {pattern}: {reason}");
        Some(format!("the pattern {pattern} is not allowed: {reason}"))
    }

    /// Suspends a pattern that a client asks for which was here before, and may not listen to:
    /// rules may have changed while it was away, or had it connect anew.
    pub(super) fn suspend_if_back(&mut self, conn: Conn, pattern: &Pattern) {
        let most = self.shared.config.max_patterns;
        let cost_bytes = PatternSet::cost_bytes(pattern, self.mesh.shards());
        let has_room = self.shared.budget.has_room_to_keep(Purpose::Patterns, cost_bytes);
        let connection = self.connections.at(conn);
        let is_back = connection.previous != Source::NONE;
        let Some(guard) = connection.guard.as_mut().filter(|_| is_back && has_room) else { return };
        if connection.patterns.len() + guard.suspended.len() < most {
            guard.suspended.insert(pattern);
        }
    }

    /// Gives a client its rights by new rules. What it listened to and may no longer is
    /// suspended until rules allow it again.
    pub(super) fn take_access(&mut self, conn: Conn, old: &ShardConfig) {
        let Some(channel) = self.connections.at(conn).channel else { return };
        let channel = Arc::clone(&self.router.channels.get(channel).name);
        let rights = self.rights_of(conn, &channel);
        if rights.is_none() && self.connections.at(conn).guard.is_none() {
            return;
        }
        self.tell_refused(conn);
        let before = self.connections.at(conn).guard.take();
        let may = |pattern: &&Pattern| rights.as_ref().is_none_or(|it| it.may_listen(pattern));
        let connection = self.connections.at(conn);
        let lost: Vec<Pattern> =
            connection.patterns.behind(None).filter(|it| !may(it)).cloned().collect();
        let suspended = before.iter().flat_map(|guard| guard.suspended.behind(None));
        let regained: Vec<Pattern> = suspended.filter(may).cloned().collect();
        if let Some(rights) = rights {
            let mut guard = before.unwrap_or_else(|| {
                let (seed, budget) = (self.shared.config.seed, &self.shared.budget);
                Box::new(Guard::new(rights.clone(), seed, budget))
            });
            guard.set_rights(rights);
            for pattern in &regained {
                guard.suspended.remove(pattern);
            }
            for pattern in &lost {
                guard.suspended.insert(pattern);
            }
            self.connections.at(conn).guard = Some(guard);
        }
        // Patterns stand by the old rules of channels until they are moved.
        let heard = heard_by(&old.channels, &channel);
        self.suspend(conn, &heard, &lost);
        self.listen_again(conn, &heard, &regained);
        if self.connections.at(conn).guard.is_some() {
            self.take_memory_away(conn);
        }
    }

    /// Takes patterns of a client out of the routes, and tells it.
    fn suspend(&mut self, conn: Conn, heard: &[Arc<str>], patterns: &[Pattern]) {
        if patterns.is_empty() {
            return;
        }
        let connection = self.connections.at(conn);
        let (target, pid) = (connection.target, connection.peer.pid);
        for pattern in patterns {
            connection.patterns.remove(pattern);
        }
        self.unroute(heard, target, patterns);
        self.totals.forbidden_patterns += patterns.len() as u64;
        if !self.connections.at(conn).is_open() {
            return;
        }
        let mut named = patterns.iter().take(MAX_NAMED).map(Pattern::as_str).collect::<Vec<_>>();
        if patterns.len() > MAX_NAMED {
            named.push("…");
        }
        let (named, reason) = (named.join(" "), self.reason(conn, Act::Listen));
        let text =
            format!("access rules have changed, and {named} is not listened to any more: {reason}");
        tracing::warn!(client = target.client, pid, "{text}");
        self.reply_error(conn, ErrorCode::Forbidden, 0, &text);
    }

    /// Puts patterns of a client into the routes again, which rules allow again.
    fn listen_again(&mut self, conn: Conn, heard: &[Arc<str>], patterns: &[Pattern]) {
        let target = self.connections.at(conn).target;
        for pattern in patterns {
            if self.connections.at(conn).patterns.insert(pattern) {
                self.route_everywhere(heard, pattern, target);
                self.totals.listeners += 1;
            }
        }
    }

    /// Takes shared memory away from a client that rules restrict by now: it shows the
    /// events of all channels. A client that has been given it is to connect anew.
    fn take_memory_away(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
        match connection.sharing {
            Sharing::Never | Sharing::Able { .. } | Sharing::Ordered(_) | Sharing::Ready(_) => {
                connection.sharing = Sharing::Never;
                return;
            }
            Sharing::Offered(_) | Sharing::Accepted(_) | Sharing::On(_) => {}
        }
        if !connection.is_open() || std::mem::replace(&mut connection.is_parting, true) {
            return;
        }
        let (client, pid) = (connection.target.client, connection.peer.pid);
        tracing::warn!(
            client,
            pid,
            "access rules have changed: this client is restricted by now and had shared memory, so \
             it is to connect anew without. A program that means harm could have kept that memory, \
             which shows what all channels carry: start the broker again (serve --takeover) if that \
             matters"
        );
        let text = "access rules have changed: connect anew, without shared memory";
        self.reply_error(conn, ErrorCode::Forbidden, 0, text);
        self.lift_pace(conn);
        self.read_up(conn);
        let connection = self.connections.at(conn);
        if !connection.is_read_up || connection.receiving == Receiving::Ended {
            self.part_with(conn, false);
        }
    }

    /// Says goodbye to a client that is to connect anew, once all that it has written is
    /// taken.
    pub(super) fn took_all(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
        if !connection.is_parting || !connection.held.is_empty() || self.ends_later(conn) {
            return;
        }
        self.part_with(conn, false);
    }
}
