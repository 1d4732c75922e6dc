//! Arguments of the command line, and their translation into what is meant.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use netcluster_wire::limits::DEFAULT_MAX_PAYLOAD_BYTES;

use crate::agent::args::AgentArgs;
use crate::coordinator::args::RunArgs;
#[cfg(target_os = "linux")]
use crate::link::LinkArgs;
use crate::pairs::Against;
use crate::pin::Pin;
use crate::plan::{Fault, Middle, Scenario};
use crate::stamp::{MIN_BYTES, MIN_TIMED_BYTES};
use crate::transport::{SharedMemory, Transport};

const EXAMPLES: &str = "\
Who feeds whom: emitter i emits event i mod K, listener j listens to event j mod K
(with more events than emitters, an emitter emits its share of them in turn).

Examples:
  netcluster-loadtest local --size 16 --baseline            1→1, beside a relay that parses nothing
  netcluster-loadtest local --size 16 --baseline bare       beside bytes with a length, no client crate
  netcluster-loadtest local --listeners 8 --size 1024       1→8
  netcluster-loadtest local --emitters 4 --listeners 4 --events 4 --size 64
  netcluster-loadtest local --round-trip --baseline         one event on the way at a time
  netcluster-loadtest local --rate 10000                    latency from the intended send time
  netcluster-loadtest local --connections 1000              one event each, one emitter in turn
  netcluster-loadtest local --connections 1000 --idle 10    what an idle broker costs
  netcluster-loadtest local --stuck --against plain         what a stuck listener costs the others
  netcluster-loadtest local --baseline sockets              shared memory, beside the same by sockets
  netcluster-loadtest local --round-trip --spin-us 50 --baseline sockets
  netcluster-loadtest local --shared-memory off --beside auto --baseline sockets
                                                            what those who share memory cost the others

Exit code: 0, 1 if anything was lost, duplicated or corrupt, 2 on errors, 130 if interrupted.";
const DIFF_HELP: &str = "\
Both are of the same kind: of `run` or of `compare`. A number changed if the
intervals of both do not meet and it changed by more than a few percent; one run
cannot know how much the next would differ, so run twice to see what noise is.

Exit code: 0, 1 if anything is worse beyond noise, 2 on errors.";

const MAX_PROCESSES: usize = 256;
/// Most events, which are numbered by 16 bits in a payload, as emitters are.
const MAX_EVENTS: usize = 1 << 16;
const MAX_CONNECTIONS: usize = 60_000;
/// Longest time that broker and clients may look for events before they sleep: the broker's.
const MAX_SPIN_US: u64 = 50;
const MAX_SECONDS: f64 = 3600.0;
const MIN_SECONDS: f64 = 0.05;
const DEFAULT_SECONDS: f64 = 5.0;
const DEFAULT_PAIR_SECONDS: f64 = 1.0;
const DEFAULT_PAIRS: usize = 10;
pub(crate) const MAX_REPEATS: usize = 1000;

/// Measures netcluster: events per second, latency, CPU, memory, and whether
/// every event came once, whole and in order.
#[derive(Debug, Parser)]
#[command(name = "netcluster-loadtest", version)]
pub struct Arguments {
    /// Task to carry out.
    #[command(subcommand)]
    pub command: Task,
}

/// Task of the program.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// One machine: a broker, emitters and listeners as processes of their own.
    #[command(after_help = EXAMPLES)]
    Local(Box<Local>),
    /// All rows of the README's table, as Markdown; takes about half an hour.
    Table(Table),
    /// The link between brokers, on hosts of network namespaces.
    #[cfg(target_os = "linux")]
    Link(Box<LinkArgs>),
    /// A scenario, on this machine or on several.
    Run(Box<RunArgs>),
    /// The shipped scenarios, or the text of one to start from.
    Scenarios(ScenariosArgs),
    /// This machine's part in the runs of another one.
    Agent(Box<AgentArgs>),
    /// The same loads on other brokers, in interleaved runs
    #[cfg(feature = "compare")]
    #[command(after_help = crate::compare::HELP)]
    Compare(Box<crate::compare::CompareArgs>),
    /// A result as one HTML file that needs no network and no script.
    Report(ReportArgs),
    /// Changes from one result to another beyond noise.
    #[command(after_help = DIFF_HELP)]
    Diff(DiffArgs),
    /// A process of a run: what it is comes as JSON on standard input.
    #[command(hide = true)]
    Role,
}

/// Arguments of `scenarios`.
#[derive(Debug, Args)]
pub struct ScenariosArgs {
    /// Print this one
    pub name: Option<String>,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A result of `run` or `compare`, as JSON
    #[arg(value_name = "RESULT.json")]
    pub result: PathBuf,
    /// The report [default: beside the result, with `.html`]
    #[arg(short, long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The result before
    #[arg(value_name = "A.json")]
    pub before: PathBuf,
    /// The result after
    #[arg(value_name = "B.json")]
    pub after: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `local`.
#[derive(Debug, Args)]
pub struct Local {
    /// Emitter processes
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub emitters: usize,
    /// Listener processes [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "connections")]
    pub listeners: Option<usize>,
    /// Distinct event names [default: 1; a round trip's pairs; one per connection]
    #[arg(long, value_name = "K", conflicts_with = "connections")]
    pub events: Option<usize>,
    /// Bytes of a payload, at least 16
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    pub size: usize,
    /// Length of the measured window [default: 5; 1 when two are compared]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seconds: Option<f64>,
    /// Events per emitter, instead of a window
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    pub count: Option<u64>,
    /// Events per second and emitter (open loop), to measure latency under load
    #[arg(long, value_name = "R")]
    pub rate: Option<u64>,
    /// The listener answers; one event on the way at a time
    #[arg(long, conflicts_with_all = ["rate", "connections"])]
    pub round_trip: bool,
    /// Listening connections in one process, each to an event of its own
    #[arg(long, value_name = "N")]
    pub connections: Option<usize>,
    /// With --connections: emit nothing for so many seconds, report the broker's CPU
    #[arg(long, value_name = "S", requires = "connections")]
    pub idle: Option<f64>,
    /// Patterns that match nothing, registered before
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub patterns: usize,
    /// Keep all processes on one core, or the broker on one and all others on another
    #[arg(long, value_name = "CORES")]
    pub pin: Option<Pin>,
    /// Add a listener of another event that reads 1 KB/s, and its emitter
    #[arg(long)]
    pub slow_reader: bool,
    /// Add a listener of another event that never reads, and its emitter
    #[arg(long)]
    pub stuck: bool,
    /// Add an emitter and a listener of another event at full speed, by shared memory or not
    #[arg(long, value_name = "HOW", conflicts_with_all = ["only", "idle"])]
    pub beside: Option<SharedMemory>,
    /// Whether broker and clients may share memory; with --connections, `auto` makes
    /// clients of bare sessions, who alone may [default: auto]
    #[arg(long, value_name = "HOW", conflicts_with = "only")]
    pub shared_memory: Option<SharedMemory>,
    /// Broker and clients look for events in shared memory so long before they sleep
    #[arg(long, default_value_t = 0, value_name = "US")]
    pub spin_us: u64,
    /// Compare with a baseline, in alternating runs: a relay that copies bytes and parses
    /// nothing, that relay without the client crate too, or this broker by sockets alone
    /// [default: relay]
    #[arg(long, conflicts_with = "against", value_name = "WHAT", num_args = 0..=1, default_missing_value = "relay")]
    pub baseline: Option<Baseline>,
    /// Compare with something else, in alternating runs
    #[arg(long, value_name = "WHAT")]
    pub against: Option<Against>,
    /// Measure that baseline alone, without any broker
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["baseline", "against", "patterns", "slow_reader", "stuck"])]
    pub only: Option<Baseline>,
    /// Runs, or pairs of runs [default: 1; 10 pairs]
    #[arg(long, value_name = "N")]
    pub repeats: Option<usize>,
    /// How much of a payload is compared
    #[arg(long, default_value = "sampled", value_name = "HOW")]
    pub verify: Verify,
    /// Break event 100 of each emitter on purpose, to see it found
    #[arg(long, value_name = "HOW", conflicts_with = "round_trip")]
    pub inject: Option<Fault>,
    /// Arguments about how the broker is run, and how results are printed.
    #[command(flatten)]
    pub common: Common,
}

/// Arguments of `table`.
#[derive(Debug, Args)]
pub struct Table {
    /// Length of each measured window
    #[arg(long, default_value_t = DEFAULT_PAIR_SECONDS, value_name = "S")]
    pub seconds: f64,
    /// Pairs of runs per row
    #[arg(long, default_value_t = DEFAULT_PAIRS, value_name = "N")]
    pub repeats: usize,
    /// Only rows whose name holds this; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub row: Vec<String>,
    /// Arguments about how the broker is run, and how results are printed.
    #[command(flatten)]
    pub common: Common,
}

/// Arguments that all measurements take.
#[derive(Debug, Args)]
pub struct Common {
    /// The broker's back end: auto, uring or poll [default: the broker's]
    #[arg(long, value_name = "B", value_parser = ["auto", "uring", "poll"])]
    pub backend: Option<String>,
    /// The broker's shards [default: the broker's]
    #[arg(long, value_name = "N")]
    pub shards: Option<usize>,
    /// The broker's program [default: `netcluster` beside this one]
    #[arg(long, value_name = "PATH")]
    pub broker: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Baseline, which bounds the broker and its clients from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Baseline {
    /// Process that copies bytes and parses nothing, between the same clients.
    Relay,
    /// Process of that kind, between an emitter and a listener that are hand-written for
    /// it.
    Bare,
    /// Broker and clients that share no memory.
    Sockets,
}

impl Baseline {
    fn against(self) -> Against {
        match self {
            Baseline::Relay => Against::Relay,
            Baseline::Bare => Against::Bare,
            Baseline::Sockets => Against::Sockets,
        }
    }

    /// Returns what stands in the middle.
    pub fn middle(self) -> Middle {
        match self {
            Baseline::Relay => Middle::Relay,
            Baseline::Bare => Middle::Bare,
            Baseline::Sockets => Middle::Broker,
        }
    }
}

/// Part of a payload that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Verify {
    /// Head and tail of each, all of every 64th.
    Sampled,
    /// Every byte.
    Full,
}

impl Local {
    /// Translates the arguments into a scenario.
    ///
    /// # Errors
    /// Arguments that do not fit together, in words that name the flag.
    pub fn scenario(&self) -> Result<Scenario> {
        let listeners = self.listeners.unwrap_or(if self.round_trip { self.emitters } else { 1 });
        let events = match (self.connections, self.events) {
            (Some(connections), _) => connections,
            (None, Some(events)) => events,
            (None, None) if self.round_trip => self.emitters,
            (None, None) => 1,
        };
        within("--emitters", self.emitters, 1, MAX_PROCESSES)?;
        within("--listeners", listeners, 1, MAX_PROCESSES)?;
        within("--connections", self.connections.unwrap_or(1), 1, MAX_CONNECTIONS)?;
        within("--events", events, 1, MAX_EVENTS)?;
        within("--shards", self.common.shards.unwrap_or(1), 1, MAX_PROCESSES)?;
        within("--repeats", self.repeats.unwrap_or(1), 1, MAX_REPEATS)?;
        let least = if self.rate.is_some() { MIN_TIMED_BYTES } else { MIN_BYTES };
        within("--size", self.size, least, DEFAULT_MAX_PAYLOAD_BYTES)?;
        ensure!(self.rate != Some(0), "--rate must be at least 1 event per second");
        ensure!(self.count != Some(0), "--count must be at least 1");
        let seconds = self.seconds.unwrap_or(match self.against() {
            Some(_) => DEFAULT_PAIR_SECONDS,
            None => DEFAULT_SECONDS,
        });
        check_seconds("--seconds", seconds)?;
        check_seconds("--idle", self.idle.unwrap_or(seconds))?;
        if self.round_trip && (listeners != self.emitters || events != self.emitters) {
            bail!("--round-trip needs pairs: as many --listeners and --events as --emitters");
        }
        let scenario = Scenario {
            emitters: self.emitters,
            listeners,
            events,
            size: self.size,
            seconds,
            count: self.count,
            rate: self.rate,
            round_trip: self.round_trip,
            connections: self.connections,
            by_epoll: false,
            by_clients: self.connections.is_some() && self.is_about_shared_memory(),
            idle: self.idle,
            patterns: self.patterns,
            slow_reader: self.slow_reader,
            stuck: self.stuck,
            beside: self.beside,
            transport: Transport {
                shared_memory: self.shared_memory.unwrap_or_default(),
                spin_us: self.spin_us,
            },
            verify_full: self.verify == Verify::Full,
            inject: self.inject,
            pin: self.pin,
            shards: self.common.shards,
            backend: self.common.backend.clone(),
        };
        ensure!(self.spin_us <= MAX_SPIN_US, "--spin-us must be at most {MAX_SPIN_US}");
        if self.only == Some(Baseline::Sockets) {
            bail!("--only sockets is the broker itself: say --shared-memory off");
        }
        if self.against() == Some(Against::Sockets) && !scenario.shares_memory() {
            bail!(
                "--baseline sockets needs somebody who shares memory, and --shared-memory is off"
            );
        }
        let baseline = self.only.map(Baseline::against).or(self.against());
        if baseline == Some(Against::Bare) && self.round_trip {
            bail!("the bare baseline has no --round-trip: take --baseline relay");
        }
        let relay = matches!(baseline, Some(Against::Relay | Against::Bare));
        if relay && !scenario.suits_relay() {
            bail!(
                "this baseline (--baseline, --only) needs listeners that are fed by one emitter each: one emitter, or as many --events as --emitters, and no --connections"
            );
        }
        Ok(scenario)
    }

    /// Returns whether shared memory is asked for, or compared.
    fn is_about_shared_memory(&self) -> bool {
        self.shared_memory == Some(SharedMemory::Auto) || self.against() == Some(Against::Sockets)
    }

    /// Returns what to compare with.
    pub fn against(&self) -> Option<Against> {
        self.baseline.map(Baseline::against).or(self.against)
    }

    /// Returns how often to run.
    pub fn repeats(&self) -> usize {
        self.repeats.unwrap_or(if self.against().is_some() { DEFAULT_PAIRS } else { 1 })
    }
}

impl Table {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Which number is out of its range.
    pub fn check(&self) -> Result<()> {
        check_seconds("--seconds", self.seconds)?;
        within("--shards", self.common.shards.unwrap_or(1), 1, MAX_PROCESSES)?;
        within("--repeats", self.repeats, 1, MAX_REPEATS)
    }
}

pub(crate) fn within(flag: &str, value: usize, least: usize, most: usize) -> Result<()> {
    ensure!((least..=most).contains(&value), "{flag} must be from {least} to {most}, not {value}");
    Ok(())
}

pub(crate) fn check_seconds(flag: &str, seconds: f64) -> Result<()> {
    ensure!(
        (MIN_SECONDS..=MAX_SECONDS).contains(&seconds),
        "{flag} must be from {MIN_SECONDS} to {MAX_SECONDS}, not {seconds}"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
