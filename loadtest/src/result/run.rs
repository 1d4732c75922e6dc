//! Result of one run of a scenario.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::result::gaps;
use crate::result::{Latency, MachineInfo, SCHEMA};

/// Run of a scenario, on one machine or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Schema of the file: [`SCHEMA`].
    pub schema: String,
    /// Kind of the result: `run`.
    pub kind: String,
    /// Whether the run went to its end with all machines.
    pub complete: bool,
    /// Notes that a reader must know, in sentences: why the run is not complete, what
    /// could not be measured.
    pub notes: Vec<String>,
    /// Time at which the measured window began, by the coordinator's clock.
    pub started_unix_ms: u64,
    /// Length of the measured window; totals are counted in it.
    pub seconds: f64,
    /// Scenario that was run.
    pub scenario: ScenarioInfo,
    /// Events per second that all emitters together were to emit; `None` if one of them
    /// emits as fast as it can.
    #[serde(default)]
    pub offered_per_s: Option<f64>,
    /// Machines that took part.
    pub machines: Vec<MachineInfo>,
    /// Totals by role and machine.
    pub roles: Vec<RoleTotals>,
    /// Numbers that were measured over time.
    pub series: Vec<Series>,
    /// Latencies of events.
    pub latencies: Vec<Latency>,
    /// Counters of the brokers and their links in the window, by machine and name.
    pub counters: BTreeMap<String, BTreeMap<String, u64>>,
    /// Parts of the window, in order.
    pub phases: Vec<Phase>,
    /// Outcome of a search for the highest rate.
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

/// Scenario as it was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScenarioInfo {
    /// Name of the scenario.
    pub name: String,
    /// Text of the scenario.
    pub toml: String,
    /// Arguments of the command line that changed the scenario, as they were typed.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// Kind of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleKind {
    /// Emits events.
    Emitter,
    /// Counts events.
    Listener,
    /// Carries events.
    Broker,
}

impl RoleKind {
    /// Names the kind in words.
    pub fn name(self) -> &'static str {
        match self {
            RoleKind::Emitter => "emitter",
            RoleKind::Listener => "listener",
            RoleKind::Broker => "broker",
        }
    }
}

/// Totals of one role on one machine. Counters that its kind does not have are 0: an
/// emitter delivers nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoleTotals {
    /// Name of the role in the scenario.
    pub name: String,
    /// Machine that the role ran on.
    pub machine: String,
    /// Kind of the role.
    pub kind: RoleKind,
    /// Channel of the role's clients.
    pub channel: String,
    /// Number of the role's processes or connections.
    pub processes: u64,
    /// Events that the role emitted.
    pub emitted: u64,
    /// Events that the role was given.
    pub delivered: u64,
    /// Payload of the events that the role emitted or was given.
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

/// Number over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Role that was measured.
    pub role: String,
    /// Machine that the role ran on.
    pub machine: String,
    /// Name of the number: one of [`metric`], or another.
    pub metric: String,
    /// Unit of the number: that of [`metric`], or another; shown as it is.
    pub unit: String,
    /// Time since the window began; ascending. A rate is that of the time up to here.
    pub at_ms: Vec<u64>,
    /// Values, one for each of `at_ms`; not-a-number (`null` in JSON) where there is
    /// none.
    #[serde(with = "gaps")]
    pub values: Vec<f64>,
}

/// Part of the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Name of the phase in the scenario.
    pub name: String,
    /// Begin of the phase, since the window began.
    pub from_ms: u64,
    /// End of the phase, since the window began.
    pub to_ms: u64,
}

/// Search for the highest rate that holds a goal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// 99th percentile that must hold.
    pub goal_p99_us: f64,
    /// Rates that were tried, in the order of time.
    pub steps: Vec<CapacityStep>,
    /// Highest rate that held for the whole scenario; `None` if no rate did.
    pub found_per_s: Option<f64>,
}

/// Rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityStep {
    /// Events per second that were to be emitted.
    pub rate_per_s: f64,
    /// Seconds that the rate was tried for.
    #[serde(default)]
    pub seconds: f64,
    /// Whether the rate was tried for the whole scenario, not for a step of the search.
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
    /// Whether the try was clean, on time, and held the goal.
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
    /// Processors that were busy: 1 is one of them all the time.
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
    /// Metrics in the order of a report.
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
