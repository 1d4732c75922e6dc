//! The link: brokers on many machines as one bus.
//!
//! ```text
//!   emit ──▶ own ──────────────▶ sending ──▶ poll_transmit ──▶ sockets
//!            (egress, flow,         ▲
//!             repairs, beat)        │ mail (sealed control datagrams)
//!                                   │
//!   sockets ──▶ handle_datagrams ──▶ receive ─┬─▶ dispatch ─▶ handshake, peers,
//!                                             │               joining, flow
//!                                             └─▶ incoming (ingress) ─▶ poll_event
//!   time ─────▶ handle_timeout ──▶ timeout: all that is due
//! ```
//! A state machine without input or output: datagrams, frames and the time come
//! in, datagrams, frames and deadlines go out. After each `handle_*`, `emit` or
//! `set_*`, and in this order: [`Link::poll_event`] until there is nothing (groups
//! are joined before peers are told so), [`Link::poll_transmit`] until there is
//! nothing, then [`Link::poll_timeout`].
//!
//! - [`channel`], [`stream`], [`peer_id`], [`config`], [`event`], [`transmit`],
//!   [`status`]: what the broker and the link say to each other.
//! - [`keys`]: sealing. [`egress`]: an own stream. [`flow`], [`pace`], [`repair`]:
//!   its receivers. [`ingress`], [`window`]: the streams of others.
//! - `path_size`, `sizes`: how large datagrams may be on the way to each peer.
//! - `announce`, `greeting`, `hello_rate`, `handshake`, `proof`, `membership`,
//!   `departed`: who is there.
//!   `neighbours`, `unanswered`, `unlinked`: who of them is not, for others or at all.
//! - `local`, `joining`, `discovery`: who wants what, and from where on.
//! - `receive`, `dispatch`, `timeout`, `sending`, `renewal`, `ending`: the parts of
//!   [`Link`].
//!
//! Invariant: nothing of a peer is used that was not opened with its session's
//! keys, and nothing of a session that did not answer our challenge.

#![forbid(unsafe_code)]

mod announce;
mod beat;
pub mod channel;
pub mod config;
mod departed;
mod discovery;
mod dispatch;
pub mod egress;
mod ending;
pub mod event;
pub mod flow;
mod greeting;
mod handshake;
mod hello_rate;
mod incoming;
pub mod ingress;
mod joining;
pub mod keys;
mod local;
mod mail;
mod membership;
pub mod neighbours;
pub mod options;
mod own;
pub mod pace;
mod path_size;
mod peer;
pub mod peer_id;
mod peers;
mod probe;
mod proof;
mod receive;
mod renewal;
pub mod repair;
mod report;
mod sending;
mod shares;
mod sizes;
pub mod status;
pub mod stream;
mod timeout;
pub mod transmit;
mod unanswered;
mod unlinked;
pub mod warnings;
pub mod window;

#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, VecDeque};

use netcluster_platform::Slice;

pub use self::config::{Entropy, LinkConfig};
pub use self::event::LinkEvent;
pub use self::peer_id::{PeerId, Session};
pub use self::receive::Datagrams;
pub use self::status::LinkStatus;
pub use self::stream::{Position, StreamId};
pub use self::transmit::{To, Transmit};

use self::announce::Announce;
use self::channel::{LinkChannel, channel_hash};
use self::config::Settings;
use self::departed::Departed;
use self::discovery::Discovery;
use self::egress::EgressConfig;
use self::ending::Ending;
use self::handshake::Handshakes;
use self::hello_rate::HelloRate;
use self::ingress::{IngressConfig, Reassembly};
use self::joining::OwnInterest;
use self::local::{Change, Locals};
use self::mail::Mail;
use self::neighbours::Neighbours;
use self::own::OwnStream;
use self::peer_id::session_tag;
use self::peers::Peers;
use self::sending::Sending;
use self::shares::Shares;
use self::status::LinkCounters;
use self::unanswered::Unanswered;
use self::unlinked::AllUnlinked;
use self::warnings::Warnings;
use self::window::{Window, WindowConfig};

/// How far ahead of a hole datagrams are kept until it is filled.
pub const REORDER_DATAGRAMS: usize = 4096;

/// One broker's end of the link. See the module.
pub struct Link {
    config: LinkConfig,
    settings: Settings,
    session: Session,
    tag: u64,
    entropy: Box<dyn Entropy + Send>,

    mail: Mail,
    announce: Announce,
    discovery: Discovery,
    hello_rate: HelloRate,
    handshakes: Handshakes,
    departed: Departed,
    peers: Peers,
    neighbours: Neighbours,
    unanswered: Unanswered,
    unlinked: AllUnlinked,
    ending: Ending,

    locals: Locals,
    interest: OwnInterest,
    own: Vec<OwnStream>,
    own_at: BTreeMap<StreamId, usize>,
    egress_config: EgressConfig,
    /// The largest datagram that the interface takes, of those that are wanted.
    interface_bytes: usize,
    /// The largest that is sent, if the way takes it.
    datagram_bytes: usize,
    ingress_config: IngressConfig,
    window: Window,
    shares: Shares,
    sending: Sending,

    /// Whose data was just received, and has not been looked through.
    touched: Option<(usize, StreamId)>,
    /// Some peer is owed a status.
    owes_status: bool,
    /// Some peer has an address of this machine.
    is_looped: bool,
    events: VecDeque<LinkEvent>,
    counters: LinkCounters,
    warnings: Warnings,
    started_ns: u64,
    /// When anything was called last.
    seen_ns: u64,
    /// Not later than the first deadline.
    next_ns: u64,
    /// For bodies that are opened.
    scratch: Vec<u8>,
}

impl Link {
    /// A link that starts now. `session` comes from the system's random source,
    /// in a simulation too if there are keys.
    ///
    /// # Panics
    /// If the configuration is outside of the protocol's limits: whoever reads it
    /// checks it.
    pub fn new(
        config: LinkConfig,
        session: Session,
        mut entropy: Box<dyn Entropy + Send>,
        now_ns: u64,
    ) -> Link {
        assert!(config.node != 0, "node 0 is nobody");
        let mut seed = [0; 16];
        entropy.fill(&mut seed);
        let mut hello_rate = HelloRate::new(session_tag(&seed));
        config.peers.iter().for_each(|peer| hello_rate.know(peer.ip()));
        let egress_config = EgressConfig {
            datagram_bytes: config.datagram_bytes,
            history_bytes: config.history_bytes,
            session,
            keys: config.keys.clone(),
        };
        let ingress_config = IngressConfig {
            max_payload_bytes: config.max_payload_bytes,
            reassembly: Reassembly::new(config.reassembly_bytes),
            reorder_datagrams: REORDER_DATAGRAMS,
        };
        let window = Window::new(&WindowConfig {
            granted_bytes: config.receive_buffer_bytes,
            datagram_bytes: config.datagram_bytes,
            reorder_datagrams: REORDER_DATAGRAMS,
        });
        let mut events = VecDeque::new();
        events.push_back(LinkEvent::JoinGroup(config.control_address().ip()));
        Link {
            settings: Settings::new(&config),
            session,
            tag: session_tag(&session),
            entropy,
            mail: Mail::new(&config.keys, &session),
            announce: Announce::new(now_ns),
            discovery: Discovery::new(now_ns, config.discovery.as_nanos() as u64),
            hello_rate,
            handshakes: Handshakes::default(),
            departed: Departed::default(),
            peers: Peers::default(),
            neighbours: Neighbours::new(now_ns),
            unanswered: Unanswered::new(now_ns, &config.peers),
            unlinked: AllUnlinked::default(),
            ending: Ending::default(),
            locals: Locals::new(),
            interest: OwnInterest::default(),
            own: Vec::new(),
            own_at: BTreeMap::new(),
            egress_config,
            interface_bytes: config.datagram_bytes,
            datagram_bytes: config.datagram_bytes,
            ingress_config,
            window,
            sending: Sending::new(now_ns, config.rate),
            touched: None,
            shares: Shares::default(),
            owes_status: false,
            is_looped: false,
            events,
            counters: LinkCounters::default(),
            warnings: Warnings::default(),
            started_ns: now_ns,
            seen_ns: now_ns,
            next_ns: now_ns,
            scratch: Vec::new(),
            config,
        }
    }

    /// Makes a channel known, before anything else is said of it. Returns its
    /// hash.
    pub fn open_channel(&mut self, now_ns: u64, name: &str) -> u64 {
        let hash = channel_hash(name);
        if self.locals.get(hash).is_none() {
            let stream = self.settings.stream_of(name);
            let own = self.own_stream(now_ns, stream);
            self.locals.insert(LinkChannel { name: name.into(), hash, stream }, own);
        }
        hash
    }

    /// Forgets a channel that nobody here uses any more.
    pub fn close_channel(&mut self, now_ns: u64, channel: u64) {
        let change = self.locals.remove(channel);
        self.interest_changed(now_ns, change);
    }

    /// Whether anybody here listens to a channel. Returns the version of the
    /// interest that says so, for [`Link::joined`].
    pub fn set_interest(&mut self, now_ns: u64, channel: u64, is_wanted: bool) -> u64 {
        let change = self.locals.set_wanted(now_ns, channel, is_wanted);
        self.interest_changed(now_ns, change);
        self.interest.version()
    }

    /// Takes whole event frames of one channel, in one piece or one frame in
    /// several. Those that nobody wants are only counted. Returns the stream if it
    /// has no room: its emitters must pause until [`Link::is_blocked`] says no.
    #[inline]
    pub fn emit(&mut self, channel: u64, pieces: &[Slice], frames: usize) -> Option<StreamId> {
        let local = self.locals.get(channel)?;
        let own = &mut self.own[local.own];
        if own.flow.is_wanted() || (self.discovery.is_keeping() && !own.has_spilt) {
            own.egress.emit(&local.channel, pieces, frames);
        } else {
            own.egress.skip(frames);
            self.counters.events_unwanted += frames as u64;
        }
        if own.egress.is_blocked() { self.blocked(local.own) } else { None }
    }

    /// An own stream has no room. What is kept for those who may come does not
    /// hold emitters up: it is given up.
    #[cold]
    fn blocked(&mut self, at: usize) -> Option<StreamId> {
        let own = &mut self.own[at];
        if self.discovery.is_over() && !own.flow.is_wanted() {
            own.spill();
        }
        own.egress.is_blocked().then_some(own.id)
    }

    /// Whether events wait for room in an own stream. It comes after some
    /// `handle_*` and sending.
    pub fn is_blocked(&self, stream: StreamId) -> bool {
        self.own_at.get(&stream).is_some_and(|&at| self.own[at].egress.is_blocked())
    }

    /// Whether peers may still be found that were there before this broker.
    pub fn is_discovering(&self) -> bool {
        !self.discovery.is_over()
    }

    /// The name of a peer.
    pub fn peer_name(&self, peer: PeerId) -> Option<&str> {
        Some(&self.peers.get(peer)?.identity.name)
    }

    /// How many brokers are peers.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// The channels whose listeners a hole in a stream concerns.
    pub fn channels_in(&self, stream: StreamId) -> impl Iterator<Item = u64> + '_ {
        self.locals.wanted_in(stream)
    }

    /// Holds a pressured stream of a peer, since a listener's queue is full; or
    /// lets it go on.
    pub fn set_held(&mut self, now_ns: u64, peer: PeerId, stream: StreamId, is_held: bool) {
        let Some(slot) = self.peers.slot_of(peer) else { return };
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let Some(incoming) = peer.incoming_mut(stream) else { return };
        incoming.is_held = is_held;
        // One that is stale stands still until its sender tells where it goes on.
        if !incoming.is_stale {
            incoming.ingress.set_held(is_held);
        }
        // The sender learns at once why nothing moves, or that it does again.
        peer.owes_status = true;
        self.owes_status = true;
        self.look_through(now_ns, slot, stream);
        self.pay_statuses(now_ns);
    }

    /// Brokers to be greeted by unicast, from now on; besides, so many whose
    /// addresses are not known yet.
    pub fn set_unicast_peers(&mut self, now_ns: u64, peers: Vec<SocketAddr>, unresolved: usize) {
        self.unanswered.set(now_ns, &peers);
        peers.iter().for_each(|peer| self.hello_rate.know(peer.ip()));
        self.config.peers = peers;
        self.config.unresolved = unresolved;
        self.hurry(now_ns);
    }

    /// Says hello to all, as after the start: the network is not what it was.
    pub fn hurry(&mut self, now_ns: u64) {
        self.announce.restart(now_ns);
        self.due(self.announce.next_ns());
    }

    /// All addresses that this machine has now.
    pub fn set_local_addresses(&mut self, addresses: &[IpAddr]) {
        if self.config.local_addresses != addresses {
            self.config.local_addresses = addresses.to_vec();
            self.neighbours_changed();
        }
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// When to call [`Link::handle_timeout`], at the latest; perhaps earlier than
    /// necessary. `None`: never.
    pub fn poll_timeout(&self) -> Option<u64> {
        (self.next_ns < u64::MAX).then_some(self.next_ns)
    }

    /// Something is to be done at this time.
    #[inline]
    fn due(&mut self, at_ns: u64) {
        self.next_ns = self.next_ns.min(at_ns);
    }

    /// The place of an own stream, which is made if there is none.
    fn own_stream(&mut self, now_ns: u64, id: StreamId) -> usize {
        if let Some(&at) = self.own_at.get(&id) {
            return at;
        }
        let stall_ns = self.config.stall_timeout.as_nanos() as u64;
        let mut own = OwnStream::new(id, &self.egress_config, stall_ns);
        // Peers were told that they are owed everything from its beginning on.
        for peer in self.peers.iter() {
            if let Some(position) = peer.joined(id) {
                own.flow.join(now_ns, peer.id, position.number, peer.path());
            }
        }
        if own.flow.is_wanted() {
            own.receivers_changed();
        }
        let at = self.own.len();
        self.own.push(own);
        self.own_at.insert(id, at);
        self.fit_stream(at);
        at
    }

    fn interest_changed(&mut self, now_ns: u64, change: Change) {
        let event = match change {
            Change::None => return,
            Change::Joins(group) => LinkEvent::JoinGroup(self.config.group_address(group).ip()),
            Change::Leaves(group) => LinkEvent::LeaveGroup(self.config.group_address(group).ip()),
        };
        if self.config.groups > 1 {
            self.events.push_back(event);
        }
        self.interest.changed();
        self.tell_all(now_ns);
    }
}
