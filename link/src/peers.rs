//! The table of peers.
//!
//! ```text
//!   session tag ──▶ slot ──▶ Peer        one hash of 8 bytes; the peer of the
//!   PeerId % MAX ──────┘                 last datagram without any
//! ```
//! Invariant: an id's slot is the id modulo [`MAX_PEERS`], and ids count up: one
//! that is gone names nobody until 2^32 others came.

use core::net::IpAddr;

use hashbrown::HashMap;

use foldhash::fast::FixedState;

use crate::peer_id::{PeerId, Session, session_tag};

use super::peer::Peer;

/// Most brokers that one may have as peers.
pub const MAX_PEERS: usize = 1024;

/// Of these, at one address of an open link, where anybody can be as many as he
/// likes.
pub const MAX_PEERS_PER_ADDRESS: usize = 32;

#[derive(Default)]
pub(super) struct Peers {
    slots: Vec<Option<Box<Peer>>>,
    /// The slots in use, in the order in which their peers came.
    live: Vec<usize>,
    tags: HashMap<u64, usize, FixedState>,
    /// Of the last datagram: trains of one sender come one after another.
    recent: (u64, usize),
    next_id: u32,
}

impl Peers {
    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub fn is_full(&self) -> bool {
        self.live.len() == MAX_PEERS
    }

    /// Whether there are too many at one address for one more.
    pub fn is_crowded(&self, address: IpAddr) -> bool {
        let there = self.iter().filter(|peer| peer.address.ip() == address);
        there.count() >= MAX_PEERS_PER_ADDRESS
    }

    /// The number of the next peer. Not to be called if the table is full.
    pub fn next_id(&mut self) -> PeerId {
        loop {
            let id = PeerId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            if self.slots.get(slot_of(id)).is_none_or(Option::is_none) {
                return id;
            }
        }
    }

    /// Whether a session's tag is taken: by itself, or by bad luck.
    pub fn has_tag(&self, session: &Session) -> bool {
        self.tags.contains_key(&session_tag(session))
    }

    pub fn insert(&mut self, peer: Peer) -> usize {
        let slot = slot_of(peer.id);
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.tags.insert(session_tag(&peer.session), slot);
        self.live.push(slot);
        self.slots[slot] = Some(Box::new(peer));
        slot
    }

    pub fn remove(&mut self, slot: usize) -> Option<Box<Peer>> {
        let peer = self.slots.get_mut(slot)?.take()?;
        self.tags.remove(&session_tag(&peer.session));
        self.live.retain(|&other| other != slot);
        self.recent = (0, usize::MAX);
        Some(peer)
    }

    /// Whose data it is.
    #[inline]
    pub fn slot_of_tag(&mut self, tag: u64) -> Option<usize> {
        if self.recent.0 == tag && self.recent.1 != usize::MAX {
            return Some(self.recent.1);
        }
        let slot = *self.tags.get(&tag)?;
        self.recent = (tag, slot);
        Some(slot)
    }

    /// Whose control datagram it is.
    pub fn slot_of_session(&mut self, session: &Session) -> Option<usize> {
        let slot = self.slot_of_tag(session_tag(session))?;
        (self.at(slot)?.session == *session).then_some(slot)
    }

    /// The slot of a peer that is still there.
    pub fn slot_of(&self, id: PeerId) -> Option<usize> {
        let slot = slot_of(id);
        (self.at(slot)?.id == id).then_some(slot)
    }

    pub fn at(&self, slot: usize) -> Option<&Peer> {
        self.slots.get(slot)?.as_deref()
    }

    #[inline]
    pub fn at_mut(&mut self, slot: usize) -> Option<&mut Peer> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    pub fn get(&self, id: PeerId) -> Option<&Peer> {
        self.at(self.slot_of(id)?)
    }

    /// The place of each peer, for a loop that changes the table.
    pub fn slot_at(&self, index: usize) -> Option<usize> {
        self.live.get(index).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Peer> + Clone {
        self.live.iter().filter_map(|&slot| self.at(slot))
    }
}

fn slot_of(id: PeerId) -> usize {
    id.0 as usize % MAX_PEERS
}
