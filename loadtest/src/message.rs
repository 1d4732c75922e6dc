//! What the coordinator and the processes of a run say to each other: one JSON
//! object per line, commands on standard input, reports on standard output.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::delivery_check::{Counts, Emitted};
use crate::play::plan::Note;

/// From the coordinator to a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Start to emit.
    Go,
    /// Say where you are; latencies are counted from the first sample on.
    Sample,
    /// Stop emitting, flush, report the totals.
    Stop,
    /// These were emitted: wait until all have come, then report the counts.
    Finish(Vec<Emitted>),
    /// End.
    Quit,
}

/// From a process to the coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Connected and subscribed.
    Ready {
        /// What drives the sockets, where there is a choice, and why.
        driver: Option<String>,
    },
    /// Answer to [`Command::Sample`].
    Sample(Sample),
    /// Answer to [`Command::Stop`], and unasked when a given count is reached.
    Emitted(Vec<Emitted>),
    /// Answer to [`Command::Finish`].
    Finished {
        /// What was counted.
        counts: Counts,
        /// Where it stands at the end.
        sample: Sample,
    },
    /// Before [`Report::Finished`], where there is more to tell: what was counted
    /// besides events.
    Counters(BTreeMap<String, u64>),
    /// What a process of a scenario says.
    Note(Box<Note>),
    /// The process cannot go on.
    Failed(String),
}

/// Where a process stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When this was read.
    pub at_ns: u64,
    /// Events received so far.
    pub received: u64,
    /// Latencies in nanoseconds since the first sample: value and how often.
    pub latencies: Vec<(u64, u64)>,
}

/// Writes one line to standard output.
pub fn report(report: &Report) {
    let mut out = std::io::stdout().lock();
    let line = serde_json::to_string(report).expect("reports are plain data");
    // A coordinator that is gone needs no report; its end is seen on input.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The next command; an end of the input is the end of the coordinator.
pub fn next_command() -> Command {
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(read) if read > 0 => serde_json::from_str(&line).unwrap_or(Command::Quit),
        _ => Command::Quit,
    }
}
