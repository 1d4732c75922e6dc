//! Memory for the clients of a simulated broker: made late, or not at all, by chance.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;

use netcluster_platform::sim::SimClient;
use netcluster_platform::{ClientMemory, Instant};

use crate::memory_maker::{Job, Made, MemoryMaker, Order};

use super::shared_session::{Chances, Pace};

/// Memory that a simulated broker has for its clients, and who uses it.
#[derive(Clone, Copy, Debug)]
pub struct SimMemories {
    /// Seed of all that chance decides.
    pub seed: u64,
    /// Bytes of the arena that there is memory for, besides the first buffers.
    pub reservable_bytes: usize,
    /// Chance that memory cannot be made.
    pub refused_percent: u64,
    /// Longest time that making takes.
    pub max_delay_ns: u64,
    /// Chance that a client can use memory.
    pub able_percent: u64,
    /// Chance that a client declines what it is offered.
    pub declined_percent: u64,
    /// Chance that a client does its next store when it comes to it.
    pub pace_percent: u64,
}

impl SimMemories {
    /// Returns those of a broker whose clients all use memory, and are quick.
    pub fn quick(seed: u64) -> SimMemories {
        SimMemories {
            seed,
            reservable_bytes: usize::MAX / 2,
            refused_percent: 0,
            max_delay_ns: 0,
            able_percent: 100,
            declined_percent: 0,
            pace_percent: 100,
        }
    }

    /// Returns those in which by turns everybody, some or nobody shares, there is ample or
    /// little memory, and clients are quick or slow.
    pub fn rough(seed: u64) -> SimMemories {
        let mut chances = Chances::new(seed ^ 0x5eed_0fa1);
        SimMemories {
            seed,
            reservable_bytes: [usize::MAX / 2, 4 << 20, 512 << 10, 0][chances.below(4) as usize],
            refused_percent: [0, 0, 30][chances.below(3) as usize],
            max_delay_ns: 1 + chances.below(3_000_000),
            able_percent: [100, 50][chances.below(2) as usize],
            declined_percent: [0, 20][chances.below(2) as usize],
            pace_percent: [100, 70, 30][chances.below(3) as usize],
        }
    }
}

/// The maker of a simulated broker.
pub(super) struct Maker {
    inbox: Receiver<Order>,
    /// Orders and when they are carried out.
    due: VecDeque<(Instant, Order)>,
    chances: Chances,
    memories: SimMemories,
}

impl Maker {
    pub(super) fn new(memories: SimMemories) -> (MemoryMaker, Maker) {
        let (maker, inbox) = MemoryMaker::by_hand();
        let chances = Chances::new(memories.seed ^ 0x3a4e);
        (maker, Maker { inbox, due: VecDeque::new(), chances, memories })
    }

    /// Carries out what is due.
    pub(super) fn turn(&mut self, now: Instant) {
        while let Ok(order) = self.inbox.try_recv() {
            let due_at = now + self.chances.below(self.memories.max_delay_ns + 1);
            self.due.push_back((due_at, order));
        }
        for _ in 0..self.due.len() {
            let Some((due_at, order)) = self.due.pop_front() else { return };
            if due_at > now {
                self.due.push_back((due_at, order));
            } else {
                let is_refused = self.chances.happens(self.memories.refused_percent);
                order.answer(|job| make(job, is_refused));
            }
        }
    }

    /// Returns the pace of a new client; `None` if it cannot use memory.
    pub(super) fn pace(&self, client: &SimClient) -> Option<Pace> {
        let mut chances = Chances::new(self.memories.seed ^ client.number() << 20);
        let is_able = chances.happens(self.memories.able_percent);
        let SimMemories { pace_percent, declined_percent, .. } = self.memories;
        is_able.then(|| Pace::new(chances, pace_percent, declined_percent))
    }
}

fn make(job: Job, is_refused: bool) -> Result<Made, String> {
    match job {
        _ if is_refused => Err("there is none by chance".to_owned()),
        Job::New => Ok(Made::New(ClientMemory::in_memory())),
        Job::LargestRing(_) => Ok(Made::LargestRing),
    }
}
