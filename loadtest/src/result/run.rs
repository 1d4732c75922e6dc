//! The result of one run of a scenario.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::result::gaps;
use crate::result::{Latency, MachineInfo, SCHEMA};

/// One run of a scenario, on one machine or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`SCHEMA`].
    pub schema: String,
    /// `run`.
    pub kind: String,
    /// Whether it ran to its end with all machines.
    pub complete: bool,
    /// What a reader must know, in sentences: why it is not complete, what could
    /// not be measured.
    pub notes: Vec<String>,
    /// When the measured window began, by the coordinator's clock.
    pub started_unix_ms: u64,
    /// Length of the measured window; totals are counted in it.
    pub seconds: f64,
    /// What was run.
    pub scenario: ScenarioInfo,
    /// Events per second that all emitters together were to emit; none if one of them
    /// emits as fast as it can.
    #[serde(default)]
    pub offered_per_s: Option<f64>,
    /// Who took part.
    pub machines: Vec<MachineInfo>,
    /// What each role came to, by role and machine.
    pub roles: Vec<RoleTotals>,
    /// Measured over time.
    pub series: Vec<Series>,
    /// How long events took.
    pub latencies: Vec<Latency>,
    /// Counters of the brokers and their links in the window, by machine and name.
    pub counters: BTreeMap<String, BTreeMap<String, u64>>,
    /// Parts of the window, in order.
    pub phases: Vec<Phase>,
    /// What a search for the highest rate found.
    pub capacity: Option<Capacity>,
}

impl Default for RunResult {
    fn default() -> RunResult {
        RunResult {
            schema: SCHEMA.into(),
            kind: "run".into(),
            complete: true,
            notes: Vec::new(),
            started_unix_ms: 0,
            seconds: 0.0,
            scenario: ScenarioInfo::default(),
            offered_per_s: None,
            machines: Vec::new(),
            roles: Vec::new(),
            series: Vec::new(),
            latencies: Vec::new(),
            counters: BTreeMap::new(),
            phases: Vec::new(),
            capacity: None,
        }
    }
}

/// A scenario as it was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScenarioInfo {
    /// Its name.
    pub name: String,
    /// Its text.
    pub toml: String,
    /// What the command line changed in it, as it was typed.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// What a role does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleKind {
    /// Emits events.
    Emitter,
    /// Counts events.
    Listener,
    /// Carries them.
    Broker,
}

impl RoleKind {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            RoleKind::Emitter => "emitter",
            RoleKind::Listener => "listener",
            RoleKind::Broker => "broker",
        }
    }
}

/// What one role on one machine came to. Counters that its kind does not have
/// are 0: an emitter delivers nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoleTotals {
    /// As the scenario names it.
    pub name: String,
    /// Where it ran.
    pub machine: String,
    /// What it does.
    pub kind: RoleKind,
    /// The channel of its brokers.
    pub channel: String,
    /// How many processes or connections did it.
    pub processes: u64,
    /// Events that it emitted.
    pub emitted: u64,
    /// Events that it was given.
    pub delivered: u64,
    /// Payload of what it emitted or was given.
    pub bytes: u64,
    /// Events that were due and never came.
    pub lost: u64,
    /// Events that came again.
    pub duplicated: u64,
    /// Events that came after a later one of their emitter.
    pub disordered: u64,
    /// Events whose payload was broken.
    pub corrupt: u64,
}

/// One number over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Of which role.
    pub role: String,
    /// Where it ran.
    pub machine: String,
    /// What: one of [`metric`], or another name.
    pub metric: String,
    /// Its unit: of [`metric`]'s, or another; shown as it is.
    pub unit: String,
    /// Since the window began; ascending. A rate is that of the time up to here.
    pub at_ms: Vec<u64>,
    /// One for each of `at_ms`; not-a-number (`null` in JSON) where there is none.
    #[serde(with = "gaps")]
    pub values: Vec<f64>,
}

/// Part of the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// As the scenario names it.
    pub name: String,
    /// Its begin, since the window began.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
}

/// A search for the highest rate that holds a goal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// The 99th percentile that must hold.
    pub goal_p99_us: f64,
    /// What was tried, in the order of time.
    pub steps: Vec<CapacityStep>,
    /// The highest rate that held for the whole scenario; none if no rate did.
    pub found_per_s: Option<f64>,
}

/// One rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityStep {
    /// Events per second that were to be emitted.
    pub rate_per_s: f64,
    /// Seconds that it was tried for.
    #[serde(default)]
    pub seconds: f64,
    /// Whether it was tried for the whole scenario, not for a step of the search.
    #[serde(default)]
    pub whole: bool,
    /// Events per second that came, over all listeners.
    pub delivered_per_s: f64,
    /// Median latency.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// Whether each event came once and whole.
    pub clean: bool,
    /// Whether it was clean, on time, and held the goal.
    pub holds: bool,
}

/// Names and units of the usual series. Reports know their titles and order.
pub mod metric {
    /// Name and unit of a metric.
    pub type Metric = (&'static str, &'static str);
    /// Emitted events.
    pub const EMITTED: Metric = ("emitted_events", "events/s");
    /// Delivered events.
    pub const DELIVERED: Metric = ("delivered_events", "events/s");
    /// Delivered payload.
    pub const DELIVERED_BYTES: Metric = ("delivered_bytes", "B/s");
    /// Processors that were busy for it: 1 is one of them all the time.
    pub const CPU: Metric = ("cpu", "cores");
    /// Resident memory.
    pub const RSS: Metric = ("rss", "B");
    /// Context switches.
    pub const CONTEXT_SWITCHES: Metric = ("context_switches", "1/s");
    /// Calls into the kernel.
    pub const SYSCALLS: Metric = ("syscalls", "1/s");
    /// 99th percentile of the latency in each interval.
    pub const P99: Metric = ("latency_p99", "ns");
    /// Repairs that were asked for on the link.
    pub const NAKS: Metric = ("link_naks", "1/s");
    /// Frames that were sent again on the link.
    pub const REPAIRS: Metric = ("link_repairs", "1/s");
    /// Datagrams that the kernel dropped.
    pub const KERNEL_DROPS: Metric = ("kernel_drops", "1/s");
    /// All of them, in the order of a report.
    pub const ALL: [Metric; 11] = [
        DELIVERED,
        DELIVERED_BYTES,
        EMITTED,
        P99,
        CPU,
        RSS,
        CONTEXT_SWITCHES,
        SYSCALLS,
        NAKS,
        REPAIRS,
        KERNEL_DROPS,
    ];
}
