//! Load generator of netcluster.
//!
//! ```text
//!                     coordinator (args → plan → pairs → run → summary)
//!                      │ commands, reports: JSON lines over pipes (message, child_processes)
//!        ┌─────────────┼──────────────────┬────────────────────┐
//!    emitter …   broker or relay     listener …          many, stuck_clients
//!        └──── socket ────┴──── socket ────┘
//! ```
//! `run` does the same with a scenario, on one machine or several:
//!
//! ```text
//!   scenario ─▶ coordinator ══ TCP, or within ══ agent (a session per machine)
//!                                                  ├─ broker
//!                                                  └─ play: emitters, listeners, churn
//! ```
//! `run soak` (`soak`) is an endurance run: brokers, clients and the network fail in a seeded
//! order, and everything is held against what was promised.
//!
//! One program in several roles. Emitters and listeners use the client crate as users do;
//! each event carries a stamp (`stamp`), each listener checks for gaps, repeats and
//! broken payloads (`delivery_check`); only the pair that the client itself is measured
//! by does without that crate (`bare`). Nothing here is needed to run netcluster.
//!
//! The load generator is for Unix: signals, `/proc` and a relay between local sockets are
//! half of it, and the figures of a machine without them would be no measure.

#![cfg(unix)]
#![forbid(unsafe_code)]

mod agent;
pub mod args;
mod bare;
mod broker;
mod bystanders;
mod child_processes;
mod clock;
#[cfg(feature = "compare")]
pub mod compare;
mod coordinator;
mod delivery_check;
pub mod diff;
mod emitter;
mod interrupt;
mod io_counts;
#[cfg(target_os = "linux")]
pub mod link;
mod listener;
mod many;
mod median;
mod message;
mod meter;
mod metric;
mod outcome;
pub mod pairs;
#[cfg(feature = "compare")]
pub mod peers;
mod pin;
pub mod plan;
mod play;
mod progress;
mod raw;
mod relay;
pub mod report;
pub mod result;
mod run;
pub mod scenario;
mod scratch;
#[cfg(target_os = "linux")]
mod soak;
mod stamp;
mod stuck_clients;
mod summary;
mod table;
pub mod transport;
mod usage;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use netcluster_wire::escape;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use args::{Arguments, DiffArgs, Local, ReportArgs, Table, Task};
use message::{Command, Report, next_command, report};
use pairs::Pairs;
use plan::{Middle, Role};
use progress::Progress;
use result::ResultFile;
use run::Runner;

const LOST: u8 = 1;
const ERROR: u8 = 2;
const INTERRUPTED: u8 = 130;

/// Does what the arguments say; returns the process's exit code.
pub fn main(arguments: Arguments) -> ExitCode {
    let done = match arguments.command {
        Task::Role => return take_role(),
        Task::Local(local) => coordinate(|| run_local(&local)),
        #[cfg(target_os = "linux")]
        Task::Link(args) => coordinate(|| link::measure(&args)),
        Task::Table(table) => coordinate(|| run_table(&table)),
        Task::Run(args) => coordinate(|| coordinator::run(&args)),
        Task::Scenarios(args) => coordinate(|| coordinator::scenarios(args.name.as_deref())),
        Task::Agent(args) => coordinate(|| agent::serve::serve(&args)),
        #[cfg(feature = "compare")]
        Task::Compare(args) => coordinate(|| compare::compare(&args)),
        Task::Report(args) => write_report(&args),
        Task::Diff(args) => show_diff(&args),
    };
    match done {
        Ok(_) if interrupt::requested() => ExitCode::from(INTERRUPTED),
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(LOST),
        Err(error) => {
            eprintln!("error: {}", escape::page(&format!("{error:#}")));
            ExitCode::from(if interrupt::requested() { INTERRUPTED } else { ERROR })
        }
    }
}

fn coordinate(task: impl FnOnce() -> Result<bool>) -> Result<bool> {
    interrupt::install()?;
    raise_descriptor_limit();
    task()
}

fn runner(broker: Option<&Path>) -> Result<Runner> {
    Ok(Runner { program: broker::find(broker)?, middle: Middle::Broker })
}

/// Carries out `local`; returns whether every event came once and whole.
fn run_local(local: &Local) -> Result<bool> {
    let scenario = local.scenario()?;
    let runner = match local.only {
        Some(baseline) => Runner { program: PathBuf::new(), middle: baseline.middle() },
        None => runner(local.common.broker.as_deref())?,
    };
    let (against, repeats) = (local.against(), local.repeats());
    let runs = repeats * if against.is_some() { 2 } else { 1 };
    let mut progress = Progress::new(runs, scenario.idle.unwrap_or(scenario.seconds));
    let pairs = Pairs::run(&scenario, against, repeats, &runner, || progress.step());
    drop(progress);
    let pairs = pairs?;
    if local.common.json {
        println!("{:#}", summary::json(&scenario, &pairs, against));
    } else {
        print!("{}{}", summary::text(&scenario, &pairs, against), interrupt::note());
    }
    Ok(pairs.is_clean())
}

/// Carries out `table`; returns whether every event came once and whole.
fn run_table(table: &Table) -> Result<bool> {
    table.check()?;
    let measured = table::run(table, &runner(table.common.broker.as_deref())?)?;
    if table.common.json {
        println!("{:#}", table::json(&measured));
    } else {
        print!("{}{}", table::markdown(&measured), interrupt::note());
    }
    Ok(table::is_clean(&measured))
}

fn write_report(args: &ReportArgs) -> Result<bool> {
    let result = ResultFile::read(&args.result)?;
    let out = args.out.clone().unwrap_or_else(|| args.result.with_extension("html"));
    report::write(&result, &out)?;
    println!("{}", out.display());
    Ok(true)
}

/// Carries out `diff`; returns whether nothing is worse.
fn show_diff(args: &DiffArgs) -> Result<bool> {
    let (before, after) = (ResultFile::read(&args.before)?, ResultFile::read(&args.after)?);
    let diff = diff::diff(&before, &after)?;
    if args.json {
        println!("{}", escape::json(&serde_json::to_string_pretty(&diff)?));
    } else {
        print!("{}", escape::page(&diff.text()));
    }
    Ok(!diff.is_worse())
}

/// Plays the role that this program was started for.
fn take_role() -> ExitCode {
    play(|role| match role {
        Role::Relay(plan) => {
            relay::start(plan)?;
            report(&Report::Ready { driver: None });
            while next_command() != Command::Quit {}
            Ok(())
        }
        Role::Emitter(plan) => emitter::run(plan),
        Role::Listener(plan) => listener::run(plan),
        Role::BareEmitter(plan) => bare::emit(plan),
        Role::BareListener(plan) => bare::listen(plan),
        Role::Many(plan) => many::run(plan),
        Role::StuckClient(plan) => stuck_clients::run(plan),
        Role::Play(plan) => play::take_part(plan),
        Role::Watchdog(broker) => agent::watchdog::watch(broker),
        #[cfg(feature = "compare")]
        Role::Peer(role) => peers::take_role(role),
        #[cfg(target_os = "linux")]
        Role::Link(role) => link::take_role(role),
        #[cfg(target_os = "linux")]
        Role::Soak(role) => soak::take_role(&role),
    })
}

/// Plays the role that comes on standard input; how it ends is told on standard output, as
/// everything.
fn play(take: impl FnOnce(Role) -> Result<()>) -> ExitCode {
    let run = || -> Result<()> {
        let mut plan = String::new();
        std::io::stdin().lock().read_line(&mut plan)?;
        take(serde_json::from_str(&plan).context("roles are for the coordinator to give")?)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&Report::Failed(format!("{error:#}")));
            ExitCode::from(ERROR)
        }
    }
}

/// Raises the limit of descriptors to what the system lets us have; the broker inherits
/// it.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Whoever opens too many gets an error that says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
