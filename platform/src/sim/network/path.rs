//! The way from one machine to another: what is lost, doubled, late, and when the
//! rest arrives.
//!
//! Invariant: what is not singled out to be late arrives in the order in which it
//! was sent. Each path draws its chances from a source of its own, so that a fault
//! on one does not change what happens on the others.

use super::MachineId;
use super::counters::{Cause, NetworkCounters};
use super::faults::PathFaults;
use super::tap::{Filter, Passage};
use super::train::Train;
use crate::Instant;
use crate::sim::random::Random;

const MILLION: u32 = 1_000_000;

/// Longest delay of a copy behind its datagram.
const MAX_COPY_DELAY_NS: u64 = 10_000;

/// Path from one machine to another.
#[derive(Debug)]
pub(super) struct Path {
    receiver: MachineId,
    random: Random,
    /// Instead of the network's.
    pub(super) faults: Option<PathFaults>,
    pub(super) is_partitioned: bool,
    burst_left: u32,
    last_arrival: Instant,
}

/// Parts of the network that a path needs besides itself.
pub(super) struct Surroundings<'a> {
    pub(super) faults: PathFaults,
    pub(super) now: Instant,
    pub(super) counters: &'a mut NetworkCounters,
    pub(super) filter: Option<&'a mut Filter>,
}

enum Fate {
    Passes,
    Doubled,
    Late,
    Dropped(Cause),
}

impl Path {
    pub(super) fn new(seed: u64, sender: MachineId, receiver: MachineId) -> Path {
        let pair = u64::from(sender.0) << 32 | u64::from(receiver.0);
        let seed = Random::new(seed ^ Random::new(pair).next()).next();
        Path {
            receiver,
            random: Random::new(seed),
            faults: None,
            is_partitioned: false,
            burst_left: 0,
            last_arrival: Instant::START,
        }
    }

    /// Appends what arrives of `train`, which leaves at `departs_at`, and when.
    pub(super) fn carry(
        &mut self,
        around: &mut Surroundings<'_>,
        departs_at: Instant,
        train: &Train,
        out: &mut Vec<(Instant, Train)>,
    ) {
        let faults = self.faults.unwrap_or(around.faults);
        if self.is_partitioned {
            for datagram in train.datagrams() {
                around.counters.count_dropped(Cause::Partition, datagram);
            }
            return;
        }
        let jitter_ns = match faults.max_jitter_ns {
            0 => 0,
            most => self.random.below(most.saturating_add(1)),
        };
        let due_at = departs_at.saturating_add(faults.delay_ns).saturating_add(jitter_ns);
        let due_at = due_at.max(self.last_arrival);
        self.last_arrival = due_at;
        let plain = !faults.single_out() && train.segment <= faults.mtu_bytes;
        if plain && self.burst_left == 0 && around.filter.is_none() {
            out.push((due_at, train.clone()));
            return;
        }
        let mut first = 0;
        for (index, datagram) in train.datagrams().enumerate() {
            match self.fate(&faults, around, train, datagram) {
                Fate::Passes => continue,
                Fate::Doubled => {
                    around.counters.duplicated += 1;
                    let copy_at = due_at.saturating_add(1 + self.random.below(MAX_COPY_DELAY_NS));
                    out.push((copy_at, train.part(index..index + 1)));
                    continue;
                }
                Fate::Late => {
                    around.counters.reordered += 1;
                    let late = due_at.saturating_add(1 + self.random.below(faults.max_reorder_ns));
                    out.push((late, train.part(index..index + 1)));
                }
                Fate::Dropped(cause) => around.counters.count_dropped(cause, datagram),
            }
            if first < index {
                out.push((due_at, train.part(first..index)));
            }
            first = index + 1;
        }
        if first < train.count() {
            out.push((due_at, train.part(first..train.count())));
        }
    }

    fn fate(
        &mut self,
        faults: &PathFaults,
        around: &mut Surroundings<'_>,
        train: &Train,
        bytes: &[u8],
    ) -> Fate {
        if bytes.len() > faults.mtu_bytes {
            return Fate::Dropped(Cause::Mtu);
        }
        if let Some(filter) = &mut around.filter {
            let (at, receiver) = (around.now, self.receiver);
            let passage = Passage { at, from: train.from, to: train.to, receiver, bytes };
            if !filter(&passage) {
                return Fate::Dropped(Cause::Filter);
            }
        }
        if self.is_lost(faults) {
            return Fate::Dropped(Cause::Loss);
        }
        if self.random.happens(faults.duplicate_per_million, MILLION) {
            return Fate::Doubled;
        }
        if self.random.happens(faults.reorder_per_million, MILLION) {
            return Fate::Late;
        }
        Fate::Passes
    }

    fn is_lost(&mut self, faults: &PathFaults) -> bool {
        if faults.burst_per_million == 0 {
            self.burst_left = 0;
        }
        if self.burst_left == 0 && self.random.happens(faults.burst_per_million, MILLION) {
            // From 1 to twice the mean less 1, each as likely as any other.
            let lengths = 2 * u64::from(faults.burst_datagrams.max(1)) - 1;
            self.burst_left = 1 + self.random.below(lengths) as u32;
        }
        if self.burst_left > 0 {
            self.burst_left -= 1;
            return true;
        }
        self.random.happens(faults.loss_per_million, MILLION)
    }
}
