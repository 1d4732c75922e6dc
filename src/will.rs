//! Session of a link that a broker leaves to its heir, beside the record of its clients.
//!
//! Whoever takes it has the node id of the broker before, and gives numbers to clients behind
//! those that it gave, as the peers see one broker.
//!
//! Decision: `docs/decisions/091-session-is-inherited.md`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use netcluster_link::config::LinkConfig;
use netcluster_link::succession::{self, Bequest};

use crate::config::ShardConfig;
use crate::shard::LinkStart;

/// Longest time for which events wait for clients, where streams of peers wait with them: less
/// than peers wait for a broker that stands still.
const MAX_LINK_HOLD: Duration = Duration::from_millis(900);

/// The session, and what the broker around it must know.
#[derive(Debug, Serialize, Deserialize)]
pub struct Will {
    /// Port at which the peers reach the session; 0 if that is not known.
    pub unicast_port: u16,
    /// Number of the next client.
    pub next_client: u32,
    /// The session itself.
    pub session: Bequest,
}

/// Note of a broker, as far as it is about the link.
#[derive(Deserialize)]
struct Note {
    link: Option<Will>,
}

impl Will {
    /// Reads the will in a broker's note; none if it left none, or says something else.
    pub fn read(note: &[u8]) -> Option<Will> {
        serde_json::from_slice::<Note>(note).ok()?.link
    }

    /// Returns whether a broker with this link, and perhaps a node id that it must have, can
    /// take the session.
    pub fn is_for(&self, config: &LinkConfig, node: Option<u32>) -> bool {
        self.session.terms == succession::terms(config)
            && node.is_none_or(|node| node == self.session.node)
    }

    /// Has a broker go on with the session.
    pub fn come_into_force<S>(self, link: &mut LinkStart<S>, config: &mut ShardConfig) {
        config.node = self.session.node;
        config.first_client = self.next_client;
        config.is_heir_of_link = true;
        config.hold = config.hold.max(MAX_LINK_HOLD);
        link.config.node = self.session.node;
        link.bequest = Some(Box::new(self.session));
    }
}
