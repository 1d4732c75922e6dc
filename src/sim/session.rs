//! A client of a simulated broker that reads and writes bytes, by its socket or by shared
//! memory.

use netcluster_platform::sim::SimClient;
use netcluster_wire::limits::HARD_MAX_PAYLOAD_BYTES;
use netcluster_wire::{Frame, FrameError, Hello, Kind, SharedStep, Source, frame};

use super::shared_session::{Pace, SharedEnd};

/// A frame that a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedFrame {
    /// Kind of the frame.
    pub kind: Kind,
    /// Source of the frame.
    pub source: Source,
    /// Sequence of the frame.
    pub sequence: u64,
    /// Name in the frame.
    pub name: Vec<u8>,
    /// Payload of the frame.
    pub payload: Vec<u8>,
}

/// A client of a [`SimBroker`](super::SimBroker) that reads and writes bytes.
pub struct SimSession {
    /// Client's end of the connection.
    pub end: SimClient,
    /// Source of the client's frames.
    pub source: Source,
    /// Sequence of the client's last event.
    pub sequence: u64,
    input: Vec<u8>,
    /// Bytes of the input that were given out already.
    taken: usize,
    output: Vec<u8>,
    way: Way,
}

/// Way by which the client's frames go.
#[derive(Debug)]
enum Way {
    /// The socket, for good.
    Socket,
    /// The socket; memory may be offered, and is used at this pace.
    Willing(Pace),
    /// The socket; memory is offered.
    Offered(Box<SharedEnd>),
    /// The socket for as many bytes as are given, which end with the accept; then memory.
    Accepting(Box<SharedEnd>, usize),
    /// Memory.
    Memory(Box<SharedEnd>),
}

impl SimSession {
    pub(super) fn new(end: SimClient, pace: Option<Pace>) -> SimSession {
        SimSession {
            end,
            source: Source::NONE,
            sequence: 0,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            way: pace.map_or(Way::Socket, Way::Willing),
        }
    }

    /// Appends the hello to what is to be written: with what the client can do.
    pub fn hello(&mut self, channel: &str, hello: &Hello) {
        let shared = matches!(self.way, Way::Willing(_));
        let hello = Hello { shared, ..hello.clone() };
        self.queue(Kind::Hello, 0, channel.as_bytes(), &hello.encode());
    }

    /// Returns the client's end of the memory that it was offered, if it was.
    pub fn memory(&mut self) -> Option<&mut SharedEnd> {
        match &mut self.way {
            Way::Offered(end) | Way::Accepting(end, _) | Way::Memory(end) => Some(end),
            Way::Socket | Way::Willing(_) => None,
        }
    }

    /// Returns whether what it writes goes by shared memory.
    pub fn shares(&self) -> bool {
        matches!(self.way, Way::Memory(_))
    }

    /// Takes what is not written: whole frames, but for what the broker has a part of.
    pub fn take_unwritten(&mut self) -> Vec<u8> {
        let mut unwritten = match &mut self.way {
            Way::Memory(end) => end.take_back(),
            _ => Vec::new(),
        };
        unwritten.append(&mut self.output);
        unwritten
    }

    /// Appends a frame to what is to be written.
    pub fn queue(&mut self, kind: Kind, sequence: u64, name: &[u8], payload: &[u8]) {
        frame::append(&mut self.output, kind, self.source, sequence, name, payload);
    }

    /// Appends any bytes to what is to be written.
    pub fn queue_bytes(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Appends an event; returns its sequence.
    pub fn emit(&mut self, name: &str, payload: &[u8]) -> u64 {
        self.sequence += 1;
        self.queue(Kind::Event, self.sequence, name.as_bytes(), payload);
        self.sequence
    }

    /// Writes as much as the socket takes, or goes a step on in shared memory; returns how
    /// many bytes still wait.
    pub fn push(&mut self) -> usize {
        self.answer_offer();
        match &mut self.way {
            Way::Memory(end) => return end.push(&mut self.output),
            Way::Accepting(_, left) => {
                let taken = self.end.write(&self.output[..*left]);
                self.output.drain(..taken);
                *left -= taken;
            }
            _ => {
                let taken = self.end.write(&self.output);
                self.output.drain(..taken);
            }
        }
        self.way = match std::mem::replace(&mut self.way, Way::Socket) {
            Way::Accepting(end, 0) => Way::Memory(end),
            way => way,
        };
        self.output.len()
    }

    /// Accepts or declines what is offered, sooner or later.
    fn answer_offer(&mut self) {
        let Way::Offered(end) = &mut self.way else { return };
        if !end.pace().is_time() {
            return;
        }
        let accepts = end.pace().accepts();
        let step = if accepts { SharedStep::Accept } else { SharedStep::Decline("no".into()) };
        self.queue(Kind::Shared, 0, b"", &step.encode());
        let left = self.output.len();
        self.way = match std::mem::replace(&mut self.way, Way::Socket) {
            Way::Offered(end) if accepts => Way::Accepting(end, left),
            _ => Way::Socket,
        };
    }

    /// Takes in a step of the broker's; what was read behind it is in `input`.
    fn step(&mut self, step: SharedStep) {
        self.way = match (std::mem::replace(&mut self.way, Way::Socket), step) {
            (Way::Willing(pace), SharedStep::Offer { .. }) => {
                let memory = self.end.take_memory().expect("memory comes with the offer");
                Way::Offered(Box::new(SharedEnd::new(memory, pace)))
            }
            (Way::Memory(mut end), SharedStep::Begin) => {
                end.begin(self.input.split_off(self.taken));
                Way::Memory(end)
            }
            (way, step) => panic!("{step:?} comes in {way:?}"),
        };
    }

    /// Reads at most so many bytes, by whichever way they come.
    fn read(&mut self, limit: usize) {
        match &mut self.way {
            Way::Memory(end) if end.is_begun() => end.read(&self.end, &mut self.input, limit),
            _ => drop(self.end.read_up_to(&mut self.input, limit)),
        }
    }

    /// Returns the next frame that has arrived whole.
    ///
    /// # Panics
    /// If the broker sent a broken one.
    pub fn next_frame(&mut self) -> Option<OwnedFrame> {
        self.try_next_frame().expect("the broker sends whole, good frames")
    }

    /// Returns the next frame that has arrived whole, for tests that expect a broken
    /// one.
    ///
    /// # Errors
    /// The broker sent a broken header.
    pub fn try_next_frame(&mut self) -> Result<Option<OwnedFrame>, FrameError> {
        self.read(usize::MAX);
        self.take_frame()
    }

    /// Reads at most `limit` bytes, then gives a frame if one is whole.
    ///
    /// # Panics
    /// If the broker sent a broken one.
    pub fn next_frame_slowly(&mut self, limit: usize) -> Option<OwnedFrame> {
        self.read(limit);
        self.take_frame().expect("the broker sends whole, good frames")
    }

    fn take_frame(&mut self) -> Result<Option<OwnedFrame>, FrameError> {
        let Some(frame) = Frame::read(&self.input[self.taken..], HARD_MAX_PAYLOAD_BYTES)? else {
            self.input.drain(..self.taken);
            self.taken = 0;
            return Ok(None);
        };
        let owned = OwnedFrame {
            kind: frame.kind(),
            source: frame.source(),
            sequence: frame.sequence(),
            name: frame.name().to_vec(),
            payload: frame.payload().to_vec(),
        };
        self.taken += frame.as_bytes().len();
        if owned.kind == Kind::Shared {
            self.step(SharedStep::decode(&owned.payload).expect("a step"));
            return self.take_frame();
        }
        Ok(Some(owned))
    }
}
