//! The link's sockets on readiness events.
//!
//! ```text
//!   one pool buffer   [ train | datagram | train |  room for one more  ]
//! ```
//! With trains (GRO) each receive brings one, read behind the last one; without,
//! each brings a batch of datagrams, each with room for the largest.
//!
//! Invariant: a socket that is readable is read from in the next turn, unless
//! there is no buffer; so a `wait` that sleeps has nothing to read.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::{Interest, Registry, Token};

use super::PollIo;
use super::wake::{PoolWake, WakeState};
use crate::datagram::system::{self, Label, MAX_BATCH};
use crate::datagram::{DatagramSockets, UNICAST};
use crate::pool::{BufferIndex, BufferPool};
use crate::{Completion, DatagramInfo, DatagramIo, DatagramPlace, DatagramStats, Waker};
#[cfg(unix)]
use unix::Watch;
#[cfg(windows)]
use windows::Watch;

/// Tokens from here on, by place: above all connections, below the listener's.
const FIRST_TOKEN: usize = usize::MAX - 1024;

/// Number of buffers, and the size of each: 4 MiB, of which only what is received
/// at a time is touched.
const BUFFERS: usize = 16;
const BUFFER_BYTES: usize = 256 << 10;

/// Room for a train: the longest that the kernel joins.
const TRAIN_BYTES: usize = 64 << 10;

/// Room for a datagram: that of a jumbo frame of 9000 bytes.
const DATAGRAM_BYTES: usize = 9 << 10;

/// Largest amount that one turn reads, 1 MiB.
const TURN_BUDGET_BYTES: usize = 1 << 20;

/// Smallest amount that a receive counts for, so that a turn ends also if all of them
/// bring little or nothing.
const MIN_RECEIVE_COST_BYTES: usize = 1 << 10;

const _: () = assert!(TURN_BUDGET_BYTES < BUFFERS * BUFFER_BYTES);

/// The open sockets and the buffers for what they receive.
#[derive(Debug)]
pub(super) struct LinkSockets {
    sockets: DatagramSockets,
    /// Registrations with the event queue, by the place of the socket.
    watches: Vec<Watch>,
    /// Sockets, by place, of which an edge came and that have not been read empty since.
    readable: Vec<bool>,
    /// Whether the last send found no room, so that `DatagramsWritable` is owed.
    blocked: bool,
    pool: BufferPool,
    /// The buffer that receives are appended to.
    current: Option<BufferIndex>,
    /// Whether all buffers are pinned.
    starved: bool,
    /// Room for each datagram or train of a receive.
    stride: usize,
    /// Number of datagrams that one receive brings.
    batch: usize,
    labels: Box<[Label; MAX_BATCH]>,
}

impl LinkSockets {
    fn new(sockets: DatagramSockets, wake: &Arc<WakeState>) -> LinkSockets {
        let (stride, batch) =
            if sockets.info().gro { (TRAIN_BYTES, 1) } else { (DATAGRAM_BYTES, MAX_BATCH) };
        let pool = BufferPool::new(BUFFERS, BUFFER_BYTES);
        pool.set_waker(Waker::new(Arc::new(PoolWake(Arc::clone(wake)))));
        LinkSockets {
            sockets,
            watches: Vec::new(),
            readable: Vec::new(),
            blocked: false,
            pool,
            current: None,
            starved: false,
            stride,
            batch,
            labels: Box::new([Label::EMPTY; MAX_BATCH]),
        }
    }

    /// Watches the sockets that are new.
    fn register_new(&mut self, registry: &Registry) -> io::Result<()> {
        for place in self.readable.len()..self.sockets.count() {
            self.watches.push(Watch::new(self.sockets.socket(place), registry, token(place))?);
            self.readable.push(true);
        }
        Ok(())
    }

    /// Starts or stops to watch for room.
    fn watch_room(&mut self, registry: &Registry, watch: bool) -> io::Result<()> {
        let interest =
            if watch { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.watches[UNICAST].change(registry, token(UNICAST), interest)?;
        self.blocked = watch;
        Ok(())
    }

    fn current_buffer(&mut self) -> Option<BufferIndex> {
        if self.current.is_none() {
            self.pool.collect();
            self.current = self.pool.take();
        }
        self.current
    }

    /// Receives once; how many bytes it cost.
    fn receive(
        &mut self,
        place: usize,
        index: BufferIndex,
        completions: &mut Vec<Completion>,
    ) -> io::Result<usize> {
        let target = self.pool.unfilled(index);
        let room = target.len() / self.stride;
        let target = &mut target[..room.min(self.batch) * self.stride];
        let socket = self.sockets.socket(place);
        let (stride, labels) = (self.stride, &mut self.labels);
        let count =
            self.watches[place].receive(|| system::receive(socket, target, stride, labels))?;
        let mut cost = 0;
        for (at, label) in self.labels.iter().enumerate().take(count) {
            let length = label.length.min(self.stride);
            cost += length.max(MIN_RECEIVE_COST_BYTES);
            // The next one lies a stride further, the one after the last right behind.
            let chunk = if at + 1 == count {
                self.pool.chunk(index, length)
            } else {
                self.pool.chunk(index, self.stride).slice(..length)
            };
            let (name, control) = (label.name(), label.control());
            let arrived = self.sockets.arrived(place, chunk, name, control, label.truncated);
            completions.extend(arrived.map(Completion::Datagrams));
        }
        if self.pool.unfilled_bytes(index) < self.stride {
            self.pool.seal(index);
            self.current = None;
        }
        Ok(cost)
    }
}

fn token(place: usize) -> Token {
    Token(FIRST_TOKEN + place)
}

impl PollIo {
    /// Description of the link's open sockets.
    pub fn datagram_info(&self) -> Option<&DatagramInfo> {
        self.datagrams.as_ref().map(|link| link.sockets.info())
    }

    /// Takes an edge, if it is of one of the link's sockets.
    pub(super) fn take_datagram_edge(
        &mut self,
        token: Token,
        reads: bool,
        writes: bool,
        completions: &mut Vec<Completion>,
    ) -> bool {
        let Some(place) = token.0.checked_sub(FIRST_TOKEN) else { return false };
        let Some(link) = &mut self.datagrams else { return true };
        if reads && let Some(readable) = link.readable.get_mut(place) {
            *readable = true;
        }
        if writes && place == UNICAST && link.blocked {
            self.stats.syscalls += 1;
            // If it fails there are edges more than needed, no less.
            let _ = link.watch_room(self.poll.registry(), false);
            link.blocked = false;
            completions.push(Completion::DatagramsWritable);
        }
        true
    }

    /// Whether there is something to read, and room for it.
    pub(super) fn can_read_datagrams(&mut self) -> bool {
        let Some(link) = &mut self.datagrams else { return false };
        if link.starved {
            link.pool.want();
            link.pool.collect();
            link.starved = link.pool.free() < link.pool.buffers().div_ceil(4);
        }
        !link.starved && link.readable.contains(&true)
    }

    /// Reads what there is, as far as the turn's budget goes.
    pub(super) fn read_datagrams(&mut self, completions: &mut Vec<Completion>) {
        if !self.can_read_datagrams() {
            return;
        }
        let Some(link) = &mut self.datagrams else { return };
        let mut cost = 0;
        for place in 0..link.readable.len() {
            while link.readable[place] && cost < TURN_BUDGET_BYTES {
                let Some(index) = link.current_buffer() else {
                    link.starved = true;
                    self.stats.starvations += 1;
                    return;
                };
                self.stats.syscalls += 1;
                match link.receive(place, index, completions) {
                    Ok(bytes) => cost += bytes,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        link.readable[place] = false;
                    }
                    // An ICMP message about something sent earlier: no end.
                    Err(_) => cost += MIN_RECEIVE_COST_BYTES,
                }
            }
        }
    }

    fn link(&mut self) -> io::Result<&mut LinkSockets> {
        self.datagrams.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl DatagramIo for PollIo {
    type Sockets = DatagramSockets;

    fn open_datagrams(&mut self, sockets: DatagramSockets) -> io::Result<()> {
        if self.datagrams.is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a link is open already"));
        }
        super::system::sharpen_waits();
        let mut link = LinkSockets::new(sockets, &self.wake);
        self.stats.syscalls += link.sockets.count() as u64;
        link.register_new(self.poll.registry())?;
        self.datagrams = Some(link);
        Ok(())
    }

    fn close_datagrams(&mut self) {
        // Closing the descriptors also removes them from the event queue.
        if let Some(link) = self.datagrams.take() {
            self.datagram_stats = link.sockets.stats();
        }
    }

    fn send_datagrams(
        &mut self,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
        looped: bool,
    ) -> io::Result<usize> {
        self.stats.syscalls += 1;
        let link = self.datagrams.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let outcome = link.sockets.send(to, bytes, segment, looped);
        let blocks = outcome.as_ref().is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock);
        if blocks && !link.blocked {
            self.stats.syscalls += 1;
            // Changing the registration also looks at the socket as it is now, so
            // room that came meanwhile is reported although its edge has passed.
            link.watch_room(self.poll.registry(), true)?;
        }
        outcome
    }

    fn join_group(&mut self, group: IpAddr) -> io::Result<()> {
        let link = self.datagrams.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        link.sockets.join(group)?;
        link.register_new(self.poll.registry())
    }

    fn leave_group(&mut self, group: IpAddr) -> io::Result<()> {
        self.link()?.sockets.leave(group)
    }

    fn check_interface(&mut self) -> io::Result<bool> {
        let link = self.datagrams.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let outcome = link.sockets.check_interface();
        link.register_new(self.poll.registry())?;
        outcome
    }

    fn datagram_place(&self) -> Option<DatagramPlace<'_>> {
        self.datagrams.as_ref().map(|link| link.sockets.place())
    }

    fn max_datagram_bytes(&self) -> Option<usize> {
        self.datagrams.as_ref()?.sockets.max_datagram_bytes()
    }

    fn datagram_stats(&self) -> DatagramStats {
        match &self.datagrams {
            Some(link) => link.sockets.stats(),
            None => self.datagram_stats,
        }
    }
}
