//! `netcluster-loadtest link`: the link between hosts, measured.
//!
//! ```text
//!   args ─▶ rows ─▶ series (pairs of runs) ─▶ run ─▶ table
//!                                              │
//!          network (`netns`): a process on each host: raw | node | client + broker
//! ```
//! Hosts are network namespaces of this machine, which all share its cores: the numbers
//! tell one build from another, not what a rack of machines would do. Beside each other
//! stand the link and packets without any protocol.

mod args;
mod brokers;
mod node;
pub mod plan;
mod raw;
mod rows;
mod run;
mod series;
mod table;

use anyhow::Result;

pub use self::args::LinkArgs;
use self::plan::{Level, LinkRole};
use self::rows::Row;
use self::series::Series;
use crate::progress::Progress;
use crate::{broker, interrupt};
use netcluster_testkit::netns;

/// Plays a process on a host, until told to quit.
///
/// # Errors
/// The reason that keeps the process from going on.
pub fn take_role(role: LinkRole) -> Result<()> {
    match role {
        LinkRole::RawSender(plan) => raw::send(plan),
        LinkRole::RawReceiver(plan) => raw::receive(plan),
        LinkRole::Node(plan) => node::run(plan),
    }
}

/// Measures what the arguments say and prints it. Returns whether every event of every
/// run came once and whole; where there can be no network, that is said and nothing is
/// wrong.
///
/// # Errors
/// If a run fails.
pub fn measure(args: &LinkArgs) -> Result<bool> {
    let rows = args.rows()?;
    if let Some(why) = netns::missing() {
        println!("SKIPPED: {why}");
        return Ok(true);
    }
    let needs_broker = |row: &Row| row.scenario.level == Level::Brokers;
    let program = if rows.iter().any(needs_broker) {
        broker::find(args.broker.as_deref())?
    } else {
        std::path::PathBuf::new()
    };
    let runs = rows.iter().map(|row| row.runs(args.repeats)).sum();
    let mut progress = Progress::new(runs, args.seconds);
    let mut measured: Vec<Series> = Vec::new();
    for row in rows {
        progress.describe(&row.name);
        let name = row.name.clone();
        match Series::run(row, args.repeats, &program, || progress.step()) {
            Ok(series) => measured.push(series),
            Err(_) if interrupt::requested() => break,
            // The others are still worth their time.
            Err(error) => {
                eprintln!("error: {name}: {error:#}");
                measured.push(Series::failed(name));
            }
        }
        if interrupt::requested() {
            break;
        }
    }
    drop(progress);
    if args.json {
        println!("{:#}", table::json(&measured));
    } else if args.table {
        print!("{}{}", table::markdown(&measured), interrupt::note());
    } else {
        print!("{}{}", table::text(&measured), interrupt::note());
    }
    Ok(measured.iter().all(Series::is_clean))
}
