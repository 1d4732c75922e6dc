//! The client's ends, beside a broker that writes anything. It can harm its clients by what
//! it lets them hear; what it writes must not make them read or write elsewhere.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use netcluster_shm::layout::{DESCRIPTORS, MAX_RING_BYTES, MIN_RING_BYTES};
use netcluster_shm::{
    Arena, ArenaView, Descriptor, DescriptorReader, DescriptorWriter, RingWriter,
};

use super::super::choices::Choices;
use super::{Memory, word};

const ARENA_BYTES: usize = 64 << 10;

/// An arena that holds nothing, as clients have it mapped, where there are such.
static VIEW: LazyLock<Option<ArenaView>> = LazyLock::new(|| {
    let arena = Arena::new(ARENA_BYTES).ok()?;
    ArenaView::new(arena.file()?.try_clone_to_owned().ok()?, ARENA_BYTES).ok()
});

/// Both ends of the client, and what is known of each.
struct Client {
    memory: Memory,
    ring: RingWriter,
    descriptors: DescriptorReader,
    /// Bytes appended and not put.
    appended: VecDeque<u8>,
    head: u64,
    tail: u64,
    size: usize,
    /// Descriptors as they lie there.
    slots: Vec<Descriptor>,
    taken: u64,
    released: u64,
    descriptor_tail: u64,
}

pub fn run(choices: &mut Choices<'_>) {
    let memory = Memory::new();
    let mut client = Client {
        ring: RingWriter::in_memory(Arc::clone(&memory.region)),
        descriptors: DescriptorReader::new(Arc::clone(&memory.region)),
        memory,
        appended: VecDeque::new(),
        head: 0,
        tail: 0,
        size: MIN_RING_BYTES,
        slots: vec![Descriptor::Unknown; DESCRIPTORS],
        taken: 0,
        released: 0,
        descriptor_tail: 0,
    };
    while !choices.is_empty() {
        match choices.below(14) {
            0 | 1 => client.memory.scribble(choices),
            2 => client.scribble_descriptors(choices),
            // What an honest broker does, as far as positions say.
            3 => {
                let more = choices.below((client.tail - client.head) as usize % 65_536 + 1);
                client.memory.set(word::RING_HEAD, client.head + more as u64);
            }
            4 => {
                let limit = choices.of(&[MIN_RING_BYTES, MAX_RING_BYTES, 2 * MIN_RING_BYTES]);
                client.memory.set(word::RING_LIMIT, limit as u64);
            }
            5 | 6 => client.copy(choices),
            7 => client.put(),
            8 => client.take_back(),
            9 => client.want_room(choices),
            10 => client.grow(),
            11 | 12 => client.take(choices),
            _ => client.release(),
        }
        client.check();
    }
}

impl Client {
    fn look(&mut self) {
        self.head = self.memory.words[word::RING_HEAD].clamp(self.head, self.tail);
    }

    /// Bytes of room, as the client must see it.
    fn room(&self) -> usize {
        self.size - (self.tail - self.head) as usize - self.appended.len()
    }

    fn copy(&mut self, choices: &mut Choices<'_>) {
        let bytes = vec![choices.byte(); choices.below(40_000)];
        let copied = self.ring.copy(&bytes);
        // It looks only where what it knows is not enough.
        if self.room() < bytes.len() {
            self.look();
        }
        assert_eq!(copied, bytes.len().min(self.room()));
        self.appended.extend(&bytes[..copied]);
    }

    fn put(&mut self) {
        let is_news = !self.appended.is_empty();
        let is_rung = is_news && self.memory.is_rung(word::BROKER_WAITS, |_| true);
        assert_eq!(self.ring.put(), is_rung);
        if is_news {
            self.tail += self.appended.len() as u64;
            self.appended.clear();
            self.memory.words[word::RING_TAIL] = self.tail;
        }
    }

    fn take_back(&mut self) {
        // A broker that ends says of the bytes before, too, that it does not take them.
        let taken = self.ring.take_back();
        assert!(taken.ends_with(self.appended.make_contiguous()));
        assert!(taken.len() <= self.ring.size());
        self.appended.clear();
    }

    fn want_room(&mut self, choices: &mut Choices<'_>) {
        self.put();
        let bytes = choices.below(65_536);
        let waits = self.ring.want_room(bytes);
        self.look();
        let is_there = self.room() >= bytes.clamp(self.size / 2, self.size);
        assert_eq!(waits, !is_there);
        let size = self.size as u64;
        let position = self.tail + (bytes as u64).clamp(size / 2, size);
        self.memory.words[word::ROOM_AT] = if waits { position - size } else { 0 };
    }

    fn grow(&mut self) {
        let limit = self.memory.words[word::RING_LIMIT] as usize;
        let may = limit.is_power_of_two() && limit > self.size && limit <= MAX_RING_BYTES;
        assert_eq!(self.ring.may_grow(), may);
        let grown = self.ring.grow();
        if may {
            self.look();
        }
        assert_eq!(grown, may && self.head == self.tail && self.appended.is_empty());
        if grown {
            self.size = limit;
            self.memory.words[word::RING_BYTES] = limit as u64;
        }
    }

    /// Rewrites the first descriptors.
    fn scribble_descriptors(&mut self, choices: &mut Choices<'_>) {
        let mut writer = DescriptorWriter::new(Arc::clone(&self.memory.region));
        for at in 0..choices.below(DESCRIPTORS + 1) {
            let descriptor = match choices.below(4) {
                0 => Descriptor::Unknown,
                1 => Descriptor::Socket { bytes: u32::from(choices.byte()) << choices.below(25) },
                _ => Descriptor::Arena {
                    offset: u64::from(choices.byte()) << choices.below(57),
                    bytes: u32::from(choices.byte()) << choices.below(25),
                },
            };
            writer.push(descriptor);
            self.slots[at] = descriptor;
            if choices.is_empty() {
                break;
            }
        }
    }

    fn take(&mut self, choices: &mut Choices<'_>) {
        for _ in 0..1 + choices.below(40) {
            if self.taken >= self.descriptor_tail {
                self.descriptor_tail = self.memory.words[word::DESCRIPTOR_TAIL];
            }
            let is_there = self.taken < self.descriptor_tail;
            let expected = is_there.then(|| self.slots[self.taken as usize % DESCRIPTORS]);
            assert_eq!(self.descriptors.take(), expected);
            self.taken += u64::from(is_there);
            if let (Some(Descriptor::Arena { offset, bytes }), Some(view)) = (expected, &*VIEW) {
                let fits = u128::from(offset) + u128::from(bytes) <= ARENA_BYTES as u128;
                let range = view.range(offset, bytes);
                assert_eq!(range.map(<[u8]>::len), fits.then_some(bytes as usize));
                assert!(range.is_none_or(|range| range.iter().all(|&byte| byte == 0)));
            }
        }
    }

    fn release(&mut self) {
        let (is_news, taken) = (self.released != self.taken, self.taken);
        let is_rung = is_news && self.memory.is_rung(word::RELEASE_AT, |at| taken >= at);
        assert_eq!(self.descriptors.release(), is_rung);
        if is_news {
            self.released = taken;
            self.memory.words[word::DESCRIPTOR_HEAD] = taken;
        }
    }

    /// Checks what must hold whatever has happened.
    fn check(&self) {
        assert_eq!(self.ring.appended(), self.appended.len());
        assert_eq!(self.ring.size(), self.size);
        assert!(self.size <= MAX_RING_BYTES && self.head <= self.tail);
        assert!(self.tail - self.head + self.appended.len() as u64 <= self.size as u64);
    }
}
