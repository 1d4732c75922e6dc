//! The link's sockets on a ring: one multishot receive for each, out of buffers
//! of their own.
//!
//! ```text
//!   a buffer  [ header | sender | control messages | datagram or train … ]
//!             └─────────── HEAD_BYTES ────────────┘└─ what is handed out ─┘
//! ```
//! A buffer holds the longest train that the kernel joins. Sending is a plain
//! nonblocking call: a train is a whole batch by itself, and its outcome is wanted
//! at once.
//!
//! Invariant: what the kernel may touch (the buffers, their ring, the template
//! of the message header) belongs to the ring's owner and not to the sockets, so
//! that these can be closed at any time; what still comes for them is told apart
//! by its epoch, and only gives its buffer back.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use bytes::Bytes;
use io_uring::types::RecvMsgOut;
use io_uring::{opcode, types};

use super::UringIo;
use super::provided::{DATAGRAM_GROUP, ProvidedBuffers};
use super::ring::Event;
use super::token::{Kind, Token};
use crate::datagram::{CONTROL_BYTES, NAME_BYTES, UNICAST};
use crate::pool::PAGE_BYTES;
use crate::{
    Completion, DatagramInfo, DatagramIo, DatagramPlace, DatagramSockets, DatagramStats,
    DatagramTrain, Waker,
};

/// Number of buffers: as many datagrams may arrive between two waits.
const BUFFERS: usize = 256;

/// Smallest number of buffers lent to the kernel while trains come: it uses all that it
/// has in
/// turn, so that this keeps what is written to, 1 MiB, within the cache.
const MIN_LENT: usize = 16;

/// Number of buffers lent at first.
const FIRST_LENT: usize = 32;

/// Receives that bring more than this on average, 16 KiB, are trains: fewer
/// buffers are lent then.
const TRAIN_BYTES: usize = 16 << 10;

/// Receives that bring less, 4 KiB, are not; more are lent if they run out.
const SINGLE_BYTES: usize = 4 << 10;

/// `struct io_uring_recvmsg_out`.
const OUT_BYTES: usize = 16;

/// Bytes that lie before the datagram.
const HEAD_BYTES: usize = OUT_BYTES + NAME_BYTES + CONTROL_BYTES;

/// The size of a buffer: the longest train, rounded up to pages.
const BUFFER_BYTES: usize = (HEAD_BYTES + u16::MAX as usize).next_multiple_of(PAGE_BYTES);

// Control messages are read where they lie.
const _: () = assert!((OUT_BYTES + NAME_BYTES).is_multiple_of(8));

/// Number of receives after which the kernel turns to other operations, until it is
/// entered
/// again (`MULTISHOT_MAX_RETRY`).
const ROUND: usize = 32;

/// The bits of a token's slot that are the socket's place.
const PLACE_BITS: u32 = 8;

/// State of the ring that concerns datagrams.
#[derive(Default)]
pub(super) struct DatagramState {
    link: Option<LinkSockets>,
    /// Made with the first link, and kept.
    buffers: Option<ProvidedBuffers>,
    /// Template by which the kernel lays a buffer out. Boxed: it is given the address.
    template: Option<Box<libc::msghdr>>,
    lent: Lent,
    /// Number of links that there were, for telling late completions apart.
    epoch: u32,
    /// Counters of a link that is closed.
    last_stats: DatagramStats,
}

/// Number of buffers that are lent, by what they bring.
struct Lent {
    budget: usize,
    /// Receives since the last wait.
    receives: usize,
    /// Receives up to the last look.
    looked: usize,
    bytes: usize,
}

impl Default for Lent {
    fn default() -> Lent {
        Lent { budget: FIRST_LENT, receives: 0, looked: 0, bytes: 0 }
    }
}

impl Lent {
    fn mean_bytes(&self) -> usize {
        self.bytes / self.receives.max(1)
    }

    /// The buffers ran out.
    fn ran_out(&mut self) {
        if self.mean_bytes() < SINGLE_BYTES {
            self.budget = (self.budget * 2).min(BUFFERS);
        }
    }

    /// A wait begins; returns how many to lend.
    fn next(&mut self) -> usize {
        if self.mean_bytes() > TRAIN_BYTES {
            self.budget = (self.budget / 2).max(MIN_LENT);
        }
        (self.receives, self.looked, self.bytes) = (0, 0, 0);
        self.budget
    }

    /// Whether so many came since the last look that the kernel may have left some.
    fn is_full_round(&mut self) -> bool {
        let round = self.receives - std::mem::replace(&mut self.looked, self.receives);
        round >= ROUND && self.receives < BUFFERS
    }
}

/// The open sockets.
struct LinkSockets {
    sockets: DatagramSockets,
    receiving: Vec<Receiving>,
    /// A poll for room is armed.
    writable_armed: bool,
    /// The buffers are pinned by chunks, all but a few.
    starving: bool,
}

/// State of a socket's receiving.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiving {
    /// The socket is new.
    Idle,
    /// The kernel has a multishot receive.
    Armed,
    /// The socket would receive, but there was no buffer.
    Starved,
}

impl DatagramState {
    fn token(&self, kind: Kind, place: usize) -> u64 {
        Token::new(kind, self.epoch << PLACE_BITS | place as u32).bits()
    }

    /// The place that a completion is for, if its link is the open one.
    fn place(&self, slot: u32) -> Option<usize> {
        let current = self.epoch & (u32::MAX >> PLACE_BITS);
        (slot >> PLACE_BITS == current).then_some((slot & ((1 << PLACE_BITS) - 1)) as usize)
    }
}

impl UringIo {
    /// Description of the link's open sockets.
    pub fn datagram_info(&self) -> Option<&DatagramInfo> {
        self.datagrams.link.as_ref().map(|link| link.sockets.info())
    }

    /// Arms what is not armed, as far as there are buffers. Nothing that it leaves
    /// could go on without another buffer, so the caller may block.
    pub(super) fn feed_datagrams(&mut self) {
        let state = &mut self.datagrams;
        let (Some(link), Some(buffers)) = (&mut state.link, &mut state.buffers) else { return };
        if state.lent.receives > 0 {
            buffers.set_budget(state.lent.next() * BUFFER_BYTES);
        }
        buffers.lend();
        if link.receiving.iter().all(|it| *it == Receiving::Armed) {
            return;
        }
        if !buffers.is_ample() {
            buffers.pool().want();
            buffers.lend();
            if !buffers.is_ample() {
                // Not before: mostly the shard has dropped them by the next wait.
                self.stats.starvations += u64::from(!link.starving);
                link.starving = true;
                return;
            }
        }
        link.starving = false;
        for place in 0..link.receiving.len() {
            self.arm_datagrams(place);
        }
    }

    /// Whether a socket of the link probably holds more than was received: worth
    /// another look before the shard turns to all that came.
    pub(super) fn more_datagrams(&mut self) -> bool {
        self.datagrams.lent.is_full_round()
    }

    fn arm_datagrams(&mut self, place: usize) {
        let state = &mut self.datagrams;
        let token = state.token(Kind::Datagrams, place);
        let (Some(link), Some(template)) = (&mut state.link, &state.template) else { return };
        if link.receiving[place] == Receiving::Armed {
            return;
        }
        link.receiving[place] = Receiving::Armed;
        let fd = types::Fd(link.sockets.socket(place).as_raw_fd());
        let receive = opcode::RecvMsgMulti::new(fd, &**template, DATAGRAM_GROUP).build();
        // SAFETY: the template is boxed and the buffers are a pool's, and the ring is
        // dropped before both.
        unsafe { self.ring.push(&receive.user_data(token)) };
    }

    pub(super) fn on_datagrams(
        &mut self,
        slot: u32,
        event: Event,
        completions: &mut Vec<Completion>,
    ) {
        let state = &mut self.datagrams;
        // Always, to keep the count of buffers, even when nobody wants the bytes.
        let chunk = state.buffers.as_mut().and_then(|buffers| buffers.received(&event));
        let Some(place) = state.place(slot) else { return };
        let (Some(link), Some(template)) = (&mut state.link, &state.template) else { return };
        if let Some(chunk) = chunk {
            state.lent.receives += 1;
            state.lent.bytes += chunk.len();
            let arrived = unpack(&mut link.sockets, place, &chunk, template);
            completions.extend(arrived.map(Completion::Datagrams));
        }
        if event.more() {
            return;
        }
        if event.result == -libc::ENOBUFS {
            link.receiving[place] = Receiving::Starved;
            state.lent.ran_out();
            return;
        }
        // The kernel ended it for its own reasons; or it told of an ICMP message
        // about something sent earlier, which is no end either.
        link.receiving[place] = Receiving::Idle;
        self.arm_datagrams(place);
    }

    fn arm_datagrams_writable(&mut self) {
        let token = self.datagrams.token(Kind::DatagramsWritable, UNICAST);
        let Some(link) = &mut self.datagrams.link else { return };
        if link.writable_armed {
            return;
        }
        link.writable_armed = true;
        let fd = types::Fd(link.sockets.socket(UNICAST).as_raw_fd());
        let poll = opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
        // SAFETY: it points to nothing.
        unsafe { self.ring.push(&poll.user_data(token)) };
    }

    pub(super) fn on_datagrams_writable(&mut self, slot: u32, completions: &mut Vec<Completion>) {
        if self.datagrams.place(slot).is_none() {
            return;
        }
        let Some(link) = &mut self.datagrams.link else { return };
        link.writable_armed = false;
        completions.push(Completion::DatagramsWritable);
    }

    /// Arms the sockets that are new.
    fn receive_on_new(&mut self) {
        let Some(link) = &mut self.datagrams.link else { return };
        let first = link.receiving.len();
        link.receiving.resize(link.sockets.count(), Receiving::Idle);
        for place in first..link.receiving.len() {
            self.arm_datagrams(place);
        }
    }

    fn link(&mut self) -> io::Result<&mut DatagramSockets> {
        let link = self.datagrams.link.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok(&mut link.sockets)
    }
}

/// Takes what a receive brought, without what lies before it.
fn unpack(
    sockets: &mut DatagramSockets,
    place: usize,
    chunk: &Bytes,
    template: &libc::msghdr,
) -> Option<DatagramTrain> {
    let out = RecvMsgOut::parse(chunk, template).ok()?;
    let end = HEAD_BYTES + out.payload_data().len();
    let payload = chunk.slice(HEAD_BYTES..end);
    sockets.arrived(place, payload, out.name_data(), out.control_data(), out.is_payload_truncated())
}

impl DatagramIo for UringIo {
    type Sockets = DatagramSockets;

    fn open_datagrams(&mut self, sockets: DatagramSockets) -> io::Result<()> {
        if self.datagrams.link.is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a link is open already"));
        }
        if self.datagrams.buffers.is_none() {
            let mut buffers =
                ProvidedBuffers::empty(&self.ring, DATAGRAM_GROUP, BUFFERS, BUFFER_BYTES)?;
            buffers.set_budget(FIRST_LENT * BUFFER_BYTES);
            buffers.lend();
            buffers.pool().set_waker(Waker::new(self.wake.clone()));
            // SAFETY: all zeros is a valid, empty header.
            let mut template: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
            template.msg_namelen = NAME_BYTES as _;
            template.msg_controllen = CONTROL_BYTES as _;
            self.datagrams.template = Some(template);
            self.datagrams.buffers = Some(buffers);
        }
        self.datagrams.epoch = self.datagrams.epoch.wrapping_add(1);
        self.datagrams.link = Some(LinkSockets {
            sockets,
            receiving: Vec::new(),
            writable_armed: false,
            starving: false,
        });
        self.receive_on_new();
        Ok(())
    }

    fn close_datagrams(&mut self) {
        let Some(link) = self.datagrams.link.take() else { return };
        // The operations hold the sockets: without this the ports would stay taken
        // until somebody waits again.
        for place in 0..link.sockets.count() {
            self.ring.cancel_all_on(link.sockets.socket(place).as_raw_fd());
        }
        self.datagrams.last_stats = link.sockets.stats();
    }

    fn send_datagrams(
        &mut self,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
        looped: bool,
    ) -> io::Result<usize> {
        self.stats.syscalls += 1;
        let outcome = self.link()?.send(to, bytes, segment, looped);
        if outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.arm_datagrams_writable();
        }
        outcome
    }

    fn join_group(&mut self, group: IpAddr) -> io::Result<()> {
        let outcome = self.link()?.join(group);
        self.receive_on_new();
        outcome
    }

    fn leave_group(&mut self, group: IpAddr) -> io::Result<()> {
        self.link()?.leave(group)
    }

    fn check_interface(&mut self) -> io::Result<bool> {
        let outcome = self.link()?.check_interface();
        self.receive_on_new();
        outcome
    }

    fn datagram_place(&self) -> Option<DatagramPlace<'_>> {
        self.datagrams.link.as_ref().map(|link| link.sockets.place())
    }

    fn max_datagram_bytes(&self) -> Option<usize> {
        self.datagrams.link.as_ref()?.sockets.max_datagram_bytes()
    }

    fn datagram_stats(&self) -> DatagramStats {
        match &self.datagrams.link {
            Some(link) => link.sockets.stats(),
            None => self.datagrams.last_stats,
        }
    }
}
