//! `netcluster-loadtest run`: a scenario on one machine or several, from start to
//! result.
//!
//! ```text
//!   args ─▶ environment (where the machines are) ─▶ run (one run) ─▶ record ─▶ result
//!                                                ▲                    │
//!                                                └── search (--find-max)
//! ```
//! - `agents`: an end to each machine's session, over TCP or in this process.
//! - `clocks`: how far the machines' clocks are apart.
//! - `network`: machines that are namespaces, and what goes wrong between them.
//! - `record`, `totals`: what was told, and what that makes.
//! - `print`: a page for people.

mod agents;
pub mod args;
mod clocks;
mod environment;
#[cfg(target_os = "linux")]
mod network;
mod print;
mod record;
mod run;
mod search;
mod totals;

use std::fs;

use anyhow::{Context, Result};
use netcluster_wire::escape;

use self::args::RunArgs;
use self::environment::Environment;
use crate::interrupt;
use crate::progress::Progress;
use crate::report;
use crate::result::{RESULT_FILE, ResultFile, RunResult};
use crate::scenario::{self, NetworkSpec, Scenario, shipped};

/// Name of the report in the directory `--out`.
const REPORT_FILE: &str = "report.html";
const SCENARIO_FILE: &str = "scenario.toml";

/// Runs what the arguments say and prints the result. Returns whether every event that
/// had to came once, whole and in order.
///
/// # Errors
/// If the scenario cannot be run at all; a run that breaks off has a result that says so.
pub fn run(args: &RunArgs) -> Result<bool> {
    #[cfg(target_os = "linux")]
    if args.scenario == crate::soak::NAME {
        return crate::soak::run(args);
    }
    let (mut scenario, text) = scenario::read(&args.scenario)?;
    args.apply(&mut scenario)?;
    if let Some(out) = &args.out {
        // Before anything is measured: it would be a pity.
        fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    }
    if let Some(why) = args.missing() {
        println!("SKIPPED: {why}");
        return Ok(true);
    }
    let goal = args.goal()?;
    let environment = Environment::prepare(args, &scenario)?;
    let mut result = match goal {
        Some(goal) => search::run(&scenario, &text, &environment, &goal)?,
        None => {
            let mut progress = Progress::new(1, scenario.total_seconds());
            progress.describe(&scenario.name);
            run::run(&scenario, &text, &environment)?
        }
    };
    if args.netns.is_none() && scenario.network != NetworkSpec::default() {
        let note = "[network] is for machines that are namespaces: without --netns nothing of it \
                    was done";
        result.notes.push(note.into());
    }
    tell(args, &scenario, result, &text)
}

fn tell(args: &RunArgs, scenario: &Scenario, result: RunResult, text: &str) -> Result<bool> {
    let is_clean = totals::is_clean(scenario, &result);
    let page = escape::page(&print::page(&result)).into_owned();
    let file = ResultFile::Run(Box::new(result));
    if let Some(out) = &args.out {
        file.write(&out.join(RESULT_FILE))?;
        report::write(&file, &out.join(REPORT_FILE))?;
        fs::write(out.join(SCENARIO_FILE), text).context("cannot write the scenario")?;
    }
    if args.json {
        println!("{}", escape::json(&file.to_json()?));
    } else {
        print!("{page}");
        if let Some(out) = &args.out {
            let (result, report) = (out.join(RESULT_FILE), out.join(REPORT_FILE));
            println!("written: {} and {}", result.display(), report.display());
        }
    }
    Ok(is_clean && !interrupt::requested())
}

/// Prints the shipped scenarios, or the text of one.
///
/// # Errors
/// If there is no scenario of that name.
pub fn scenarios(name: Option<&str>) -> Result<bool> {
    if let Some(name) = name {
        let text = shipped::text(name).with_context(|| {
            format!("there is no scenario {name} shipped, only {}", shipped::known())
        })?;
        print!("{text}");
        return Ok(true);
    }
    for name in shipped::names() {
        let (scenario, _) = scenario::read(name)?;
        println!("{name:<12} {}", scenario.about);
    }
    #[cfg(target_os = "linux")]
    println!("{:<12} {}; no file: `run soak --help`", crate::soak::NAME, crate::soak::ABOUT);
    Ok(true)
}
