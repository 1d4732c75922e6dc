//! Process of the broker: the `netcluster` binary, found, started, asked for its stats,
//! stopped.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::interrupt;
use crate::io_counts::IoCounts;
use crate::plan::Scenario;
use crate::raw::Raw;
use crate::scratch::Scratch;
#[cfg(target_os = "linux")]
use netcluster_testkit::netns::Host;

const START_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
/// Number of the log's lines in an error message.
const LOG_TAIL_LINES: usize = 10;

/// Running broker, and a connection that asks it about itself.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    raw: Option<Raw>,
}

/// Finds the broker's program: the one that is given, else the one beside this program.
pub fn find(given: Option<&Path>) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find my own program")?;
    let path = match given {
        Some(path) => path.to_owned(),
        None => own.with_file_name("netcluster"),
    };
    if path.is_file() {
        return Ok(path);
    }
    bail!(
        "there is no broker at {}: run `cargo build --release` first, or say `--broker PATH`",
        path.display()
    );
}

impl Broker {
    /// Starts a broker and waits until it welcomes clients.
    pub fn start(program: &Path, scenario: &Scenario, scratch: &Scratch) -> Result<Broker> {
        Broker::start_by(program, &arguments(scenario), scratch, Command::spawn)
    }

    /// Starts a broker with more arguments.
    pub fn start_with(program: &Path, arguments: &[String], scratch: &Scratch) -> Result<Broker> {
        Broker::start_by(program, arguments, scratch, Command::spawn)
    }

    /// Starts a broker on a host, with more arguments.
    #[cfg(target_os = "linux")]
    pub fn start_on(
        host: &Host,
        program: &Path,
        arguments: &[String],
        scratch: &Scratch,
    ) -> Result<Broker> {
        Broker::start_by(program, arguments, scratch, |command| host.spawn(command))
    }

    fn start_by(
        program: &Path,
        arguments: &[String],
        scratch: &Scratch,
        spawn: impl FnOnce(&mut Command) -> std::io::Result<Child>,
    ) -> Result<Broker> {
        let mut command = Command::new(program);
        command.arg("serve").arg("--socket").arg(scratch.socket()).args(arguments);
        let log = File::create(scratch.log())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child =
            spawn(&mut command).with_context(|| format!("cannot start {}", program.display()))?;
        let mut broker = Broker { child, raw: None };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match Raw::connect(&scratch.socket(), "loadtest") {
                Ok(raw) => {
                    broker.raw = Some(raw);
                    return Ok(broker);
                }
                Err(error) => {
                    let ended = broker.child.try_wait()?;
                    if ended.is_some() || Instant::now() > deadline {
                        bail!("the broker did not start: {error:#}\n{}", tail(&scratch.log()));
                    }
                }
            }
            interrupt::check()?;
            thread::sleep(POLL);
        }
    }

    /// Returns how the broker ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Returns the broker's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what the broker's back ends did so far; `None` if the broker does not
    /// tell.
    pub fn io_counts(&mut self) -> Option<IoCounts> {
        let answer = self.raw.as_mut()?.stats().ok();
        if answer.is_none() {
            self.raw = None;
        }
        IoCounts::from_stats(&answer?)
    }

    /// Asks the broker to end; kills one that does not.
    pub fn stop(mut self) {
        self.raw = None;
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended before.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Returns the arguments of a scenario's broker. What is as by default is not said, so that
/// a broker that does not know of it can be measured, too.
fn arguments(scenario: &Scenario) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |option: &str, value: Option<String>| {
        arguments.extend(value.map(|value| [option.to_owned(), value]).into_iter().flatten());
    };
    add("--shards", scenario.shards.map(|shards| shards.to_string()));
    add("--backend", scenario.backend.clone());
    add("--shared-memory", (!scenario.shares_memory()).then(|| "off".into()));
    let spin_us = scenario.transport.spin_us;
    add("--spin-us", (spin_us > 0).then(|| spin_us.to_string()));
    arguments
}

/// Reads the last lines of a log.
pub fn tail(log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{SharedMemory, Transport};

    #[test]
    fn the_broker_is_told_what_the_scenario_says_and_nothing_that_it_does_anyway() {
        assert!(arguments(&Scenario::default()).is_empty());
        let transport = Transport { shared_memory: SharedMemory::Auto, spin_us: 20 };
        let shared = Scenario { shards: Some(2), transport, ..Scenario::default() };
        assert_eq!(arguments(&shared), ["--shards", "2", "--spin-us", "20"]);
        let sockets = ["--shards", "2", "--shared-memory", "off"];
        assert_eq!(arguments(&shared.by_sockets()), sockets);
        // The clients that are measured use sockets, those beside do not.
        let beside = Some(SharedMemory::Auto);
        let mixed = Scenario { beside, ..shared.by_sockets() };
        assert_eq!(arguments(&mixed), ["--shards", "2"]);
    }
}
