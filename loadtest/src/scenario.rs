//! Scenario: emitters, listeners and machines, the course of the run, and what goes wrong
//! meanwhile. It is a TOML file, or one that is shipped.
//!
//! ```text
//!   text ─ parse ─▶ Scenario ─ check ─▶ (fits together) ─ assignment ─▶ processes
//! ```
//! - `size`, `numbers`, `name`: the values that a file may hold.
//! - `schedule`: when the next event is due, from phases and rates.
//! - `parse`, `check`: an error names the file, the line and what is allowed.
//! - `assignment`: the processes of each machine and their plans.
//! - `shipped`: the scenarios that come with the program.
//!
//! A scenario knows no clock, no socket and no process.

pub mod assignment;
mod check;
pub mod name;
pub mod numbers;
mod parse;
pub mod schedule;
pub mod shipped;
pub mod size;

use std::num::NonZeroU64;

use serde::Deserialize;
use toml::Spanned;

use self::name::{Names, Template};
use self::numbers::{Arrivals, Rate};
use self::size::Sizes;

pub use self::parse::read;

/// Most machines: more than anybody has agents for.
pub const MAX_MACHINES: usize = 64;
/// Most clients of one role on one machine: each has threads of its own.
pub const MAX_CLIENTS: usize = 4096;
/// Most processes of one role on one machine.
pub const MAX_PROCESSES: usize = 64;
/// Most emitters, which are numbered by 16 bits in a payload.
pub const MAX_EMITTERS: usize = 1 << 16;
/// Most names of one emitter, which are numbered by 16 bits in a payload.
pub const MAX_EVENTS: usize = 1 << 16;
/// Most names of events and patterns, of all clients together: each is held as text
/// several times.
pub const MAX_NAMES: usize = 1 << 20;
/// Most bytes of one role on one machine, one payload for each client: 1 GiB.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 30;
/// Longest run: a day.
pub const MAX_SECONDS: f64 = 86_400.0;

/// Scenario of a run: everything but where the machines are.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a scenario")]
pub struct Scenario {
    /// Name of the scenario.
    pub name: String,
    /// Use that the scenario stands for, in a sentence.
    #[serde(default)]
    pub about: String,
    /// Names of the machines, or their number.
    #[serde(default)]
    pub machines: Machines,
    /// Seed of random sizes and arrivals; the same seed, the same load.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Seconds that are measured, where there are no phases.
    #[serde(default = "default_seconds", deserialize_with = "numbers::seconds")]
    pub seconds: f64,
    /// Seconds before them that are not measured.
    #[serde(default = "default_warm_up", deserialize_with = "numbers::seconds_or_none")]
    pub warm_up: f64,
    /// Way in which the brokers are run.
    #[serde(default)]
    pub broker: BrokerSpec,
    /// Network between the machines where they are namespaces.
    #[serde(default)]
    pub network: NetworkSpec,
    /// Parts of the run, one after the other.
    #[serde(default, rename = "phase")]
    pub phases: Vec<PhaseSpec>,
    /// Roles that emit.
    #[serde(default)]
    pub emitters: Vec<Spanned<EmitterSpec>>,
    /// Roles that listen.
    #[serde(default)]
    pub listeners: Vec<Spanned<ListenerSpec>>,
    /// Roles whose clients come and go.
    #[serde(default)]
    pub churn: Vec<Spanned<ChurnSpec>>,
    /// Faults.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Spanned<FaultSpec>>,
    /// Arguments of the command line that changed the scenario, as they were typed; not
    /// part of the file.
    #[serde(skip)]
    pub arguments: Vec<String>,
}

/// Names of the machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machines(pub Vec<String>);

/// Way in which the brokers are run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a table [broker]")]
pub struct BrokerSpec {
    /// Whether a broker is started on each machine; else the one that runs there is used.
    pub start: bool,
    /// Shards of each broker; unset: its default.
    pub shards: Option<u16>,
    /// Back end of each broker; unset: its default.
    pub backend: Option<Backend>,
    /// Whether emitters wait for slow listeners on other machines too.
    pub cluster_pressure: bool,
}

/// Back end of a broker: its way to talk to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Best back end that there is.
    Auto,
    /// io_uring.
    Uring,
    /// Readiness.
    Poll,
}

/// Network between machines that are namespaces.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a table [network]")]
pub struct NetworkSpec {
    /// Percent of the packets that each machine loses as they arrive.
    #[serde(deserialize_with = "numbers::percent")]
    pub loss_percent: f64,
    /// Megabits per second that reach each machine; unset: what the kernel does.
    pub rate_mbit: Option<NonZeroU64>,
}

/// Phase: a part of the run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table [[phase]]")]
pub struct PhaseSpec {
    /// Name of the phase.
    pub name: String,
    /// Seconds that the phase takes.
    #[serde(deserialize_with = "numbers::seconds")]
    pub seconds: f64,
    /// Share of every rate at its start.
    #[serde(default = "whole", deserialize_with = "numbers::share")]
    pub load: f64,
    /// Share of every rate at its end; unset: as at its start.
    #[serde(default, deserialize_with = "numbers::share_or_none")]
    pub load_to: Option<f64>,
    /// Whether the phase counts for latencies and rates.
    #[serde(default = "yes")]
    pub measured: bool,
}

/// Role that emits, on each of some machines.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table [[emitters]]")]
pub struct EmitterSpec {
    /// Name of the role.
    pub name: String,
    /// Machines of the role; empty: all.
    #[serde(default)]
    pub on: Vec<String>,
    /// Channel of the role.
    #[serde(default)]
    pub channel: Template,
    /// Connections on each machine.
    #[serde(default = "one")]
    pub clients: usize,
    /// Processes that share the connections.
    #[serde(default = "one")]
    pub processes: usize,
    /// Events that are emitted, in turn.
    pub events: Names,
    /// Bytes of a payload.
    #[serde(default)]
    pub size: Sizes,
    /// Events per second and connection.
    pub rate: Rate,
    /// Spread of the events over time.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Whether listeners answer, and latency is there and back.
    #[serde(default)]
    pub round_trip: bool,
}

/// Role that listens, on each of some machines.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table [[listeners]]")]
pub struct ListenerSpec {
    /// Name of the role.
    pub name: String,
    /// Machines of the role; empty: all.
    #[serde(default)]
    pub on: Vec<String>,
    /// Channel of the role.
    #[serde(default)]
    pub channel: Template,
    /// Connections on each machine.
    #[serde(default = "one")]
    pub clients: usize,
    /// Processes that share the connections.
    #[serde(default = "one")]
    pub processes: usize,
    /// Patterns that are listened to.
    pub patterns: Names,
    /// Whether each event is answered.
    #[serde(default)]
    pub replies: bool,
    /// Microseconds that each event takes: a slow listener.
    #[serde(default)]
    pub delay_us: u64,
    /// Policy for a listener that does not keep up.
    #[serde(default)]
    pub queue: Queue,
    /// Part of a payload that is compared.
    #[serde(default)]
    pub verify: Verify,
}

/// Policy for a listener that does not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Queue {
    /// Emitters wait for the listener.
    #[default]
    Backpressure,
    /// The listener loses the oldest events; that is not held against anybody.
    Latest,
}

/// Part of a payload that is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// Head and tail of each, all of every 64th.
    #[default]
    Sampled,
    /// Every byte.
    Full,
}

/// Role whose clients come and go, on each of some machines.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table [[churn]]")]
pub struct ChurnSpec {
    /// Name of the role.
    pub name: String,
    /// Machines of the role; empty: all.
    #[serde(default)]
    pub on: Vec<String>,
    /// Channel of the role.
    #[serde(default)]
    pub channel: Template,
    /// New connections per second.
    #[serde(deserialize_with = "numbers::connects")]
    pub connects_per_s: f64,
    /// Milliseconds until each leaves.
    pub lifetime_ms: u64,
    /// Patterns that each client listens to.
    pub patterns: Names,
}

/// Fault: something that goes wrong, and is mended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table [[fault]]")]
pub struct FaultSpec {
    /// Kind of the fault.
    pub kind: FaultKind,
    /// Machine of the fault.
    pub machine: String,
    /// Seconds after the start.
    #[serde(deserialize_with = "numbers::seconds_or_none")]
    pub at_s: f64,
    /// Seconds until the fault is mended.
    #[serde(deserialize_with = "numbers::seconds_or_none")]
    pub for_s: f64,
    /// Percent of the packets, for `loss`.
    #[serde(default, deserialize_with = "numbers::percent")]
    pub percent: f64,
}

/// Kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The broker is killed, and started again.
    RestartBroker,
    /// The machine's cable is pulled; between namespaces alone.
    Partition,
    /// The machine loses packets; between namespaces alone.
    Loss,
}

impl Default for BrokerSpec {
    fn default() -> BrokerSpec {
        BrokerSpec { start: true, shards: None, backend: None, cluster_pressure: true }
    }
}

impl Scenario {
    /// Returns the phases, or those that stand for `warm-up` and `seconds`.
    pub fn phases(&self) -> Vec<PhaseSpec> {
        if !self.phases.is_empty() {
            return self.phases.clone();
        }
        let phase = |name: &str, seconds, measured| PhaseSpec {
            name: name.into(),
            seconds,
            load: 1.0,
            load_to: None,
            measured,
        };
        let mut phases = Vec::new();
        if self.warm_up > 0.0 {
            phases.push(phase("warm-up", self.warm_up, false));
        }
        phases.push(phase("load", self.seconds, true));
        phases
    }

    /// Returns how long all phases take.
    pub fn total_seconds(&self) -> f64 {
        self.phases().iter().map(|phase| phase.seconds).sum()
    }

    /// Returns how much of that is measured.
    pub fn measured_seconds(&self) -> f64 {
        let phases = self.phases();
        phases.iter().filter(|phase| phase.measured).map(|phase| phase.seconds).sum()
    }

    /// Returns the seconds at full load that emit as much as all phases do.
    pub fn load_seconds(&self) -> f64 {
        let mean = |of: &PhaseSpec| (of.load + of.load_to.unwrap_or(of.load)) / 2.0;
        self.phases().iter().map(|phase| phase.seconds * mean(phase)).sum()
    }

    /// Makes the scenario longer or shorter, so that so many seconds are measured; faults
    /// move with it.
    pub fn stretch(&mut self, seconds: f64) {
        let factor = seconds / self.measured_seconds();
        self.seconds *= factor;
        self.warm_up *= factor;
        self.phases.iter_mut().for_each(|phase| phase.seconds *= factor);
        for fault in &mut self.faults {
            let fault = fault.get_mut();
            fault.at_s *= factor;
            fault.for_s *= factor;
        }
    }

    /// Returns the events per second that all emitters together are to emit at full load;
    /// `None` if one emits as fast as it goes.
    pub fn offered_per_s(&self) -> Option<f64> {
        let rates = self.emitters.iter().map(|emitters| {
            let emitters = emitters.get_ref();
            let machines = self.machines_of(&emitters.on).len();
            Some(emitters.rate.per_s()? * (emitters.clients * machines) as f64)
        });
        rates.sum()
    }

    /// Scales every rate.
    pub fn scale_rates(&mut self, factor: f64) {
        self.emitters.iter_mut().for_each(|emitters| emitters.get_mut().rate.scale(factor));
    }

    /// Returns the numbers of the machines that are meant.
    pub fn machines_of(&self, on: &[String]) -> Vec<usize> {
        let meant = |name: &String| on.is_empty() || on.contains(name);
        self.machines
            .0
            .iter()
            .enumerate()
            .filter(|(_, name)| meant(name))
            .map(|(at, _)| at)
            .collect()
    }
}

fn default_seed() -> u64 {
    1
}

fn default_seconds() -> f64 {
    10.0
}

fn default_warm_up() -> f64 {
    1.0
}

fn whole() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}
