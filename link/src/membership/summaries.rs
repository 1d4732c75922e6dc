//! Summaries: each broker tells all others its state in short, so that one table shows all
//! machines.
//!
//! ```text
//!   every 2 s: SummaryWanted ─▶ the broker counts ─▶ tell_summary ─▶ all peers
//!   a peer's summary ─▶ kept with the peer, the newest one
//! ```
//! Nobody asks, so nobody can have it sent elsewhere, and one costs a sender one small
//! datagram where there is multicast. Who does not hear one has the one before, and its age.
//!
//! Invariant: a peer's summary is one that it told by its session, and none that another
//! overtook.
//!
//! Decision: `docs/decisions/073-summaries-are-told.md`.

use netcluster_platform::Instant;
use netcluster_wire::link::{ControlKind, Summary};

use crate::Link;
use crate::event::LinkEvent;
use crate::status::PeerSummary;

const MS_NS: u64 = 1_000_000;

/// Time between two summaries.
pub const SUMMARY_INTERVAL_NS: u64 = 2000 * MS_NS;

/// Time for which an older summary than the last one is dropped: no datagram is under way for
/// longer. One that somebody made up is gone then.
const UNDER_WAY_NS: u64 = 5000 * MS_NS;

/// Longest release of a peer that is kept, in characters.
const MAX_VERSION_CHARS: usize = 64;

/// Times of the own summaries.
pub(crate) struct Summaries {
    next_at: Instant,
}

impl Summaries {
    pub fn new(now: Instant) -> Summaries {
        Summaries { next_at: now + SUMMARY_INTERVAL_NS }
    }

    pub fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Whether it is time for one; then it counts as told.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next_at;
        if is_due {
            self.next_at = now + SUMMARY_INTERVAL_NS;
        }
        is_due
    }
}

/// Last summary of a peer.
#[derive(Default)]
pub(crate) struct HeardSummary(Option<(Instant, PeerSummary)>);

impl HeardSummary {
    /// Takes one, unless it is older than the one before: datagrams overtake each other.
    pub fn take(&mut self, now: Instant, summary: &Summary<'_>) {
        let is_newer = |(at, last): &(Instant, PeerSummary)| {
            last.uptime_ms > summary.uptime_ms && now < *at + UNDER_WAY_NS
        };
        if self.0.as_ref().is_some_and(is_newer) {
            return;
        }
        let told = PeerSummary {
            age_ms: 0,
            version: summary.version.chars().take(MAX_VERSION_CHARS).collect(),
            uptime_ms: summary.uptime_ms,
            clients: summary.clients,
            events_in_per_s: summary.in_per_s,
            events_out_per_s: summary.out_per_s,
            lost: summary.lost,
            queued_bytes: summary.queued_bytes,
            is_draining: summary.is_draining,
        };
        self.0 = Some((now, told));
    }

    /// Returns it with its age.
    pub fn status(&self, now: Instant) -> Option<PeerSummary> {
        let (at, told) = self.0.as_ref()?;
        Some(PeerSummary { age_ms: now.since(*at) / MS_NS, ..told.clone() })
    }
}

impl Link {
    /// Does what belongs to the time of a summary, if that has come.
    pub(crate) fn run_summaries(&mut self, now: Instant) {
        if !self.membership.summaries.is_due(now) || self.membership.leave.is_leaving() {
            return;
        }
        self.membership.expected.look(now, &self.peers, &self.local, &mut self.output);
        if self.peers.len() > 0 {
            self.output.push(LinkEvent::SummaryWanted);
        }
    }

    /// Tells all peers the state of this broker.
    pub fn tell_summary(&mut self, summary: &Summary<'_>) {
        if self.membership.leave.is_leaving() {
            return;
        }
        let to = self.peers.everybody(&self.local.config);
        self.control.send(ControlKind::Summary, &to, |out| summary.encode(out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::millis;

    fn summary(uptime_ms: u64, version: &str) -> Summary<'_> {
        Summary {
            uptime_ms,
            in_per_s: 1,
            out_per_s: 2,
            lost: 3,
            queued_bytes: 4,
            clients: 5,
            is_draining: false,
            version,
        }
    }

    #[test]
    fn the_newest_is_kept_with_its_age_and_no_more_of_its_version_than_there_is_room_for() {
        let mut heard = HeardSummary::default();
        assert_eq!(heard.status(millis(1)), None);
        heard.take(millis(10), &summary(4000, "0.1.0"));
        heard.take(millis(20), &summary(2000, "0.0.9"));
        let status = heard.status(millis(510)).unwrap();
        assert_eq!((&*status.version, status.uptime_ms, status.age_ms), ("0.1.0", 4000, 500));
        heard.take(millis(2010), &summary(6000, &"ö".repeat(100)));
        assert_eq!(heard.status(millis(2010)).unwrap().version, "ö".repeat(64));
    }

    #[test]
    fn one_is_due_every_two_seconds() {
        let mut summaries = Summaries::new(millis(0));
        let told: Vec<u64> = (0..7000).filter(|&ms| summaries.is_due(millis(ms))).collect();
        assert_eq!(told, [2000, 4000, 6000]);
    }
}
