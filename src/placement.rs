//! Placement of new connections on shards: the books of a shard that accepts.
//!
//! Events between two shards cost a wake-up each way, so the clients of one
//! channel share a shard until there are [`DEFAULT_SPILL_CLIENTS`] of them; then each
//! further block of as many goes to the shard with the fewest connections.
//!
//! Where connections cannot move, every shard accepts, has books of its own and keeps
//! what it gets.
//!
//! The books also give each client its number, and keep why the broker disconnected a
//! client, for its successor's welcome.
//!
//! Decision: `docs/decisions/003-channel-shares-a-shard.md`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use netcluster_platform::Peer;
use netcluster_wire::{ErrorCode, Source};

use crate::target::ShardId;

/// Clients of one channel that share a shard before another one is used.
pub const DEFAULT_SPILL_CLIENTS: usize = 64;

/// Number of disconnections that are remembered.
const MAX_REASONS: usize = 1024;

/// Books of a shard that accepts; no other shard has them.
pub struct Placement {
    spill: usize,
    /// The shard that keeps what it accepts, if connections cannot move.
    keeps: Option<ShardId>,
    clients_of_shard: Vec<usize>,
    channels: HashMap<Arc<str>, ChannelBook, FixedState>,
    reasons: VecDeque<Reason>,
    next_client: u32,
    /// First client number, and the step from one to the next: the numbers between are
    /// given by other shards.
    first_client: u32,
    client_step: u32,
    /// All client numbers have been used once.
    began_anew: bool,
    /// Numbers of connections that have not left.
    taken: HashSet<u32, FixedState>,
}

/// Reason why the broker disconnected a client. Every shard that accepts has it in its
/// books: the client may come back on any.
#[derive(Clone, Debug)]
pub struct Reason {
    /// Client that was disconnected.
    pub source: Source,
    /// User that the client belonged to: nobody else is told.
    pub peer: Peer,
    /// Code that the client was sent.
    pub code: ErrorCode,
    /// Reason in words.
    pub text: String,
    /// Whether the client's successor was told, by whichever shard.
    pub told: Told,
}

/// Flag of something that is told once, whichever of several shards does it.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<AtomicBool>);

impl Told {
    /// Returns whether nobody has told it yet; then it counts as told.
    fn first(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

struct ChannelBook {
    clients: usize,
    shard: ShardId,
    block: usize,
}

impl Placement {
    /// Returns the empty books of the one shard that accepts, for so many shards.
    pub fn new(shards: u16, spill: usize, seed: u64) -> Placement {
        Placement {
            spill: spill.max(1),
            keeps: None,
            clients_of_shard: vec![0; usize::from(shards)],
            channels: HashMap::with_hasher(FixedState::with_seed(seed)),
            reasons: VecDeque::new(),
            next_client: 1,
            first_client: 1,
            client_step: 1,
            began_anew: false,
            taken: HashSet::with_hasher(FixedState::with_seed(seed)),
        }
    }

    /// Returns the empty books of one of so many shards that all accept and keep what
    /// they get.
    pub fn keeping(shard: ShardId, shards: u16, seed: u64) -> Placement {
        let first = 1 + u32::from(shard.0);
        Placement {
            keeps: Some(shard),
            next_client: first,
            first_client: first,
            client_step: u32::from(shards),
            ..Placement::new(shards, 1, seed)
        }
    }

    /// Gives clients numbers from this one on.
    pub fn from(mut self, first_client: u32) -> Placement {
        self.next_client = first_client.max(self.next_client);
        self
    }

    /// Returns whether other shards have such books too.
    pub fn is_one_of_many(&self) -> bool {
        self.keeps.is_some()
    }

    /// Returns a number for a new client that nobody has on any shard. Numbers that
    /// were used are used again only after all others.
    pub fn next_client(&mut self) -> u32 {
        loop {
            let client = self.next_client;
            self.next_client = client.checked_add(self.client_step).unwrap_or_else(|| {
                self.began_anew = true;
                self.first_client
            });
            if self.taken.insert(client) {
                return client;
            }
        }
    }

    /// Returns whether a client may have got this number in this run.
    pub fn has_given(&self, client: u32) -> bool {
        self.began_anew || client < self.next_client
    }

    /// Frees the number of a client that has left.
    pub fn forget(&mut self, client: u32) {
        self.taken.remove(&client);
    }

    /// Returns the shard for a new client of `channel`.
    pub fn place(&mut self, channel: &Arc<str>) -> ShardId {
        self.keeps.unwrap_or_else(|| self.choose(channel))
    }

    fn choose(&mut self, channel: &Arc<str>) -> ShardId {
        let emptiest = ShardId::all(self.clients_of_shard.len() as u16)
            .min_by_key(|shard| self.clients_of_shard[shard.index()])
            .expect("there is a shard");
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
        self.clients_of_shard[book.shard.index()] += 1;
        book.shard
    }

    /// Counts out a client of `channel` that was on `shard`.
    pub fn departed(&mut self, channel: &str, shard: ShardId, client: u32) {
        self.forget(client);
        if self.keeps.is_some() {
            return;
        }
        self.clients_of_shard[shard.index()] -= 1;
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
    pub fn note_reason(&mut self, reason: Reason) {
        if self.reasons.len() == MAX_REASONS {
            self.reasons.pop_front();
        }
        self.reasons.push_back(reason);
    }

    /// Takes the reason why the client that had this source was disconnected, which is
    /// told once, and to the same user alone.
    pub fn take_reason(&mut self, source: Source, peer: &Peer) -> Option<(ErrorCode, String)> {
        let is_it = |reason: &Reason| reason.source == source && reason.peer.is_same_user(peer);
        let at = self.reasons.iter().rposition(is_it)?;
        let reason = self.reasons.remove(at).filter(|reason| reason.told.first())?;
        Some((reason.code, reason.text))
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
        let third = placement.place(&a);
        assert_ne!(third, first, "the emptier shard takes the next block");
        for shard in [first, first, third] {
            placement.departed("a", shard, 0);
        }
        assert_eq!(placement.place(&a), first, "b is on the other one");
    }

    #[test]
    fn shards_that_keep_their_clients_number_them_apart() {
        let mut all = [0, 1, 2].map(|shard| Placement::keeping(ShardId(shard), 3, 1));
        let channel: Arc<str> = "a".into();
        let mut numbers = Vec::new();
        for (shard, placement) in all.iter_mut().enumerate() {
            assert_eq!(placement.place(&channel), ShardId(shard as u16));
            numbers.extend([placement.next_client(), placement.next_client()]);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    }

    /// What broke: the broker ended when all numbers had been used once.
    #[test]
    fn numbers_begin_anew_and_pass_over_those_in_use() {
        let mut placement = Placement::keeping(ShardId(1), 4, 1);
        assert_eq!([placement.next_client(), placement.next_client()], [2, 6]);
        placement.departed("a", ShardId(1), 2);
        assert!(!placement.has_given(1 << 20));
        placement.next_client = u32::MAX - 1;
        assert_eq!(placement.next_client(), u32::MAX - 1);
        assert_eq!([placement.next_client(), placement.next_client()], [2, 10]);
        assert!(placement.has_given(1 << 20), "it may have been, before");
    }

    #[test]
    fn a_reason_is_told_once_and_to_the_same_user() {
        let mut placement = Placement::new(1, 1, 1);
        let source = Source { node: 1, client: 2 };
        let user = |uid| Peer { uid, ..Peer::UNKNOWN };
        let account = |name: &str| Peer { user: Some(Arc::new(name.to_owned())), ..Peer::UNKNOWN };
        for (own, other) in [(user(7), user(8)), (account("S-1-5-7"), account("S-1-5-8"))] {
            let (code, text) = (ErrorCode::Stalled, "slow".to_owned());
            let (peer, told) = (own.clone(), Told::default());
            let reason = Reason { source, peer, code, text: text.clone(), told };
            placement.note_reason(reason.clone());
            assert_eq!(placement.take_reason(source, &other), None);
            let own = Peer { pid: 99, ..own };
            assert_eq!(placement.take_reason(source, &own), Some((code, text)));
            assert_eq!(placement.take_reason(source, &own), None);
            // Nor by another shard, which has it in its books too.
            let mut elsewhere = Placement::new(1, 1, 1);
            elsewhere.note_reason(reason);
            assert_eq!(elsewhere.take_reason(source, &own), None);
        }
    }
}
