//! Distance of the machines' clocks from this one's: several questions, of which the one
//! with the fastest answer counts.
//!
//! ```text
//!   here   asked ────────┬──────── answered         offset = said − middle
//!   there                said                       error  ≤ half of the way
//! ```
//! The questions are asked before and after a run: clocks that drift apart in between
//! show as a larger error.

use std::time::{Duration, Instant};

use super::agents::Agents;
use crate::agent::machine::Machine;
use crate::agent::message::{Answer, Order};
use crate::clock;

/// Number of questions per machine: on a quiet network one of them is fast.
const QUESTIONS: u64 = 24;
const TIMEOUT: Duration = Duration::from_secs(2);
/// Length of the way of a question that nobody answered.
const UNKNOWN_NS: u64 = TIMEOUT.as_nanos() as u64;

/// Distance of a clock from this machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// Difference: that clock minus this one.
    pub ns: i64,
    /// Error of the estimate at the most.
    pub error_ns: u64,
}

impl Offset {
    /// Estimates from one question and its answer.
    fn of(asked_ns: u64, said_ns: u64, answered_ns: u64) -> Offset {
        let way = answered_ns.saturating_sub(asked_ns);
        let middle = asked_ns + way / 2;
        // Clocks that count from a machine's start are far below the sign bit.
        Offset { ns: said_ns as i64 - middle as i64, error_ns: way.div_ceil(2) }
    }

    /// Joins the estimate with a later one: the result holds for the time in between.
    pub fn until(self, later: Offset) -> Offset {
        let drift = later.ns.abs_diff(self.ns);
        Offset { ns: self.ns, error_ns: self.error_ns.max(later.error_ns) + drift }
    }
}

/// Estimates the clocks of all machines that are here; 0 for those that share this one's.
pub fn estimate(agents: &mut Agents) -> Vec<Offset> {
    let here = Machine::this();
    (0..agents.len())
        .map(|place| {
            if agents.machine(place).shares_clock(&here) || !agents.is_here(place) {
                return Offset::default();
            }
            ask(agents, place)
        })
        .collect()
}

fn ask(agents: &mut Agents, place: usize) -> Offset {
    let mut best = Offset { ns: 0, error_ns: UNKNOWN_NS };
    let mut early = std::mem::take(&mut agents.early);
    'questions: for question in 0..QUESTIONS {
        let asked_ns = clock::now_ns();
        agents.tell(place, Order::Clock(question));
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // The others must not wait for one that is gone.
            let Some(mail) = agents.next(left) else { break 'questions };
            match mail {
                (from, came_ns, Err(error)) if from == place => {
                    early.push((from, came_ns, Err(error)));
                    break 'questions;
                }
                (from, came_ns, Ok(Answer::Clock { number, at_ns }))
                    if from == place && number == question =>
                {
                    let offset = Offset::of(asked_ns, at_ns, came_ns);
                    if offset.error_ns < best.error_ns {
                        best = offset;
                    }
                    break;
                }
                // Of an earlier question, or one to keep a connection up.
                (_, _, Ok(Answer::Clock { .. })) => {}
                mail => early.push(mail),
            }
        }
    }
    agents.early = early;
    best
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::agent::{hello, lines};

    #[test]
    fn the_true_offset_is_within_the_error_however_the_way_is_split() {
        for (there, back) in [(10, 10), (0, 20), (19, 1)] {
            let (asked, truth) = (1_000_000u64, 5_000i64);
            let said = (asked + there) as i64 + truth;
            let offset = Offset::of(asked, said as u64, asked + there + back);
            assert!(offset.ns.abs_diff(truth) <= offset.error_ns, "{offset:?}");
        }
    }

    /// Plays an agent on a machine whose clock is ahead, with answers that take a while.
    fn agent_ahead(listener: TcpListener, ahead_ns: u64) {
        let (stream, _) = listener.accept().unwrap();
        let (mut reader, mut writer) = lines::split(stream).unwrap();
        let machine = Machine { clock: "another".into(), ..Machine::this() };
        hello::greet_coordinator(&mut reader, &mut writer, None, || Ok(()), machine).unwrap();
        let soon = Duration::from_secs(10);
        while let Ok(Some(order)) = reader.read(lines::MAX_HELLO_BYTES, soon) {
            if let Order::Clock(number) = order {
                let at_ns = clock::now_ns() + ahead_ns;
                writer.write(&Answer::Clock { number, at_ns }).unwrap();
            }
        }
    }

    #[test]
    fn a_clock_that_is_ahead_is_found_within_the_error_that_is_told() {
        const AHEAD_NS: u64 = 5_000_000_000;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let agent = thread::spawn(move || agent_ahead(listener, AHEAD_NS));
        let mut agents = Agents::new();
        agents.add("m1", &address, None).unwrap();
        let offset = estimate(&mut agents)[0];
        assert!(offset.error_ns > 0);
        assert!(offset.ns.abs_diff(AHEAD_NS as i64) <= offset.error_ns, "{offset:?}");
        drop(agents);
        agent.join().unwrap();
    }

    #[test]
    fn drift_adds_to_the_error() {
        let before = Offset { ns: 100, error_ns: 10 };
        let after = Offset { ns: 130, error_ns: 5 };
        assert_eq!(before.until(after), Offset { ns: 100, error_ns: 40 });
    }
}
