//! Senders that share one line, in virtual time: what the constants were chosen by.
//!
//! ```text
//!  sender ──10 Gb/s──┐
//!  sender ──10 Gb/s──┼──► queue of B bytes ──► line of C bytes/s ──► receiver
//!  sender ──10 Gb/s──┘     full: dropped                                │
//!     ▲                                                                 │
//!     └────────── what was sent and lost, every few ms ◄── half RTT ────┘
//! ```
//!
//! Each always has something to send: what is lost is sent again and is traffic
//! like any other. So what the line carries is what arrives, no byte twice.

use std::collections::VecDeque;

use super::*;
use crate::receive::fair_share::{Brought, FairShare};
use crate::tests::time::ns;

const PACKET_BYTES: u64 = 1400;
const STEP_NS: u64 = 20_000;
const ACCESS_BYTES_PER_S: u64 = 1_250_000_000;
/// Always waits.
const BACKLOG_BYTES: usize = 1 << 20;
const REPORT_NS: u64 = 3 * MS;
const GBIT: u64 = 125_000_000;
const ALWAYS: (u64, u64) = (0, u64::MAX);

struct Line {
    bytes_per_s: u64,
    queue_bytes: u64,
    rtt_ns: u64,
}

struct Sender {
    congestion: CongestionControl,
    starts_at: Instant,
    stops_at: Instant,
    sent: u64,
    lost: u64,
    reported: (u64, u64),
    /// Losses so far, as the receiver knew them at that time.
    known: VecDeque<(Instant, u64)>,
    /// Allowed, and still to cross the sender's own line.
    outbox: u64,
    wire_bytes: u64,
    arrived_bytes: u64,
    /// Since the beginning.
    brought_bytes: u64,
}

/// Outcome of the time that is measured.
#[derive(Debug)]
struct Outcome {
    /// Share of the line's capacity, per sender, per mille.
    shares: Vec<u64>,
    lost_percent: u64,
}

impl Outcome {
    fn utilisation(&self) -> u64 {
        self.shares.iter().sum()
    }

    fn assert_fair(&self, percent: u64) {
        let mean = self.utilisation() as f64 / self.shares.len() as f64;
        for share in &self.shares {
            let off = (*share as f64 - mean).abs() / mean * 100.0;
            assert!(off <= percent as f64, "shares of the line, per mille: {:?}", self.shares);
        }
    }
}

/// Runs senders with these times of start and end up to the end of `measured_ns`,
/// and measures within.
fn run(line: &Line, times: &[(u64, u64)], measured_ns: std::ops::Range<u64>) -> Outcome {
    let mut shares = FairShare::default();
    let mut senders: Vec<Sender> = times.iter().map(|times| Sender::new(*times)).collect();
    let mut queued = 0;
    let (mut all_sent, mut all_lost) = (0, 0);
    for elapsed_ns in (0..measured_ns.end).step_by(STEP_NS as usize) {
        let now = ns(elapsed_ns);
        if elapsed_ns == measured_ns.start {
            senders.iter_mut().for_each(|sender| sender.arrived_bytes = 0);
            (all_sent, all_lost) = (0, 0);
        }
        // What each offers in this step, then packet by packet in turn, while the
        // line drains between them.
        let mut offers: Vec<u64> = senders.iter_mut().map(|sender| sender.offer(now)).collect();
        let total: u64 = offers.iter().sum();
        let drained = line.bytes_per_s * STEP_NS / 1_000_000_000;
        let per_packet = drained / total.max(1);
        let mut left = drained;
        let mut turn = (elapsed_ns / STEP_NS) as usize;
        while offers.iter().any(|offer| *offer > 0) {
            turn = (turn + 1) % senders.len();
            if offers[turn] == 0 {
                continue;
            }
            offers[turn] -= 1;
            let drains = per_packet.min(left);
            left -= drains;
            queued -= drains.min(queued);
            let sender = &mut senders[turn];
            sender.sent += 1;
            all_sent += 1;
            if queued + PACKET_BYTES > line.queue_bytes {
                sender.lost += 1;
                all_lost += 1;
            } else {
                queued += PACKET_BYTES;
                sender.arrived_bytes += PACKET_BYTES;
                sender.brought_bytes += PACKET_BYTES;
            }
        }
        queued -= left.min(queued);
        if shares.is_due(now) {
            let brought = |(peer, sender): (u32, &Sender)| Brought {
                peer: PeerId(peer),
                datagrams: sender.brought_bytes / PACKET_BYTES,
                bytes: sender.brought_bytes,
                lost: sender.lost,
            };
            shares.count(now, (0..).zip(&senders).map(brought));
        }
        for (peer, sender) in (0..).map(PeerId).zip(&mut senders) {
            sender.hear(now, line.rtt_ns, shares.of(peer));
        }
    }
    let capacity = line.bytes_per_s * ((measured_ns.end - measured_ns.start) / MS) / 1000;
    Outcome {
        shares: senders.iter().map(|sender| sender.arrived_bytes * 1000 / capacity).collect(),
        lost_percent: all_lost * 100 / all_sent.max(1),
    }
}

impl Sender {
    fn new((starts_ns, stops_ns): (u64, u64)) -> Sender {
        Sender {
            congestion: CongestionControl::new(ns(0), None),
            starts_at: ns(starts_ns),
            stops_at: ns(stops_ns),
            sent: 0,
            lost: 0,
            reported: (0, 0),
            known: VecDeque::new(),
            outbox: 0,
            wire_bytes: 0,
            arrived_bytes: 0,
            brought_bytes: 0,
        }
    }

    /// Number of packets that it sends in this step.
    fn offer(&mut self, now: Instant) -> u64 {
        if now < self.starts_at || now >= self.stops_at {
            return 0;
        }
        let wire = ACCESS_BYTES_PER_S * STEP_NS / 1_000_000_000;
        // A batch crosses its own line at that line's speed.
        if self.outbox < PACKET_BYTES {
            let allowed = self.congestion.allow(now, BACKLOG_BYTES).min(BACKLOG_BYTES) as u64;
            let allowed = allowed / PACKET_BYTES * PACKET_BYTES;
            self.congestion.spend(allowed as usize);
            self.outbox += allowed;
        }
        self.wire_bytes = (self.wire_bytes + wire).min(2 * wire);
        let packets = self.wire_bytes.min(self.outbox) / PACKET_BYTES;
        self.wire_bytes -= packets * PACKET_BYTES;
        self.outbox -= packets * PACKET_BYTES;
        packets
    }

    fn hear(&mut self, now: Instant, rtt_ns: u64, share: u64) {
        if !now.as_nanos().is_multiple_of(REPORT_NS / STEP_NS * STEP_NS) {
            return;
        }
        self.known.push_back((now, self.lost));
        let mut lost = None;
        while let Some((_, known)) = self.known.front().filter(|(at, _)| *at + rtt_ns <= now) {
            lost = Some(*known);
            self.known.pop_front();
        }
        if let Some(lost) = lost {
            let sample = Sample { sent: self.sent - self.reported.0, lost: lost - self.reported.1 };
            self.congestion.report(now, A, sample, share);
            self.reported = (self.sent, lost);
        }
    }
}

/// Gigabit lines with the queues of a cheap and of a good switch.
fn gigabit_lines() -> [Line; 2] {
    [
        Line { bytes_per_s: GBIT, queue_bytes: 128 << 10, rtt_ns: MS / 10 },
        Line { bytes_per_s: GBIT, queue_bytes: 512 << 10, rtt_ns: MS },
    ]
}

#[test]
fn ten_gigabit_into_one_converge_at_once_and_fill_it() {
    for line in gigabit_lines() {
        let outcome = run(&line, &[ALWAYS], 100 * MS..3000 * MS);
        assert!(outcome.utilisation() >= 900, "{outcome:?}");
        assert!(outcome.lost_percent <= 4, "{outcome:?}");
    }
}

#[test]
fn slower_and_faster_lines_are_filled_as_well() {
    for bytes_per_s in [GBIT / 10, 5 * GBIT] {
        let line = Line { bytes_per_s, queue_bytes: 256 << 10, rtt_ns: MS };
        let outcome = run(&line, &[ALWAYS], 500 * MS..4000 * MS);
        assert!(outcome.utilisation() >= 800, "{outcome:?}");
        assert!(outcome.lost_percent <= 5, "{outcome:?}");
    }
}

#[test]
fn three_senders_share_a_line_fairly() {
    for line in gigabit_lines() {
        let outcome = run(&line, &[ALWAYS; 3], 200 * MS..2000 * MS);
        outcome.assert_fair(15);
        assert!(outcome.utilisation() >= 800, "{outcome:?}");
        assert!(outcome.lost_percent <= 6, "{outcome:?}");
    }
}

#[test]
fn many_senders_share_a_line_fairly() {
    for line in gigabit_lines() {
        let outcome = run(&line, &[ALWAYS; 20], 1000 * MS..5000 * MS);
        outcome.assert_fair(25);
        assert!(outcome.utilisation() >= 800, "{outcome:?}");
        assert!(outcome.lost_percent <= 10, "{outcome:?}");
    }
}

#[test]
fn who_comes_later_gets_as_much_as_the_first() {
    for line in gigabit_lines() {
        let times = [ALWAYS, (500 * MS, u64::MAX), (1000 * MS, u64::MAX)];
        let outcome = run(&line, &times, 1500 * MS..4000 * MS);
        outcome.assert_fair(20);
        assert!(outcome.utilisation() >= 800, "{outcome:?}");
    }
}

#[test]
fn who_stays_alone_gets_the_whole_line_within_two_seconds() {
    for line in gigabit_lines() {
        let times = [ALWAYS, (0, 1000 * MS), (0, 1000 * MS)];
        let outcome = run(&line, &times, 3000 * MS..5000 * MS);
        assert!(outcome.shares[0] >= 850, "{outcome:?}");
        assert!(outcome.lost_percent <= 5, "{outcome:?}");
    }
}
