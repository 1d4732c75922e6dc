//! The losses of one interval, by receiver.

use crate::link::flow::Sample;
use crate::link::peer_id::PeerId;

/// A receiver that was sent fewer in an interval says nothing about the way.
const MIN_NUMBERS: u64 = 100;

/// What each receiver lost since the interval began, over all streams.
#[derive(Debug, Default)]
pub struct Losses {
    /// In the order of their names.
    peers: Vec<(PeerId, Sample)>,
}

impl Losses {
    /// Adds what was reported.
    pub fn add(&mut self, peer: PeerId, sample: Sample) {
        match self.find(peer) {
            Ok(at) => self.peers[at].1.add(sample),
            Err(at) => self.peers.insert(at, (peer, sample)),
        }
    }

    /// The largest loss of all; none if nobody was sent enough.
    pub fn worst(&self) -> Option<Sample> {
        let known = self.peers.iter().filter(|(_, sample)| sample.numbers() >= MIN_NUMBERS);
        known.map(|(_, sample)| *sample).max_by_key(|sample| sample.permille())
    }

    /// What each lost, per mille, if it was sent enough.
    pub fn known(&self) -> impl Iterator<Item = (PeerId, u64)> + '_ {
        let known = self.peers.iter().filter(|(_, sample)| sample.numbers() >= MIN_NUMBERS);
        known.map(|(peer, sample)| (*peer, sample.permille()))
    }

    /// The next interval begins.
    pub fn clear(&mut self) {
        self.peers.clear();
    }

    /// A receiver does not count any more.
    pub fn forget(&mut self, peer: PeerId) {
        if let Ok(at) = self.find(peer) {
            self.peers.remove(at);
        }
    }

    fn find(&self, peer: PeerId) -> Result<usize, usize> {
        self.peers.binary_search_by_key(&peer, |(peer, _)| *peer)
    }
}
