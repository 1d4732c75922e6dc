//! The shard that drives the link: datagrams in and out, and what they mean for
//! the channels here.
//!
//! ```text
//!   fan_out ─▶ queue_to_link ─▶ Link::emit ─▶ poll_transmit ─▶ Io::send_datagrams
//!   Io ─▶ Link::handle_datagrams ─▶ poll_event ─▶ queue_here, other shards
//! ```
//! Events from the link are queued as if a client had emitted them, with a stream
//! for an emitter; a stream never feeds the link.
//!
//! Decisions, in `docs/decisions`:
//! `014-link-on-shard-0.md`, `015-link-in-every-route.md`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use netcluster_platform::datagram::is_too_long;
use netcluster_platform::{DatagramTrain, Instant, Io, Slice, Snapshots};

use crate::connection::Blocker;
use crate::resolver::{Addresses, Resolved};
use crate::routes::Route;
use crate::status::LinkIo;
use crate::target::{Emitter, LINK_HOME, Queue, ShardId, Target};
use crate::timers::Timer;
use netcluster_link::channel::ChannelHash;
use netcluster_link::config::{Entropy, LinkConfig};
use netcluster_link::event::{LinkEvent, Lost};
use netcluster_link::peer_id::{PeerId, Session};
use netcluster_link::stream::StreamId;
use netcluster_link::succession::Bequest;
use netcluster_link::{Link, LinkStatus, To};

use super::Shard;
use super::late_link::LinkSockets;

/// Batches sent in one turn, at most 64 KiB each: what came in meanwhile is looked
/// at between two turns.
const BATCHES_PER_TURN: usize = 32;

/// Time between two looks at the interface and the addresses of peers.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Time after which the interface is looked at again if it refuses a datagram as too
/// long: 100 ms.
const LOOK_AGAIN_NS: u64 = 100_000_000;

/// Shortest time between two log lines of failed sends; all are counted.
const LOG_EVERY_NS: u64 = 10_000_000_000;

/// Parts that a link starts with.
pub struct LinkStart<S> {
    /// Settings of the link.
    pub config: LinkConfig,
    /// Names of the brokers that should be peers.
    pub expected_peers: Vec<String>,
    /// Session id of this run, from the system.
    pub session: Session,
    /// Source of nonces.
    pub entropy: Box<dyn Entropy + Send>,
    /// Sockets of the link.
    pub sockets: LinkSockets<S>,
    /// Description of the sockets, for `status`.
    pub about: LinkIo,
    /// Addresses of unicast peers, as they are resolved: always all of them.
    pub addresses: Option<Addresses>,
    /// Watch on whether this machine is another one than before.
    pub snapshots: Option<Snapshots>,
    /// Session that the broker before left, to go on with.
    pub bequest: Option<Box<Bequest>>,
}

/// State of the link on the shard that drives it.
pub(super) struct LinkDriver {
    pub(super) link: Link,
    /// Channels with clients on any shard, and how many.
    pub(super) used: HashMap<ChannelHash, usize, FixedState>,
    /// Emitters that wait for room in a stream of this broker.
    waiters: BTreeMap<StreamId, Vec<Emitter>>,
    /// Streams of peers that wait for queues here.
    pub(super) held: BTreeMap<(PeerId, StreamId), SmallVec<[Blocker; 1]>>,
    /// Clients that wait until every peer knows of their subscriptions.
    pub(super) waiting: Vec<Waiting>,
    /// The timer for these clients is set.
    pub(super) is_look_set: bool,
    /// Events that other shards were not sent, as they were behind.
    pub(super) missed: Vec<(ShardId, Lost)>,
    /// Events, and gaps among them, that wait for routes; their streams are held.
    pub(super) postponed: VecDeque<LinkEvent>,
    pub(super) addresses: Option<Addresses>,
    snapshots: Option<Snapshots>,
    pub(super) about: LinkIo,
    /// The socket has no room.
    blocked: bool,
    /// More is to be sent than one turn does.
    more: bool,
    logged_at: Option<Instant>,
    /// Time at which the interface was looked at last.
    checked_at: Instant,
    /// Reason why the interface is not usable, once it was logged.
    unusable: Option<String>,
}

/// A client that waits for the cluster: see `cluster`.
pub(super) struct Waiting {
    pub(super) target: Target,
    pub(super) request: u64,
    /// Version of this broker's interest when the client asked.
    pub(super) version: u64,
    pub(super) deadline: Instant,
}

impl<I: Io> Shard<I> {
    /// Starts the link on this shard.
    pub(super) fn start_link(&mut self, start: LinkStart<I::Sockets>) -> std::io::Result<()> {
        assert_eq!(self.id, LINK_HOME);
        match start.sockets {
            LinkSockets::Open(sockets) => self.io.open_datagrams(sockets)?,
            LinkSockets::Later(sockets) => self.late_sockets = Some(sockets),
        }
        if let Some(addresses) = &start.addresses {
            addresses.wake(self.io.waker());
        }
        if let Some(snapshots) = &start.snapshots {
            snapshots.wake(self.io.waker());
        }
        let mut link = match start.bequest {
            Some(bequest) => Link::inherit(start.config, *bequest, start.entropy, self.now),
            None => Link::new(start.config, start.session, start.entropy, self.now),
        };
        link.set_expected_peers(self.now, &start.expected_peers);
        self.link = Some(Box::new(LinkDriver {
            link,
            used: HashMap::with_hasher(FixedState::with_seed(self.shared.config.seed)),
            waiters: BTreeMap::new(),
            held: BTreeMap::new(),
            waiting: Vec::new(),
            is_look_set: false,
            missed: Vec::new(),
            postponed: VecDeque::new(),
            addresses: start.addresses,
            snapshots: start.snapshots,
            about: start.about,
            blocked: false,
            more: false,
            logged_at: None,
            checked_at: self.now,
            unusable: None,
        }));
        self.hold_inherited();
        if self.late_sockets.is_none() {
            self.begin_link();
        }
        Ok(())
    }

    /// Looks whether this machine is another one, and at the addresses that the names
    /// of peers have resolved to: the threads that notice such changes wake this shard.
    pub(super) fn look_outside(&mut self) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        if driver.snapshots.as_ref().is_some_and(Snapshots::has_changed) {
            tracing::warn!(
                "this machine was restored from a snapshot or cloned: the link begins a new session"
            );
            driver.link.renew(self.now);
        }
        if let Some(latest) = driver.addresses.as_ref().and_then(Addresses::latest) {
            let Resolved { addresses, unresolved } = latest;
            driver.link.set_unicast_peers(self.now, addresses, unresolved);
        }
    }

    /// Hands datagrams that arrived to the link.
    pub(super) fn datagrams(&mut self, datagrams: &DatagramTrain) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        let received = netcluster_link::Datagrams {
            bytes: &datagrams.chunk,
            segment: datagrams.segment,
            from: datagrams.from,
            multicast: datagrams.multicast,
        };
        driver.link.handle_datagrams(self.now, &received);
    }

    pub(super) fn datagrams_writable(&mut self) {
        if let Some(driver) = self.link.as_deref_mut() {
            driver.blocked = false;
        }
    }

    /// Returns the number of other brokers that the link knows.
    #[cfg(feature = "sim")]
    pub fn peers(&self) -> usize {
        self.link.as_deref().map_or(0, |driver| driver.link.peer_count())
    }

    /// Returns when the link has something to do again.
    pub fn link_deadline(&self) -> Option<Instant> {
        let driver = self.link.as_deref().filter(|_| self.late_sockets.is_none())?;
        if driver.more && !driver.blocked || !driver.postponed.is_empty() {
            Some(Instant::START)
        } else {
            driver.link.poll_timeout()
        }
    }

    /// Does the link's part of a turn: timers that are due, events that came, datagrams
    /// that go out.
    pub(super) fn turn_link(&mut self) {
        if self.late_sockets.is_some() {
            return;
        }
        let Some(driver) = self.link.as_deref_mut() else { return };
        if driver.link.poll_timeout().is_some_and(|due_at| due_at <= self.now) {
            driver.link.handle_timeout(self.now);
        }
        if !driver.postponed.is_empty() {
            // Clients of this turn leave the link its own share.
            self.router.effort.renew();
            self.resume_from_link();
        }
        self.take_link_events();
        self.tell_all_missed();
        self.transmit();
        self.resume_link_waiters();
    }

    fn take_link_events(&mut self) {
        while let Some(event) = self.link.as_deref_mut().and_then(|it| it.link.poll_event()) {
            match event {
                LinkEvent::Run(_) | LinkEvent::Lost(_) => self.take_from_link(event),
                LinkEvent::Joined(_) => self.look_at_waiting(),
                LinkEvent::JoinGroup(group) => {
                    if let Err(error) = self.io.join_group(group) {
                        tracing::error!(%group, %error, "cannot join a group: nothing is heard on it");
                    }
                }
                LinkEvent::LeaveGroup(group) => {
                    if let Err(error) = self.io.leave_group(group) {
                        tracing::warn!(%group, %error, "cannot leave a group");
                    }
                }
                LinkEvent::PeerUp { node, name, address, .. } => {
                    tracing::info!(node = format_args!("{node:08x}"), name, %address, "peer");
                    self.look_at_waiting();
                }
                LinkEvent::PeerDown { node, name, why, .. } => {
                    tracing::info!(node = format_args!("{node:08x}"), name, "peer gone: {why}");
                    self.look_at_waiting();
                }
                LinkEvent::Demoted { peer, reason, .. } => {
                    let name = self.peer_name(peer);
                    tracing::warn!(name, "a peer is no longer waited for: {reason}");
                }
                LinkEvent::Restored { peer, .. } => {
                    let name = self.peer_name(peer);
                    tracing::info!(name, "a peer keeps up and is waited for again");
                }
                LinkEvent::SummaryWanted => self.begin_summary(),
                LinkEvent::Warn(kind, text) => tracing::warn!(%kind, "{text}"),
                LinkEvent::Note(text) => tracing::info!("{text}"),
            }
        }
    }

    fn peer_name(&self, peer: PeerId) -> String {
        let name = self.link.as_deref().and_then(|driver| driver.link.peer_name(peer));
        name.unwrap_or("one that is gone").to_owned()
    }

    /// Hands a run that a client emitted to the link, if this shard drives it.
    #[inline]
    pub(super) fn queue_to_link(
        &mut self,
        route: &Route,
        emitter: Target,
        pieces: &[Slice],
        frames: usize,
    ) {
        let Some(channel) = route.link() else { return };
        let Some(driver) = self.link.as_deref_mut() else { return };
        let Some(stream) = driver.link.emit(channel, pieces, frames) else { return };
        // The stream waits for room: so do those who feed it.
        let waiters = driver.waiters.entry(stream).or_default();
        let emitter = Emitter::Client(emitter);
        if waiters.contains(&emitter) {
            return;
        }
        waiters.push(emitter);
        self.pause(emitter, Queue::Link(stream));
    }

    pub(super) fn transmit(&mut self) {
        if self.late_sockets.is_some() {
            return;
        }
        let Some(to) = self.transmit_batches() else { return };
        let Some(driver) = self.link.as_deref_mut() else { return };
        // The interface is another one or not what it was, or the way to one peer is.
        driver.link.doubt_way(self.now, to);
        driver.more = true;
        if self.now >= driver.checked_at.saturating_add(LOOK_AGAIN_NS) {
            self.look_at_interface();
        }
    }

    /// Sends datagrams that are due, as far as a turn goes. Stops at one that is too
    /// long for the system and returns its destination.
    fn transmit_batches(&mut self) -> Option<To> {
        let driver = self.link.as_deref_mut()?;
        driver.more = false;
        if driver.blocked {
            return None;
        }
        for _ in 0..BATCHES_PER_TURN {
            let transmit = driver.link.poll_transmit(self.now)?;
            let to = transmit.to;
            let mut at = 0;
            while at < transmit.bytes.len() {
                let rest = &transmit.bytes[at..];
                match self.io.send_datagrams(
                    transmit.to.address(),
                    rest,
                    transmit.segment,
                    transmit.looped,
                ) {
                    Ok(bytes) => at += bytes,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        driver.blocked = true;
                        driver.link.blocked_transmit(at);
                        return None;
                    }
                    Err(error) => {
                        self.totals.link_send_errors += 1;
                        if driver.logged_at.is_none_or(|at| self.now >= at + LOG_EVERY_NS) {
                            driver.logged_at = Some(self.now);
                            tracing::warn!(to = %transmit.to.address(), %error, "cannot send a datagram");
                        }
                        driver.link.refused_transmit(at);
                        if is_too_long(&error) {
                            return Some(to);
                        }
                        break;
                    }
                }
            }
        }
        driver.more = true;
        None
    }

    fn resume_link_waiters(&mut self) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        if driver.waiters.is_empty() {
            return;
        }
        let free: Vec<StreamId> =
            driver.waiters.keys().copied().filter(|&it| !driver.link.is_blocked(it)).collect();
        for stream in free {
            let Some(driver) = self.link.as_deref_mut() else { return };
            let waiters = driver.waiters.remove(&stream).unwrap_or_default();
            self.resume(waiters, Queue::Link(stream));
        }
    }

    /// Sends what is left and says goodbye to the other brokers.
    pub(super) fn leave_link(&mut self) {
        // A quarter of the time is left for the goodbye itself.
        self.leave_link_within(self.shared.config.drain_timeout / 4 * 3);
    }

    /// Says goodbye to the other brokers within this time, whatever was said before.
    pub(super) fn leave_link_within(&mut self, time: Duration) {
        if let Some(driver) = self.link.as_deref_mut() {
            driver.link.leave(self.now, time);
        }
    }

    /// Returns whether the link has said goodbye.
    pub(super) fn link_has_left(&self) -> bool {
        // Who has said nothing has no goodbye to say.
        let driver = self.link.as_deref().filter(|_| self.late_sockets.is_none());
        driver.is_none_or(|driver| driver.link.has_left())
    }

    /// Returns the part of `status` about the link.
    pub(super) fn report_link(&self) -> Option<(LinkStatus, LinkIo)> {
        let driver = self.link.as_deref()?;
        Some((
            driver.link.status(self.now),
            driver.about.with(self.io.datagram_stats(), self.io.datagram_place()),
        ))
    }

    /// Looks at the interface.
    pub(super) fn check_link(&mut self) {
        self.look_at_interface();
        self.look_outside();
        self.timers.set(self.deadline(CHECK_EVERY), Timer::Interface);
    }

    fn look_at_interface(&mut self) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        driver.checked_at = self.now;
        match self.io.check_interface() {
            Ok(has_changed) => {
                if driver.unusable.take().is_some() {
                    tracing::info!("the link's interface is usable again");
                }
                if has_changed {
                    let interface = self.io.datagram_place().map(|place| place.interface);
                    tracing::info!(
                        interface,
                        "the link's interface has changed: groups joined anew"
                    );
                    driver.link.hurry(self.now);
                }
            }
            Err(error) => {
                // Logged once, however long it lasts.
                let error = error.to_string();
                if driver.unusable.as_ref() != Some(&error) {
                    tracing::warn!(%error, "the link's interface is not usable");
                    driver.unusable = Some(error);
                }
            }
        }
        if let Some(place) = self.io.datagram_place() {
            driver.link.set_local_addresses(place.local_addresses);
        }
        driver.link.set_interface_limit(self.now, self.io.max_datagram_bytes());
    }
}
