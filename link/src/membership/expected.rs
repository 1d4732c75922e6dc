//! Brokers that are expected to be peers, by name: who runs them knows which machines there
//! are, the link only those that it hears.
//!
//! One list may be given to all machines: this broker itself is never missing.

use netcluster_platform::Instant;

use crate::Link;
use crate::event::LinkEvent;
use crate::local_broker::LocalBroker;
use crate::membership::peers::Peers;
use crate::output::Output;
use crate::warnings::WarningKind;

/// Time for which a broker may be missing before people are told.
pub const PATIENCE_NS: u64 = 5_000_000_000;

/// An expected broker.
struct Expected {
    name: String,
    /// Time from which on it has been missing; none while it is a peer.
    missing_since: Option<Instant>,
    is_told: bool,
}

#[derive(Default)]
pub(crate) struct ExpectedPeers(Vec<Expected>);

impl ExpectedPeers {
    /// Sets the names; what is known of those that were there before stays.
    pub fn set(&mut self, now: Instant, names: &[String]) {
        let mut before = std::mem::take(&mut self.0);
        for name in names {
            if self.0.iter().any(|it| it.name == *name) {
                continue;
            }
            let known = before.iter().position(|it| it.name == *name);
            self.0.push(match known {
                Some(at) => before.swap_remove(at),
                None => Expected { name: name.clone(), missing_since: Some(now), is_told: false },
            });
        }
    }

    /// Looks who is there, and tells people once of who has been missing for a while, and of
    /// who is back.
    pub fn look(&mut self, now: Instant, peers: &Peers, local: &LocalBroker, output: &mut Output) {
        for expected in &mut self.0 {
            let name = &expected.name;
            if is_there(name, peers, local) {
                if std::mem::take(&mut expected.is_told) {
                    output.push(LinkEvent::Note(format!("{name}, which was expected, is linked")));
                }
                expected.missing_since = None;
                continue;
            }
            let since = *expected.missing_since.get_or_insert(now);
            if !expected.is_told && now >= since + PATIENCE_NS {
                expected.is_told = true;
                output.push(LinkEvent::Warn(
                    WarningKind::MissingPeer,
                    format!(
                        "{name} is expected (--expect-peer) and not linked: its events and \
                         those of this machine do not reach each other; `netcluster link check` \
                         on both machines looks for the reason"
                    ),
                ));
            }
        }
    }

    /// Returns all names.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|expected| expected.name.clone()).collect()
    }

    /// Returns the names of those that are no peers.
    pub fn missing(&self, peers: &Peers, local: &LocalBroker) -> Vec<String> {
        let missing = self.0.iter().filter(|expected| !is_there(&expected.name, peers, local));
        missing.map(|expected| expected.name.clone()).collect()
    }
}

fn is_there(name: &str, peers: &Peers, local: &LocalBroker) -> bool {
    *local.config.name == *name || peers.iter().any(|peer| *peer.identity.name == *name)
}

impl Link {
    /// Sets the names of the brokers that should be peers.
    pub fn set_expected_peers(&mut self, now: Instant, names: &[String]) {
        self.membership.expected.set(now, names);
    }
}
