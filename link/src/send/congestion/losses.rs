//! The losses of one interval, by receiver.

use crate::peer_id::PeerId;
use crate::send::flow_control::Sample;

/// Least numbers that a receiver must be sent in an interval: with fewer it says nothing
/// about the way.
const MIN_NUMBERS: u64 = 100;

/// Losses of each receiver since the interval began, over all streams.
#[derive(Debug, Default)]
pub struct Losses {
    /// Receivers in the order of their peer ids.
    peers: Vec<(PeerId, Loss)>,
}

/// Report of one receiver.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss {
    /// Datagrams that were sent, and lost.
    pub sample: Sample,
    /// Fair share of the way to it, in bytes per second, as it says; 0 if it says nothing.
    pub share: u64,
}

impl Losses {
    /// Adds what was reported.
    pub fn add(&mut self, peer: PeerId, sample: Sample, share: u64) {
        let at = self.find(peer).unwrap_or_else(|at| {
            self.peers.insert(at, (peer, Loss::default()));
            at
        });
        let loss = &mut self.peers[at].1;
        loss.sample.add(sample);
        if share > 0 {
            loss.share = share;
        }
    }

    /// Largest loss of all; none if nobody was sent enough.
    pub fn worst(&self) -> Option<Loss> {
        self.known().map(|(_, loss)| loss).max_by_key(|loss| loss.sample.permille())
    }

    /// Losses of those that were sent enough.
    pub fn known(&self) -> impl Iterator<Item = (PeerId, Loss)> + '_ {
        self.peers.iter().filter(|(_, loss)| loss.sample.numbers() >= MIN_NUMBERS).copied()
    }

    /// Begins the next interval.
    pub fn clear(&mut self) {
        self.peers.clear();
    }

    /// Forgets a receiver that does not count any more.
    pub fn forget(&mut self, peer: PeerId) {
        if let Ok(at) = self.find(peer) {
            self.peers.remove(at);
        }
    }

    fn find(&self, peer: PeerId) -> Result<usize, usize> {
        self.peers.binary_search_by_key(&peer, |(peer, _)| *peer)
    }
}
