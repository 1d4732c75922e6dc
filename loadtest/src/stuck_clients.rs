//! Process that holds an awkward connection: one that is read slowly, one that is never
//! read, or one with very many patterns that match nothing.

use std::io::Read;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::message::{Command, Report, next_command, report};
use crate::plan::{StuckClientPlan, strange_pattern};
use crate::raw::Raw;

/// Time between two reads of a slow reader.
const TURN: Duration = Duration::from_millis(100);
const TURNS_PER_S: u64 = 10;

/// Holds the connection until told to quit.
pub fn run(plan: StuckClientPlan) -> Result<()> {
    let mut raw = Raw::connect(&plan.socket, &plan.name)?;
    let patterns: Vec<String> = (0..plan.patterns).map(strange_pattern).collect();
    raw.subscribe(patterns.iter().map(String::as_str))?;
    raw.subscribe(plan.event.as_deref())?;
    report(&Report::Ready { driver: None });
    let mut share = vec![0; (plan.read_bytes_per_s / TURNS_PER_S) as usize];
    if !share.is_empty() {
        let mut stream = raw.stream().try_clone()?;
        // Once the broker has ended the connection there is nothing left to read.
        thread::spawn(move || {
            while matches!(stream.read(&mut share), Ok(read) if read > 0) {
                thread::sleep(TURN);
            }
        });
    }
    while next_command() != Command::Quit {}
    drop(raw);
    Ok(())
}
