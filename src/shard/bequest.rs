//! The link's session on its way from one broker to its heir.
//!
//! ```text
//!   old   quiet: pause ─▶ all is confirmed ─▶ part: bequeath, close the sockets
//!   new   inherit, hold all streams of peers ─▶ clients are back: let them go
//! ```
//! What peers sent before the pause is queued to the clients of the old broker before its
//! goodbye; what they send behind it goes to the new one. Where the heir cannot go on with the
//! session, or peers do not confirm in time, the old broker leaves the link instead.
//!
//! Decision: `docs/decisions/091-session-is-inherited.md`.

use std::collections::BTreeSet;
use std::time::Duration;

use smallvec::smallvec;

use netcluster_link::stream::StreamId;
use netcluster_platform::{Instant, Io};

use crate::connection::Blocker;
use crate::mesh::Message;
use crate::target::LINK_HOME;
use crate::timers::Timer;
use crate::will::Will;

use super::Shard;
use super::interest::heard_by;

/// Longest wait for peers to confirm what was emitted: clients wait as long, which is better
/// than that they lose something. As a rule it is one round trip.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);

/// State of the session's way, on the shard that drives the link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Bequeathing {
    /// The link is not paused.
    #[default]
    No,
    /// The link is paused, and its peers are waited for.
    Waiting { until: Instant },
}

impl<I: Io> Shard<I> {
    /// Pauses the link, if the heir can go on with its session. Returns false while events of
    /// peers are not delivered that came before.
    pub(super) fn pause_link(&mut self) -> bool {
        if self.id != LINK_HOME || self.late_sockets.is_some() {
            return true;
        }
        let Some(driver) = self.link.as_deref_mut() else { return true };
        let (heir, node) = (&self.shared.heir, self.shared.config.node);
        let terms = driver.link.terms().filter(|_| heir.is_there());
        if !terms.is_some_and(|terms| heir.can_have(&terms, node)) {
            return true;
        }
        if !driver.postponed.is_empty() {
            return false;
        }
        driver.link.pause(self.now);
        for (shard, lost) in std::mem::take(&mut driver.missed) {
            self.mesh.send(shard, Message::LinkLost(lost));
        }
        let until = self.deadline(CONFIRMED_WITHIN);
        self.shutdown.bequeathing = Bequeathing::Waiting { until };
        self.timers.set(until, Timer::Quiet);
        true
    }

    /// Returns whether peers are not waited for any more.
    pub(super) fn is_link_confirmed(&self) -> bool {
        match (self.shutdown.bequeathing, self.link.as_deref()) {
            (Bequeathing::Waiting { until }, Some(driver)) => {
                driver.link.is_confirmed() || self.now >= until
            }
            _ => true,
        }
    }

    /// Takes the session out of this broker, for the heir.
    pub(super) fn bequeath_link(&mut self) -> Option<Will> {
        let Bequeathing::Waiting { .. } = std::mem::take(&mut self.shutdown.bequeathing) else {
            return None;
        };
        if !self.link.as_deref()?.link.is_confirmed() {
            tracing::warn!(
                "peers do not confirm what was emitted: the link is left, and begun anew"
            );
            return None;
        }
        let unicast_port = self.io.datagram_place().map_or(0, |place| place.unicast.port());
        let mut driver = self.link.take()?;
        self.io.close_datagrams();
        Some(Will {
            unicast_port,
            next_client: self.acceptor.books().next_client(),
            session: driver.link.bequeath(self.now),
        })
    }

    /// Holds what peers send to the session that was inherited, for the clients that were here
    /// before.
    pub(super) fn hold_inherited(&mut self) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        for stream in driver.link.inherited_streams() {
            driver.held.insert(stream, smallvec![Blocker::Hold]);
        }
        if let Some(until) = self.returning.limit(self.now) {
            self.timers.set(until, Timer::Hold);
        }
        self.let_inherited_go();
    }

    /// Lets the streams of peers go on that carry no channel any more in which events wait.
    pub(super) fn let_inherited_go(&mut self) {
        let Some(driver) = self.link.as_deref() else { return };
        let is_held = |blockers: &[Blocker]| blockers.contains(&Blocker::Hold);
        let inherited = driver.held.iter().filter(|(_, blockers)| is_held(blockers));
        let inherited: Vec<_> = inherited.map(|(&stream, _)| stream).collect();
        if !self.shared.config.is_heir_of_link {
            return;
        }
        let Some(map) = &self.shared.config.link else { return };
        let rules = &self.shared.config.channels;
        let channels = self.returning.held().flat_map(|channel| heard_by(rules, channel));
        let waiting: BTreeSet<StreamId> = channels.map(|it| map.stream_of(&it)).collect();
        for (peer, stream) in inherited {
            if !waiting.contains(&stream) {
                self.release_stream(peer, stream, Blocker::Hold);
            }
        }
        if waiting.is_empty()
            && let Some(driver) = self.link.as_deref_mut()
        {
            driver.link.settle(self.now);
        }
    }
}
