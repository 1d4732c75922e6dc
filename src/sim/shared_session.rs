//! A client's end of shared memory, store by store.
//!
//! ```text
//!   push   copy ─ … ─ tail ─ … ─ bell          each when chance says so,
//!   read   take ─ … ─ release ─ … ─ bell       or not before another call
//! ```
//! Between two calls the test may let time pass, or end either side.
//!
//! Invariant: whoever sleeps here goes on only when he was rung for, as a client does.

use std::sync::Arc;

use netcluster_platform::sim::{SimClient, SimMemory};
use netcluster_shm::{ArenaView, Bells, Descriptor, DescriptorReader, Region, RingWriter};

/// Numbers by chance, the same for the same seed.
#[derive(Clone, Debug)]
pub(super) struct Chances(u64);

impl Chances {
    pub(super) fn new(seed: u64) -> Chances {
        Chances(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn happens(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Pace of a client: the chance that it does its next store when it comes to it.
#[derive(Clone, Debug)]
pub struct Pace {
    chances: Chances,
    percent: u64,
    declined_percent: u64,
}

impl Pace {
    pub(super) fn new(chances: Chances, percent: u64, declined_percent: u64) -> Pace {
        Pace { chances, percent, declined_percent }
    }

    /// Returns whether the next store is done now.
    pub(super) fn is_time(&mut self) -> bool {
        self.chances.happens(self.percent)
    }

    /// Returns whether memory is accepted.
    pub(super) fn accepts(&mut self) -> bool {
        !self.chances.happens(self.declined_percent)
    }
}

/// A client's end.
#[derive(Debug)]
pub struct SharedEnd {
    /// Words of the connection, for a client that breaks their rules.
    pub region: Arc<Region>,
    bells: Arc<Bells>,
    ring: RingWriter,
    incoming: DescriptorReader,
    view: ArenaView,
    is_begun: bool,
    /// Bytes of the socket that are announced and not read.
    announced: usize,
    /// Bytes of the socket that were read with the begin.
    ahead: Vec<u8>,
    /// The broker's bell is to be rung.
    owes_bell: bool,
    /// Whether it has asked for room, and waits for the bell.
    awaits_room: bool,
    /// Whether it has asked for descriptors, and waits for the bell.
    awaits_descriptors: bool,
    pace: Pace,
}

impl SharedEnd {
    pub(super) fn new(SimMemory { arena, region, bells }: SimMemory, pace: Pace) -> SharedEnd {
        SharedEnd {
            ring: RingWriter::in_memory(Arc::clone(&region)),
            incoming: DescriptorReader::new(Arc::clone(&region)),
            view: ArenaView::in_memory(arena),
            region,
            bells,
            is_begun: false,
            announced: 0,
            ahead: Vec::new(),
            owes_bell: false,
            awaits_room: false,
            awaits_descriptors: false,
            pace,
        }
    }

    pub(super) fn pace(&mut self) -> &mut Pace {
        &mut self.pace
    }

    /// Notes that descriptors come from now on. Bytes of the socket that were read before
    /// are `ahead` of what announces them.
    pub(super) fn begin(&mut self, ahead: Vec<u8>) {
        self.is_begun = true;
        self.ahead = ahead;
    }

    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Does the next stores by which bytes get to the broker. Returns how many wait.
    pub(super) fn push(&mut self, output: &mut Vec<u8>) -> usize {
        self.ring_owed();
        if self.ring.is_ended() {
            return output.len() + self.ring.appended();
        }
        if self.awaits_room {
            if !self.bells.room.silence() {
                return output.len();
            }
            self.awaits_room = false;
        }
        self.ring.grow();
        if !output.is_empty() && self.pace.is_time() {
            let part = 1 + self.pace.chances.below(output.len() as u64) as usize;
            let bytes = if self.pace.chances.happens(50) { output.len() } else { part };
            let copied = self.ring.copy(&output[..bytes]);
            output.drain(..copied);
        }
        if self.ring.appended() > 0 && self.pace.is_time() && self.ring.put() {
            self.owes_bell = true;
        }
        self.ring_owed();
        if !output.is_empty() && self.ring.appended() == 0 && self.ring.room() == 0 {
            self.awaits_room = self.ring.want_room(1);
        }
        output.len() + self.ring.appended()
    }

    fn ring_owed(&mut self) {
        if self.owes_bell && self.pace.is_time() {
            self.owes_bell = false;
            self.bells.broker.ring();
        }
    }

    /// Takes back what the broker does not take.
    pub(super) fn take_back(&mut self) -> Vec<u8> {
        self.ring.take_back()
    }

    /// Reads what comes next, at most so many bytes but for the last range.
    pub(super) fn read(&mut self, socket: &SimClient, input: &mut Vec<u8>, limit: usize) {
        self.ring_owed();
        if self.region.is_revoked() {
            return;
        }
        self.release_some();
        if self.awaits_descriptors {
            if !self.bells.client.silence() {
                return;
            }
            self.awaits_descriptors = false;
        }
        let end = input.len().saturating_add(limit);
        while input.len() < end {
            if self.announced > 0 {
                let bytes = self.read_announced(socket, input, end - input.len());
                if bytes == 0 {
                    return;
                }
                continue;
            }
            match self.incoming.take() {
                Some(Descriptor::Arena { offset, bytes }) => {
                    let Some(range) = self.view.range(offset, bytes) else { return };
                    input.extend_from_slice(range);
                }
                Some(Descriptor::Socket { bytes }) => self.announced = bytes as usize,
                // It wrote to words that are the broker's, or the broker is broken: then what
                // should come here does not.
                Some(Descriptor::Unknown) => return,
                None => return self.sleep(),
            }
            self.release_some();
        }
    }

    fn read_announced(&mut self, socket: &SimClient, input: &mut Vec<u8>, limit: usize) -> usize {
        let most = self.announced.min(limit);
        let bytes = if self.ahead.is_empty() {
            socket.read_up_to(input, most)
        } else {
            let bytes = most.min(self.ahead.len());
            input.extend(self.ahead.drain(..bytes));
            bytes
        };
        self.announced -= bytes;
        bytes
    }

    fn release_some(&mut self) {
        if self.pace.is_time() && self.incoming.release() {
            self.owes_bell = true;
        }
        self.ring_owed();
    }

    /// Asks for the bell, with all released: there is nothing.
    fn sleep(&mut self) {
        self.owes_bell |= self.incoming.release();
        self.ring_owed();
        self.awaits_descriptors = self.pace.is_time() && self.incoming.wait();
    }
}
