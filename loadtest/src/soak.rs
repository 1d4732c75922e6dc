//! `netcluster-loadtest run soak`: hours under disturbances, and nothing lost without notice.
//!
//! ```text
//!   seed ─▶ disturbance (deck) ─▶ round ─▶ disturb ─▶ site (machines, link), crew (processes)
//!                                   │                    listeners: ledger, latency
//!                                   ▼
//!                       accounts, latencies, resources ─▶ outcome ─▶ print, soak.json
//! ```
//! Two machines, of network namespaces where there may be some, each with a broker, emitters
//! at a steady rate, listeners to all of them, a crowd; one has a recorder. Round after round
//! something goes wrong, is healed, and everything is held against what was promised:
//!
//! - *Accounts*: what a listener did not get it was told at that place, or its emitter was told
//!   that it may not have arrived; nothing comes twice, late or changed. Most disturbances may
//!   not cost anything, told or not ([`disturbance::Kind::may_lose`]).
//! - *Latency* is back to what it was within a second ([`latency`]); runs of minutes show it.
//! - *Resources*: what long-lived processes hold does not grow ([`resources`]).
//!
//! Invariant: whatever was started or made here is gone when the run ends, but the logs of one
//! that failed.

mod args;
mod crew;
mod crowd;
mod disturb;
mod disturbance;
mod emitters;
mod latency;
mod ledger;
mod listeners;
mod machine;
mod outcome;
pub mod plan;
mod print;
mod resources;
mod round;
mod site;
mod slope;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use netcluster_wire::escape;

pub use self::args::SoakArgs;
use self::crew::{Crew, Recorder};
use self::disturb::Stage;
use self::disturbance::{Card, Deck, Kind};
use self::latency::Stretch;
use self::outcome::Outcome;
use self::plan::SoakRole;
use self::resources::Resources;
use self::round::{Pace, Round};
use self::site::{Settings, Site};
use crate::broker;
use crate::clock;
use crate::coordinator::args::RunArgs;
use crate::interrupt;
use crate::result::MachineInfo;
use crate::scratch::Scratch;

/// Name that `run` knows the endurance run by.
pub const NAME: &str = "soak";
/// Line of `scenarios` about it.
pub const ABOUT: &str =
    "Hours under disturbances of all kinds: nothing lost without notice, nothing grows";
/// Runs from here on are long: latencies count, and windows are as long as they need.
const LONG: Duration = Duration::from_secs(900);
const FULL: Pace = Pace {
    warm_up: Duration::from_millis(400),
    quiet: Duration::from_millis(2500),
    behind: Duration::from_millis(3500),
    settle: Duration::from_secs(10),
    scale: 1.0,
    judges_latency: true,
};
const SHORT: Pace = Pace {
    warm_up: Duration::from_millis(200),
    quiet: Duration::from_millis(700),
    behind: Duration::from_millis(1700),
    settle: Duration::from_secs(10),
    scale: 0.3,
    judges_latency: false,
};

/// Plays a role of an endurance run.
pub fn take_role(role: &SoakRole) -> Result<()> {
    match role {
        SoakRole::Emitters(plan) => emitters::play(plan),
        SoakRole::Listeners(plan) => listeners::play(plan),
        SoakRole::Crowd(plan) => crowd::play(plan),
        SoakRole::Victim(plan) => crowd::suffer(plan),
    }
}

/// Runs for as long as the arguments say; returns whether everything was as it should be.
///
/// # Errors
/// If it cannot begin at all.
pub fn run(args: &RunArgs) -> Result<bool> {
    ensure!(
        args.agents.is_empty() && args.netns.is_none() && !args.find_max && args.seconds.is_none(),
        "`run soak` makes its own machines inside this one, and kills what is on them: it takes \
         --duration, --seed, --disturb, --emit-rate, --broker, --out and --json"
    );
    args.soak.check()?;
    let program = broker::find(args.machine.broker.as_deref())?;
    if let Some(out) = &args.out {
        fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    }
    let seed = args.soak.seed.unwrap_or_else(|| clock::now_ns() % 1_000_000);
    eprintln!("seed {seed}");
    let scratch = Scratch::new()?;
    let mut run = Soak::set_up(args, &scratch, program, seed)?;
    let broken_off = run.rounds().err().map(|error| format!("broke off: {error:#}"));
    let outcome = run.finish(broken_off);
    if !outcome.passed {
        keep_logs(args, scratch)?;
    }
    tell(args, &outcome)?;
    Ok(outcome.passed)
}

fn tell(args: &RunArgs, outcome: &Outcome) -> Result<()> {
    let json = serde_json::to_string_pretty(outcome)?;
    if let Some(out) = &args.out {
        fs::write(out.join(outcome::FILE), &json).context("cannot write the result")?;
    }
    if args.json {
        println!("{}", escape::json(&json));
    } else {
        print!("{}{}", escape::page(&print::page(outcome)), interrupt::note());
    }
    Ok(())
}

/// Keeps what the brokers said, beside the result if there is one.
fn keep_logs(args: &RunArgs, scratch: Scratch) -> Result<()> {
    let kept = match &args.out {
        Some(out) => {
            let kept = out.join("logs");
            fs::create_dir_all(&kept)?;
            for log in fs::read_dir(scratch.path().join("logs"))?.flatten() {
                fs::copy(log.path(), kept.join(log.file_name()))?;
            }
            kept
        }
        None => scratch.keep().join("logs"),
    };
    eprintln!("logs of the brokers: {}", kept.display());
    Ok(())
}

/// Endurance run under way.
struct Soak {
    site: Site,
    crew: Crew,
    recorder: Recorder,
    program: PathBuf,
    deck: Deck,
    pace: Pace,
    began: Instant,
    duration: Duration,
    /// Kinds that are still to come before the run may end.
    missing: usize,
    totals: Vec<u64>,
    resources: Resources,
    loads: Vec<f64>,
    outcome: Outcome,
}

impl Soak {
    fn set_up(args: &RunArgs, scratch: &Scratch, program: PathBuf, seed: u64) -> Result<Soak> {
        let duration = args.soak.duration.unwrap_or(args::DEFAULT_DURATION);
        let pace = if duration >= LONG { FULL } else { SHORT };
        let stall_timeout_ms = if pace.judges_latency { 3000 } else { 1000 };
        let settings =
            Settings { stall_timeout_ms, max_queue_mib: 4, log: "info".into(), noise_rate: 1000 };
        let site = Site::set_up(scratch.path(), &program, settings)?;
        let (kinds, skipped) = possible(&site, &args.soak.disturb)?;
        let crew = Crew::start(&site, args.soak.emit_rate, seed)?;
        let last = site.machines.len() - 1;
        let recorder = Recorder::start(&site, last, &program)?;
        let outcome = Outcome {
            schema: outcome::SCHEMA.into(),
            seed,
            seconds: 0.0,
            wanted_seconds: duration.as_secs_f64(),
            machine: MachineInfo::here("here"),
            without_network: site.without_network.clone(),
            skipped,
            judges_latency: pace.judges_latency,
            emitted: 0,
            delivered: 0,
            told_missing: 0,
            silently_missing: 0,
            load_average: [0.0; 3],
            disturbances: Vec::new(),
            trends: Vec::new(),
            rounds: Vec::new(),
            faults: Vec::new(),
            passed: false,
        };
        let missing = kinds.len();
        Ok(Soak {
            site,
            crew,
            recorder,
            program,
            deck: Deck::new(kinds, seed),
            pace,
            began: Instant::now(),
            duration,
            missing,
            totals: Vec::new(),
            resources: Resources::default(),
            loads: Vec::new(),
            outcome,
        })
    }

    /// Runs rounds until the time is over and each disturbance has come.
    fn rounds(&mut self) -> Result<()> {
        while self.began.elapsed() < self.duration || self.missing > 0 {
            interrupt::check()?;
            let card = self.deck.draw(self.site.machines.len());
            let round = self.round(card)?;
            eprint!("{}", escape::page(&print::line(&round)));
            self.outcome.rounds.push(round);
            self.missing = self.missing.saturating_sub(1);
        }
        Ok(())
    }

    fn round(&mut self, card: Card) -> Result<Round> {
        let number = self.outcome.rounds.len() as u64 + 1;
        let machine = self.site.machines[card.machine].name.clone();
        let mut round = Round::new(number, self.began.elapsed(), card, &machine);
        self.crew.emit()?;
        interrupt::sleep(self.pace.warm_up);
        let from_ns = clock::now_ns();
        interrupt::sleep(self.pace.quiet);
        let quiet = Stretch { from_ns, to_ns: clock::now_ns() };
        let stage =
            Stage::new(&mut self.site, &mut self.crew, &self.program, self.pace.scale, card);
        let effect = stage
            .carry_out(card.kind)
            .with_context(|| format!("round {number}, {} of {machine}", card.kind.name()))?;
        let until_ns = effect.healed_ns + self.pace.behind.as_nanos() as u64;
        interrupt::sleep(Duration::from_nanos(until_ns.saturating_sub(clock::now_ns())));
        let behind = Stretch { from_ns: effect.healed_ns, to_ns: until_ns };
        round.note = effect.note;
        effect.faults.into_iter().for_each(|fault| round.fault(fault));
        let totals = self.crew.pause()?;
        let linked = self.site.network.is_some();
        let settled = self.crew.settle(&totals, linked, quiet, behind, self.pace.settle)?;
        round.emitters(&self.totals, &totals);
        round.accounts(card, &self.pace, &totals, &settled)?;
        self.totals = totals.iter().map(|of| of.total).collect();
        self.sample(&mut round);
        Ok(round)
    }

    /// Samples what processes hold while nothing is on the way.
    fn sample(&mut self, round: &mut Round) {
        let at = self.began.elapsed();
        let last = self.site.machines.len() - 1;
        for machine in &mut self.site.machines {
            if let Some(status) = machine.ended() {
                round.fault(format!("the broker of {} has ended: {status}", machine.name));
            }
            let is_one_process = machine.index == last;
            let manner = if machine.shares_memory() { "" } else { ", sockets alone" };
            let name = format!("broker of {}{manner}", machine.name);
            if let Some(pid) = machine.pid() {
                self.resources.sample(at, &name, pid, is_one_process);
            }
            self.resources.files(at, &format!("directory of {}", machine.name), &machine.directory);
        }
        for (name, pid) in self.crew.pids() {
            self.resources.sample(at, &name, pid, true);
        }
        if self.recorder.has_ended() {
            round.fault("the recorder has ended");
        }
        self.resources.sample(at, "recorder", self.recorder.pid(), true);
        self.resources.files(at, "memory files with names", Path::new("/dev/shm"));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: Option<f64> = load.split_whitespace().next().and_then(|load| load.parse().ok());
        self.loads.extend(load);
    }

    fn finish(mut self, broken_off: Option<String>) -> Outcome {
        self.crew.quit();
        drop(self.recorder);
        for machine in &mut self.site.machines {
            if let Err(error) = machine.stop() {
                self.outcome.faults.push(format!("at the end: {error:#}"));
            }
        }
        self.loads.sort_unstable_by(f64::total_cmp);
        if let (Some(&least), Some(&most)) = (self.loads.first(), self.loads.last()) {
            self.outcome.load_average = [least, self.loads[self.loads.len() / 2], most];
        }
        self.outcome.seconds = self.began.elapsed().as_secs_f64();
        self.outcome.faults.extend(broken_off);
        self.outcome.trends = self.resources.trends();
        self.outcome.conclude();
        self.outcome
    }
}

/// Returns the disturbances that can be made here, and why others cannot.
fn possible(site: &Site, wanted: &[Kind]) -> Result<(Vec<Kind>, BTreeMap<String, String>)> {
    let mut skipped = BTreeMap::new();
    let mut kinds = Vec::new();
    for &kind in Kind::value_variants() {
        if !wanted.is_empty() && !wanted.contains(&kind) {
            continue;
        }
        let why = if kind.needs_network() {
            site.without_network.clone()
        } else if kind.needs_mounts() && site.directory.is_none() {
            Some("small file systems cannot be mounted".into())
        } else {
            None
        };
        match why {
            Some(why) => drop(skipped.insert(kind.name(), why)),
            None => kinds.push(kind),
        }
    }
    if kinds.is_empty() {
        bail!("none of these disturbances can be made here: {skipped:?}");
    }
    Ok((kinds, skipped))
}
