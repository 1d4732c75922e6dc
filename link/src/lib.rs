//! The link: brokers on many machines as one bus.
//!
//! ```text
//!   emit ──▶ send: outbound streams ─▶ scheduler ──▶ poll_transmit ──▶ sockets
//!                                          ▲
//!                                          │ control_sender (sealed)
//!                                          │
//!   sockets ──▶ handle_datagrams ──▶ receive ─┬─▶ control: dispatch ─▶ membership,
//!                                             │               interest, send
//!                                             └─▶ inbound streams ─▶ poll_event
//!   time ─────▶ handle_timeout ──▶ timeout: all that is due
//! ```
//! A state machine without input or output: datagrams, frames and the time come
//! in, datagrams, frames and deadlines go out. After each `handle_*`, `emit` or
//! `set_*`, and in this order: [`Link::poll_event`] until there is nothing (groups
//! are joined before peers are told so), [`Link::poll_transmit`] until there is
//! nothing, then [`Link::poll_timeout`].
//!
//! - [`channel`], [`stream`], [`peer_id`], [`config`], [`options`], [`event`],
//!   [`transmit`], [`status`]: what the broker and the link say to each other.
//! - [`send`]: outbound streams, flow control, congestion control, retransmissions,
//!   the scheduler.
//! - [`receive`]: datagrams in, inbound streams, loss detection, the receive window.
//! - [`membership`]: who is there, and who is not.
//! - `interest`: who wants what, and from where on.
//! - `control`: control datagrams out and in. [`crypto`]: sealing.
//! - `rekey`: other keys while the link runs. [`succession`]: its session in other hands.
//! - `timeout`, `report`, [`warnings`]: what time brings; the status; what people
//!   are told.
//!
//! Invariant: nothing of a peer is used that was not opened with its session's
//! keys, and nothing of a session that did not answer our challenge.

#![forbid(unsafe_code)]

pub mod channel;
pub mod config;
mod control;
pub mod crypto;
pub mod event;
mod interest;
mod local_broker;
pub mod membership;
pub mod options;
mod output;
pub mod peer_id;
pub mod receive;
mod rekey;
mod report;
pub mod send;
pub mod status;
pub mod stream;
pub mod succession;
mod timeout;
mod timer;
pub mod transmit;
pub mod warnings;

#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};

use netcluster_platform::{Instant, Slice};

pub use crate::config::{Entropy, LinkConfig};
pub use crate::event::LinkEvent;
pub use crate::peer_id::{PeerId, Session};
pub use crate::receive::datagrams::Datagrams;
pub use crate::status::LinkStatus;
pub use crate::stream::{Position, StreamId};
pub use crate::transmit::{To, Transmit};

use crate::channel::{ChannelHash, LinkChannel};
use crate::control::control_sender::ControlSender;
use crate::interest::LocalInterest;
use crate::interest::local_channels::Change;
use crate::local_broker::LocalBroker;
use crate::membership::Membership;
use crate::membership::peers::Peers;
use crate::output::Output;
use crate::receive::inbound_streams::InboundStreams;
use crate::send::outbound_streams::OutboundStreams;
use crate::send::scheduler::Scheduler;
use crate::status::LinkCounters;
use crate::timer::Timer;

/// Number of datagrams that are kept behind a hole until it is filled.
pub const REORDER_DATAGRAMS: usize = 4096;

/// One broker's end of the link: what its parts share, and what they do together. See
/// the module.
pub struct Link {
    local: LocalBroker,
    membership: Membership,
    peers: Peers,
    interest: LocalInterest,
    outbound: OutboundStreams,
    scheduler: Scheduler,
    inbound: InboundStreams,
    control: ControlSender,
    output: Output,
    counters: LinkCounters,
    timer: Timer,
    /// Nothing of peers is taken in or delivered: a successor is to go on with it.
    is_paused: bool,
    /// Memory for bodies that are opened.
    scratch: Vec<u8>,
}

impl Link {
    /// Makes a link that starts now. `session` comes from the system's random source, in a
    /// simulation too if there are keys.
    ///
    /// # Panics
    /// If the configuration is outside of the protocol's limits: whoever reads it
    /// checks it.
    pub fn new(
        config: LinkConfig,
        session: Session,
        mut entropy: Box<dyn Entropy + Send>,
        now: Instant,
    ) -> Link {
        assert!(config.node != 0, "node 0 is nobody");
        let mut seed = [0; 16];
        entropy.fill(&mut seed);
        let mut output = Output::default();
        output.push(LinkEvent::JoinGroup(config.control_address().ip()));
        Link {
            membership: Membership::new(now, &config, &seed),
            peers: Peers::default(),
            interest: LocalInterest::new(),
            outbound: OutboundStreams::new(&config, session),
            scheduler: Scheduler::new(now, config.rate),
            inbound: InboundStreams::new(&config),
            control: ControlSender::new(&config.keys, &session),
            output,
            counters: LinkCounters::default(),
            timer: Timer::new(now),
            is_paused: false,
            scratch: Vec::new(),
            local: LocalBroker::new(now, config, session, entropy),
        }
    }

    /// Begins to look for peers now, and not when the link was made: what was emitted since
    /// then is held back for them. One that was inherited goes on.
    pub fn begin(&mut self, now: Instant) {
        if self.membership.discovery.is_over() {
            self.outbound.restart_heartbeats(now);
            self.hurry(now);
        } else {
            self.membership.begin(now, &self.local.config);
        }
        self.scheduler = Scheduler::new(now, self.local.config.rate);
        self.timer.due(now);
    }

    /// Makes a channel known, before anything else is said of it. Returns its
    /// hash.
    pub fn open_channel(&mut self, now: Instant, name: &str) -> ChannelHash {
        let hash = ChannelHash::of(name);
        if self.interest.channels.get(hash).is_none() {
            let stream = self.local.stream_map.stream_of(name);
            let outbound = self.outbound.open(now, stream, &self.peers);
            self.interest
                .channels
                .insert(LinkChannel { name: name.into(), hash, stream }, outbound);
        }
        hash
    }

    /// Forgets a channel that nobody here uses any more.
    pub fn close_channel(&mut self, now: Instant, channel: ChannelHash) {
        let change = self.interest.channels.remove(channel);
        self.interest_changed(now, change);
    }

    /// Whether anybody here listens to a channel. Returns the version of the
    /// interest that says so, for [`Link::joined`].
    pub fn set_interest(&mut self, now: Instant, channel: ChannelHash, is_wanted: bool) -> u64 {
        let change = self.interest.channels.set_wanted(channel, is_wanted.then_some(now));
        self.interest_changed(now, change);
        self.interest.versions.version()
    }

    /// Takes whole event frames of one channel, in one piece or one frame in several.
    /// Frames that nobody wants are only counted. Returns the stream if it has no room: its
    /// emitters must pause until [`Link::is_blocked`] says no.
    #[inline]
    pub fn emit(
        &mut self,
        channel: ChannelHash,
        pieces: &[Slice],
        frames: usize,
    ) -> Option<StreamId> {
        let local = self.interest.channels.get(channel)?;
        let outbound = &mut self.outbound.streams[local.outbound];
        if outbound.flow.is_wanted()
            || (self.membership.discovery.is_keeping() && !outbound.has_spilt)
        {
            outbound.egress.emit(&local.channel, pieces, frames);
        } else {
            outbound.egress.skip(frames);
            self.counters.events_unwanted += frames as u64;
        }
        if outbound.egress.is_blocked() { self.blocked(local.outbound) } else { None }
    }

    /// Looks what to do about an outbound stream that has no room. Events that are kept for
    /// those who may come do not hold emitters up: they are given up.
    #[cold]
    fn blocked(&mut self, at: usize) -> Option<StreamId> {
        let outbound = &mut self.outbound.streams[at];
        if self.membership.discovery.is_over() && !outbound.flow.is_wanted() {
            outbound.spill();
        }
        outbound.egress.is_blocked().then_some(outbound.id)
    }

    /// Whether events wait for room in an outbound stream. It comes after some
    /// `handle_*` and sending.
    pub fn is_blocked(&self, stream: StreamId) -> bool {
        self.outbound.get(stream).is_some_and(|outbound| outbound.egress.is_blocked())
    }

    /// Whether peers may still be found that were there before this broker.
    pub fn is_discovering(&self) -> bool {
        !self.membership.discovery.is_over()
    }

    /// The name of a peer.
    pub fn peer_name(&self, peer: PeerId) -> Option<&str> {
        Some(&self.peers.get(peer)?.identity.name)
    }

    /// Number of brokers that are peers.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// The channels whose listeners a hole in a stream concerns.
    pub fn channels_in(&self, stream: StreamId) -> impl Iterator<Item = ChannelHash> + '_ {
        self.interest.channels.wanted_in(stream)
    }

    /// Holds a pressured stream of a peer, since a listener's queue is full; or
    /// lets it go on.
    pub fn set_held(&mut self, now: Instant, peer: PeerId, stream: StreamId, is_held: bool) {
        let Some(slot) = self.peers.slot_of(peer) else { return };
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let Some(inbound) = peer.inbound_mut(stream) else { return };
        inbound.is_held = is_held;
        // One that is stale stands still until its sender tells where it goes on.
        if !inbound.is_stale {
            inbound.ingress.set_held(is_held);
        }
        // The sender learns at once why nothing moves, or that it does again.
        self.inbound.owe_status(peer);
        self.look_through(now, slot, stream);
        self.pay_statuses(now);
    }

    /// Sets the brokers to be greeted by unicast from now on; besides, how many there are
    /// whose addresses are not known yet.
    pub fn set_unicast_peers(&mut self, now: Instant, peers: Vec<SocketAddr>, unresolved: usize) {
        self.membership.unreachable.set(now, &peers);
        peers.iter().for_each(|peer| self.membership.hello_rate.know(peer.ip()));
        self.local.config.peers = peers;
        self.local.config.unresolved = unresolved;
        self.hurry(now);
    }

    /// Says hello to all, as after the start: the network is not what it was.
    pub fn hurry(&mut self, now: Instant) {
        self.membership.announce.restart(now);
        self.timer.due(self.membership.announce.next_at());
    }

    /// Sets the addresses that this machine has now.
    pub fn set_local_addresses(&mut self, addresses: &[IpAddr]) {
        if self.local.config.local_addresses != addresses {
            self.local.config.local_addresses = addresses.to_vec();
            self.peers.note_addresses(&self.local.config);
        }
    }

    /// The next event of those that happened since the last call.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.output.events.pop_front()
    }

    /// Time to call [`Link::handle_timeout`] at the latest; perhaps earlier than necessary.
    /// `None`: never.
    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(self.timer.next_at()).filter(|next_at| *next_at < Instant::NEVER)
    }

    fn interest_changed(&mut self, now: Instant, change: Change) {
        let event = match change {
            Change::None => return,
            Change::Joins(group) => {
                LinkEvent::JoinGroup(self.local.config.group_address(group).ip())
            }
            Change::Leaves(group) => {
                LinkEvent::LeaveGroup(self.local.config.group_address(group).ip())
            }
        };
        if self.local.config.groups > 1 {
            self.output.push(event);
        }
        self.interest.versions.changed();
        self.tell_all(now);
    }
}
