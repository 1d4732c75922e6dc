//! Messages of the coordinator and the processes of a run: one JSON object per line,
//! commands on standard input, reports on standard output.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::delivery_check::{Counts, Emitted};
use crate::play::plan::Note;
#[cfg(target_os = "linux")]
use crate::soak::plan::Told;

/// Command of the coordinator to a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Start to emit.
    Go,
    /// Tell your counts; latencies are counted from the first sample on.
    Sample,
    /// Stop emitting, flush, report the totals.
    Stop,
    /// These were emitted: wait until all have come, then report the counts.
    Finish(Vec<Emitted>),
    /// End.
    Quit,
}

/// Report of a process to the coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The process is connected and has subscribed.
    Ready {
        /// Driver of the sockets, where there is a choice, and why.
        driver: Option<String>,
    },
    /// Answer to [`Command::Sample`].
    Sample(Sample),
    /// Answer to [`Command::Stop`], and unasked when a given count is reached.
    Emitted(Vec<Emitted>),
    /// Answer to [`Command::Finish`].
    Finished {
        /// Counts of the process.
        counts: Counts,
        /// Sample at the end.
        sample: Sample,
    },
    /// Counters of other things than events, where there are any, before
    /// [`Report::Finished`].
    Counters(BTreeMap<String, u64>),
    /// Word of a process of an endurance run.
    #[cfg(target_os = "linux")]
    Soak(Box<Told>),
    /// Note of a process of a scenario.
    Note(Box<Note>),
    /// The process cannot go on.
    Failed(String),
}

/// Counts of a process so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Time at which the counts were read.
    pub at_ns: u64,
    /// Events received so far.
    pub received: u64,
    /// Latencies in nanoseconds since the first sample: value and count.
    pub latencies: Vec<(u64, u64)>,
}

/// Writes one line to standard output.
pub fn report(report: &Report) {
    let mut out = std::io::stdout().lock();
    let line = serde_json::to_string(report).expect("reports are plain data");
    // A coordinator that is gone needs no report; its end is seen on input.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Reads the next command; an end of the input is the end of the coordinator.
pub fn next_command() -> Command {
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(read) if read > 0 => serde_json::from_str(&line).unwrap_or(Command::Quit),
        _ => Command::Quit,
    }
}
