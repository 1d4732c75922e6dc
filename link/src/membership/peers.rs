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

use crate::config::LinkConfig;
use crate::membership::peer::Peer;
use crate::peer_id::{PeerId, Session, session_tag};
use crate::stream::StreamId;
use crate::transmit::To;

/// Most brokers that one may have as peers.
pub const MAX_PEERS: usize = 1024;

/// Most peers at one address of an open link, where anybody can be as many as he likes.
pub const MAX_PEERS_PER_ADDRESS: usize = 32;

#[derive(Default)]
pub(crate) struct Peers {
    slots: Vec<Option<Box<Peer>>>,
    /// The slots in use, in the order in which their peers came.
    live: Vec<usize>,
    tags: HashMap<u64, usize, FixedState>,
    /// Tag and slot of the last datagram: trains of one sender come one after another.
    recent: (u64, usize),
    next_id: u32,
    /// Some peer has an address of this machine.
    pub is_looped: bool,
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

    /// Slot of the peer whose data has this tag.
    #[inline]
    pub fn slot_of_tag(&mut self, tag: u64) -> Option<usize> {
        if self.recent.0 == tag && self.recent.1 != usize::MAX {
            return Some(self.recent.1);
        }
        let slot = *self.tags.get(&tag)?;
        self.recent = (tag, slot);
        Some(slot)
    }

    /// Slot of the peer whose control datagrams name this session.
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

    /// Notes whether any peer is on this machine, as peers came, went or moved.
    pub fn note_addresses(&mut self, config: &LinkConfig) {
        let is_looped = self.iter().any(|peer| config.is_local(peer.address.ip()));
        self.is_looped = is_looped;
    }

    /// Whether all of them know of the own interest of this version.
    pub fn have_confirmed(&self, version: u64) -> bool {
        self.iter().all(|peer| peer.told.confirmed_version >= version)
    }

    /// Addresses of control datagrams for all peers.
    pub fn everybody(&self, config: &LinkConfig) -> Vec<To> {
        let group = config.control_address();
        let hears = self.iter().any(|peer| peer.wants.hears_us);
        let mut to: Vec<To> = hears.then_some(To::Group(group)).into_iter().collect();
        let deaf = self.iter().filter(|peer| !peer.wants.hears_us);
        to.extend(deaf.map(|peer| To::Addr(peer.address)));
        to
    }

    /// Addresses of control datagrams that are for all brokers there may be.
    pub fn anybody(&self, config: &LinkConfig) -> Vec<To> {
        let mut to = vec![To::Group(config.control_address())];
        to.extend(config.peers.iter().map(|&address| To::Addr(address)));
        for peer in self.iter().filter(|peer| !peer.wants.hears_us) {
            if !config.peers.contains(&peer.address) {
                to.push(To::Addr(peer.address));
            }
        }
        to
    }

    /// The peer with this node id.
    pub fn of_node(&self, node: u32) -> Option<&Peer> {
        self.iter().find(|peer| peer.identity.node == node)
    }

    /// The streams that are about to receive a large frame, with their peers' slots.
    pub fn streams_with_large_frames(&self) -> Vec<(usize, StreamId)> {
        let peers = self.live.iter().filter_map(|&slot| Some((slot, self.at(slot)?)));
        peers
            .flat_map(|(slot, peer)| peer.inbound.iter().map(move |inbound| (slot, inbound)))
            .filter(|(_, inbound)| inbound.ingress.has_large_frame())
            .map(|(slot, inbound)| (slot, inbound.stream))
            .collect()
    }

    /// All peers, in the order of their slots.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.slots.iter_mut().filter_map(Option::as_deref_mut)
    }

    /// All peers, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> + Clone {
        self.live.iter().filter_map(|&slot| self.at(slot))
    }
}

fn slot_of(id: PeerId) -> usize {
    id.0 as usize % MAX_PEERS
}
