//! Process that ends a broker whose agent was killed: it sees the end of its input, which
//! the broker does not have.
//!
//! Told to quit, it leaves the broker alone: then somebody else ends it.

use std::fs;
use std::io::BufRead;

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};

use crate::message::{Report, report};

/// Waits for the end of the agent, or to be told to quit.
///
/// # Errors
/// None; the type is that of all roles.
pub fn watch(broker: u32) -> Result<()> {
    let name = command(broker);
    report(&Report::Ready { driver: None });
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).is_ok_and(|read| read > 0) {
        return Ok(());
    }
    // Another process may have got its number since.
    if name.is_some()
        && name == command(broker)
        && let Some(pid) = i32::try_from(broker).ok().and_then(Pid::from_raw)
    {
        let _ = kill_process(pid, Signal::TERM);
    }
    Ok(())
}

/// Returns the name of a process, where it can be known.
fn command(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok()
}
