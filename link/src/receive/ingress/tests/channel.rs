//! A channel that loses, doubles, delays and reorders, in virtual time, with a
//! sender behind it that answers requests.

use std::collections::BTreeMap;

use netcluster_platform::Instant;

use super::sender::{Random, Sender, handle};
use crate::receive::ingress::{Ingress, Verdict};
use crate::tests::time::ns;

/// One way takes so long, at least.
const DELAY_NS: u64 = 30_000;
const HEARTBEAT_NS: u64 = 1_000_000;
const STEP_NS: u64 = 10_000;

#[derive(Clone, Copy)]
pub struct Faults {
    pub loss_percent: u64,
    pub twice_percent: u64,
    pub jitter_ns: u64,
    /// Datagrams that can be retransmitted.
    pub history: u64,
}

impl Faults {
    pub const NONE: Faults =
        Faults { loss_percent: 0, twice_percent: 0, jitter_ns: 0, history: u64::MAX };
}

enum Flight {
    Data(u64),
    Heartbeat { next: u64, tail: u64, ordinal: u64 },
    Nak { first: u64, count: u32 },
}

pub struct Channel {
    random: Random,
    faults: Faults,
    pub now: Instant,
    /// Datagrams under way by time of arrival, then in order of sending.
    flights: BTreeMap<(Instant, u64), Flight>,
    flown: u64,
    /// The next number to be sent for the first time.
    next: u64,
    heartbeat_at: Instant,
    retransmit_ns: u64,
    pub retransmits: u64,
    /// Datagrams of data that did not get through.
    pub lost: u64,
}

impl Channel {
    pub fn new(seed: u64, faults: Faults, next: u64) -> Channel {
        Channel {
            random: Random(seed ^ 0x5eed),
            faults,
            now: ns(1),
            flights: BTreeMap::new(),
            flown: 0,
            next,
            heartbeat_at: ns(0),
            retransmit_ns: 0,
            retransmits: 0,
            lost: 0,
        }
    }

    fn fly(&mut self, flight: Flight) {
        if self.random.chance(self.faults.loss_percent) {
            self.lost += u64::from(matches!(flight, Flight::Data(_)));
            return;
        }
        let delay_ns = DELAY_NS + self.random.below(self.faults.jitter_ns + 1);
        self.flown += 1;
        if let (Flight::Data(number), true) =
            (&flight, self.random.chance(self.faults.twice_percent))
        {
            let late = self.now + 2 * delay_ns;
            self.flights.insert((late, self.flown), Flight::Data(*number));
            self.flown += 1;
        }
        self.flights.insert((self.now + delay_ns, self.flown), flight);
    }

    fn tail(&self) -> u64 {
        self.next.saturating_sub(self.faults.history)
    }

    pub fn run_for(&mut self, ns: u64, ingress: &mut Ingress, sender: &Sender) {
        let end_at = self.now + ns;
        while self.now < end_at {
            self.step(ingress, sender);
            self.now += STEP_NS;
        }
    }

    fn step(&mut self, ingress: &mut Ingress, sender: &Sender) {
        while (self.next as usize) < sender.datagrams.len() {
            let number = self.next;
            self.next += 1;
            self.fly(Flight::Data(number));
        }
        if self.now >= self.heartbeat_at {
            self.heartbeat_at = self.now + HEARTBEAT_NS;
            let (next, tail) = (self.next, self.tail());
            // The ordinal of what is laid out but not yet sent is not known here;
            // all datagrams were sent, so a header says it.
            let ordinal = sender.sent_ordinal();
            self.fly(Flight::Heartbeat { next, tail, ordinal });
        }
        while let Some(flight) = self.flights.first_entry().filter(|f| f.key().0 <= self.now) {
            match flight.remove() {
                Flight::Data(number) => {
                    let verdict = handle(ingress, self.now, &sender.datagrams[number as usize]);
                    let is_fine = matches!(
                        verdict,
                        Verdict::Taken | Verdict::Duplicate | Verdict::TooFar | Verdict::NoMemory
                    );
                    assert!(is_fine, "{verdict:?}");
                }
                Flight::Heartbeat { next, tail, ordinal } => {
                    ingress.heartbeat(self.now, next, tail, ordinal);
                }
                Flight::Nak { first, count } => {
                    for number in first.max(self.tail())..first + u64::from(count) {
                        self.retransmits += 1;
                        self.fly(Flight::Data(number));
                    }
                }
            }
        }
        if ingress.next_nak_at().is_some_and(|due_at| due_at <= self.now) {
            let mut ranges = Vec::new();
            while ingress.poll_nak(self.now, self.retransmit_ns, &mut ranges) {}
            for range in ranges {
                assert!(range.count > 0 && range.first + u64::from(range.count) <= self.next);
                self.fly(Flight::Nak { first: range.first, count: range.count });
            }
        }
        if let Some(sample_ns) = ingress.retransmit_sample() {
            self.retransmit_ns = sample_ns;
        }
    }
}
