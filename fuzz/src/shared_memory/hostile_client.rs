//! The broker's ends, beside a client that writes anything.

use std::sync::Arc;

use netcluster_shm::layout::{DESCRIPTORS, MAX_RING_BYTES, MIN_RING_BYTES};
use netcluster_shm::{
    Descriptor, DescriptorWriter, ReleaseFault, RingFault, RingReader, RingWriter,
};

use super::super::choices::Choices;
use super::{Memory, word};

/// Both ends of the broker, and what is known of each.
struct Broker {
    memory: Memory,
    ring: RingReader,
    descriptors: DescriptorWriter,
    /// The client's handle of the first bytes of the ring, of which none are ever put.
    bytes: RingWriter,
    /// The bytes of the smallest ring; those behind are all 0.
    content: Vec<u8>,
    head: u64,
    told_head: u64,
    tail: u64,
    size: usize,
    written: u64,
    told: u64,
    released: u64,
    /// Descriptors that were counted as released, all together.
    counted: u64,
}

pub fn run(choices: &mut Choices<'_>) {
    let memory = Memory::new();
    let region = &memory.region;
    let mut broker = Broker {
        ring: RingReader::new(Arc::clone(region)),
        descriptors: DescriptorWriter::new(Arc::clone(region)),
        bytes: RingWriter::in_memory(Arc::clone(region)),
        memory,
        content: vec![0; MIN_RING_BYTES],
        head: 0,
        told_head: 0,
        tail: 0,
        size: MIN_RING_BYTES,
        written: 0,
        told: 0,
        released: 0,
        counted: 0,
    };
    while !choices.is_empty() {
        match choices.below(15) {
            0 | 1 => broker.memory.scribble(choices),
            2 => broker.scribble_ring(choices),
            // What an honest client does, as far as a position says.
            3 => {
                let more = choices.below(20_000) as u64;
                broker.memory.set(word::RING_TAIL, broker.tail + more);
            }
            4 => {
                let more = choices.below((broker.told - broker.released) as usize + 1) as u64;
                broker.memory.set(word::DESCRIPTOR_HEAD, broker.released + more);
            }
            5 => broker.look(),
            6 | 7 => broker.take(choices),
            8 => broker.tell(),
            9 => broker.wait(),
            10 => broker.push(choices),
            11 => broker.look_for_releases(),
            12 => broker.want_release(choices),
            13 => {
                let size = MIN_RING_BYTES << choices.below(6);
                broker.memory.set(word::RING_BYTES, size as u64);
            }
            _ => {
                broker.ring.allow_largest();
                broker.memory.words[word::RING_LIMIT] = MAX_RING_BYTES as u64;
            }
        }
        broker.check();
    }
}

impl Broker {
    /// Rewrites bytes of the ring, also such as were put.
    fn scribble_ring(&mut self, choices: &mut Choices<'_>) {
        let at = choices.below(MIN_RING_BYTES);
        let bytes = choices.bytes(40);
        let end = (at + bytes.len()).min(MIN_RING_BYTES);
        let bytes = &bytes[..end - at];
        let ring = self.bytes.space(MIN_RING_BYTES).expect("none of it is ever put");
        ring[at..end].copy_from_slice(bytes);
        self.content[at..end].copy_from_slice(bytes);
    }

    /// Returns what a look must say of the words as they are.
    fn expected(&self) -> Result<(u64, usize), RingFault> {
        let size = match self.memory.words[word::RING_BYTES] as usize {
            0 => MIN_RING_BYTES,
            size => size,
        };
        let is_allowed = [MIN_RING_BYTES, MIN_RING_BYTES << 1, MIN_RING_BYTES << 2]
            .into_iter()
            .chain([MIN_RING_BYTES << 3, MAX_RING_BYTES])
            .any(|allowed| allowed == size && size <= self.ring.limit());
        if !is_allowed {
            return Err(RingFault::Size);
        }
        let tail = self.memory.words[word::RING_TAIL];
        if tail < self.tail || u128::from(tail) > u128::from(self.head) + size as u128 {
            return Err(RingFault::Tail);
        }
        Ok((tail, size))
    }

    fn look(&mut self) {
        let expected = self.expected();
        let there = expected.map(|(tail, _)| (tail - self.head) as usize);
        assert_eq!(self.ring.look(), there);
        self.seen(expected);
    }

    fn wait(&mut self) {
        let expected = self.expected();
        let is_empty = expected.map(|(tail, _)| tail == self.head);
        assert_eq!(self.ring.wait(), is_empty);
        self.memory.words[word::BROKER_WAITS] = u64::from(is_empty != Ok(false));
        self.seen(expected);
    }

    fn seen(&mut self, expected: Result<(u64, usize), RingFault>) {
        if let Ok((tail, size)) = expected {
            (self.tail, self.size) = (tail, size);
        }
    }

    /// Takes bytes, which are those that lie there, once.
    fn take(&mut self, choices: &mut Choices<'_>) {
        let count = match choices.below(4) {
            0 => self.ring.seen(),
            _ => choices.below(30_000).min(self.ring.seen()),
        };
        let mut taken = vec![0xee; count];
        self.ring.take(&mut taken);
        for (at, byte) in (self.head..).zip(&taken) {
            let place = at as usize & (self.size - 1);
            assert_eq!(*byte, self.content.get(place).copied().unwrap_or(0), "byte {at}");
        }
        self.head += count as u64;
    }

    fn tell(&mut self) {
        let head = self.head;
        let is_news = self.told_head != head;
        let is_rung = is_news && self.memory.is_rung(word::ROOM_AT, |at| head >= at);
        assert_eq!(self.ring.tell(), is_rung);
        if is_news {
            self.told_head = head;
            self.memory.words[word::RING_HEAD] = head;
        }
    }

    fn push(&mut self, choices: &mut Choices<'_>) {
        let most = match choices.below(4) {
            0 => DESCRIPTORS,
            _ => choices.below(16),
        };
        for _ in 0..most.min(self.descriptors.room()) {
            self.descriptors.push(Descriptor::Socket { bytes: 1 });
            self.written += 1;
        }
        if choices.chance(60) {
            return;
        }
        let is_news = self.told != self.written;
        let is_rung = is_news && self.memory.is_rung(word::CLIENT_WAITS, |_| true);
        assert_eq!(self.descriptors.tell(), is_rung);
        if is_news {
            self.told = self.written;
            self.memory.words[word::DESCRIPTOR_TAIL] = self.written;
        }
    }

    fn look_for_releases(&mut self) {
        let said = self.memory.words[word::DESCRIPTOR_HEAD];
        if said < self.released || said > self.told {
            assert_eq!(self.descriptors.look(), Err(ReleaseFault));
            return;
        }
        let more = self.descriptors.look().expect("it was given so many");
        assert_eq!(more as u64, said - self.released);
        self.released = said;
        self.counted += more as u64;
    }

    fn want_release(&mut self, choices: &mut Choices<'_>) {
        let at = self.written - choices.below(self.descriptors.unreleased() + 1) as u64;
        let waits = self.memory.words[word::DESCRIPTOR_HEAD] < at;
        assert_eq!(self.descriptors.want_release(at), waits);
        self.memory.words[word::RELEASE_AT] = if waits { at } else { 0 };
    }

    /// Checks what must hold whatever has happened.
    fn check(&self) {
        assert_eq!(self.ring.seen() as u64, self.tail - self.head);
        assert!(self.ring.seen() <= MAX_RING_BYTES);
        assert_eq!(self.ring.size(), self.size, "a fault changes nothing");
        assert!(self.size <= self.ring.limit());
        assert_eq!(self.descriptors.written(), self.written);
        assert_eq!(self.descriptors.room() + self.descriptors.unreleased(), DESCRIPTORS);
        assert_eq!(self.descriptors.unreleased() as u64, self.written - self.released);
        assert_eq!(self.counted, self.released, "counted once");
        assert!(self.released <= self.told && self.told <= self.written);
    }
}
