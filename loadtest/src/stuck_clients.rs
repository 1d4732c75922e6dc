//! Process that holds an awkward connection: one that is read slowly, one that is never
//! read, or one with very many patterns that match nothing.
//!
//! By sockets it is a connection without a client, so that not a byte more is read. Memory
//! is shared with clients alone; so that listener is one whose function takes its time, or
//! never returns, and it does so only once it has moved enough to be offered memory.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use netcluster_client::Message;

use crate::message::{Command, Report, next_command, report};
use crate::plan::{StuckClientPlan, strange_pattern};
use crate::raw::Raw;

/// Time between two reads of a slow reader.
const TURN: Duration = Duration::from_millis(100);
const TURNS_PER_S: u64 = 10;
/// Bytes that a client takes at full speed first: many times as much as brings the offer
/// of shared memory.
const EAGER_BYTES: u64 = 1 << 20;

/// Holds the connection until told to quit.
pub fn run(plan: StuckClientPlan) -> Result<()> {
    match &plan.event {
        Some(event) if plan.transport.is_shared() => {
            let client = plan.transport.client(&plan.name).connect(&plan.socket)?;
            let (taken, rate) = (AtomicU64::new(0), plan.read_bytes_per_s);
            client.on(event, move |message: &Message<'_>| take(message, &taken, rate))?;
            report(&Report::Ready { driver: None });
            while next_command() != Command::Quit {}
            // Not by returning: it would wait for a function that does not.
            std::process::exit(0)
        }
        _ => by_hand(&plan),
    }
}

/// Takes an event as fast as it comes at first, then no faster than the rate, or never.
fn take(message: &Message<'_>, taken: &AtomicU64, bytes_per_s: u64) {
    let bytes = message.payload().len() as u64;
    if taken.fetch_add(bytes, Ordering::Relaxed) < EAGER_BYTES {
        return;
    }
    if bytes_per_s > 0 {
        thread::sleep(Duration::from_secs(1).mul_f64(bytes as f64 / bytes_per_s as f64));
        return;
    }
    loop {
        thread::park();
    }
}

fn by_hand(plan: &StuckClientPlan) -> Result<()> {
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
