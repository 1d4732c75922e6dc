//! Where a new connection goes: the accepting shard's books.
//!
//! Events between two shards cost a wake-up each way, so the clients of one
//! channel share a shard until there are [`DEFAULT_SPILL_CLIENTS`] of them; then each
//! further block of as many goes to the shard with the fewest connections.
//!
//! The books also keep why the broker disconnected a client, for its successor's
//! welcome.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use netcluster_wire::{ErrorCode, Source};

/// Clients of one channel that share a shard before another one is used.
pub const DEFAULT_SPILL_CLIENTS: usize = 64;

/// Disconnections that are remembered.
const MAX_REASONS: usize = 1024;

/// The books. Only the accepting shard has them.
pub struct Placement {
    spill: usize,
    clients_of_shard: Vec<usize>,
    channels: HashMap<Arc<str>, ChannelBook, FixedState>,
    reasons: VecDeque<(Source, ErrorCode, String)>,
    next_client: u32,
}

struct ChannelBook {
    clients: usize,
    shard: u16,
    block: usize,
}

impl Placement {
    /// Empty books for so many shards.
    pub fn new(shards: u16, spill: usize, seed: u64) -> Placement {
        Placement {
            spill: spill.max(1),
            clients_of_shard: vec![0; shards as usize],
            channels: HashMap::with_hasher(FixedState::with_seed(seed)),
            reasons: VecDeque::new(),
            next_client: 1,
        }
    }

    /// A number for a new client, never used before.
    pub fn next_client(&mut self) -> u32 {
        let client = self.next_client;
        self.next_client = client.checked_add(1).expect("four thousand million connections");
        client
    }

    /// Clients that are placed now.
    pub fn clients(&self) -> usize {
        self.clients_of_shard.iter().sum()
    }

    /// The shard for a new client of `channel`.
    pub fn place(&mut self, channel: &Arc<str>) -> u16 {
        let emptiest = (0..self.clients_of_shard.len())
            .min_by_key(|&shard| self.clients_of_shard[shard])
            .expect("there is a shard") as u16;
        let book = self.channels.entry(Arc::clone(channel)).or_insert(ChannelBook {
            clients: 0,
            shard: emptiest,
            block: 0,
        });
        if book.block == self.spill {
            book.shard = emptiest;
            book.block = 0;
        }
        book.block += 1;
        book.clients += 1;
        self.clients_of_shard[book.shard as usize] += 1;
        book.shard
    }

    /// A client of `channel` that was on `shard` is gone.
    pub fn departed(&mut self, channel: &str, shard: u16) {
        self.clients_of_shard[shard as usize] -= 1;
        if let Some(book) = self.channels.get_mut(channel) {
            book.clients -= 1;
            if book.shard == shard {
                book.block = book.block.saturating_sub(1);
            }
            if book.clients == 0 {
                self.channels.remove(channel);
            }
        }
    }

    /// Remembers why a client was disconnected.
    pub fn kicked(&mut self, source: Source, code: ErrorCode, text: String) {
        if self.reasons.len() == MAX_REASONS {
            self.reasons.pop_front();
        }
        self.reasons.push_back((source, code, text));
    }

    /// Why the client that had this source was disconnected, told once.
    pub fn take_reason(&mut self, source: Source) -> Option<(ErrorCode, String)> {
        let at = self.reasons.iter().rposition(|(other, ..)| *other == source)?;
        self.reasons.remove(at).map(|(_, code, text)| (code, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_stays_together_until_it_spills() {
        let mut placement = Placement::new(2, 2, 1);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let first = placement.place(&a);
        assert_eq!(placement.place(&a), first);
        assert_ne!(placement.place(&b), first);
        assert_ne!(placement.place(&a), first, "the emptier shard takes the next block");
        for shard in [first, first, 1 - first] {
            placement.departed("a", shard);
        }
        assert_eq!(placement.place(&a), first, "b is on the other one");
    }

    #[test]
    fn a_reason_is_told_once() {
        let mut placement = Placement::new(1, 1, 1);
        let source = Source { node: 1, client: 2 };
        placement.kicked(source, ErrorCode::Stalled, "slow".into());
        assert_eq!(placement.take_reason(source), Some((ErrorCode::Stalled, "slow".into())));
        assert_eq!(placement.take_reason(source), None);
    }
}
