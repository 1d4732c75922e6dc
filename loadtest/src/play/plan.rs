//! Plans, control messages and notes of a scenario's processes: JSON lines, as for all
//! processes of a run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::delivery_check::Emitted;
use crate::scenario::numbers::{Arrivals, Rate};
use crate::scenario::schedule::Phase;
use crate::scenario::size::Sizes;

/// Plan of a part, with the broker's socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartPlan {
    /// Socket to connect to.
    pub socket: PathBuf,
    /// Part to play there.
    pub part: Part,
}

/// Part of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Clients that emit.
    Emitters(EmittersPlan),
    /// Clients that listen.
    Listeners(ListenersPlan),
    /// Clients that come and go.
    Churn(ChurnPlan),
}

/// Plan of clients that emit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmittersPlan {
    /// Name of the role.
    pub name: String,
    /// Plan of each client.
    pub emitters: Vec<EmitterPlan>,
    /// Bytes of payloads.
    pub size: Sizes,
    /// Events per second and client.
    pub rate: Rate,
    /// Spread of the events over time.
    pub arrivals: Arrivals,
    /// Whether answers come.
    pub round_trip: bool,
    /// Phases of the run.
    pub phases: Vec<Phase>,
    /// Seed of random numbers, to which each client adds its number.
    pub seed: u64,
    /// Whether brokers of other machines must know of the clients that wait for answers.
    pub is_linked: bool,
}

/// Plan of a client that emits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmitterPlan {
    /// Number of the client, as in payloads.
    pub id: u16,
    /// Channel of the client.
    pub channel: String,
    /// Events of the client, in turn; their places are in payloads.
    pub events: Vec<String>,
}

/// Plan of clients that listen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenersPlan {
    /// Name of the role.
    pub name: String,
    /// Plan of each client.
    pub listeners: Vec<ListenerPlan>,
    /// Emitting clients that at least one of these hears.
    pub sources: Vec<SourcePlan>,
    /// Whether each event is answered.
    pub replies: bool,
    /// Time that each event takes, in microseconds.
    pub delay_us: u64,
    /// Whether the clients rather lose events than delay others.
    pub latest: bool,
    /// Whether every byte is compared.
    pub verify_full: bool,
    /// Bytes of the largest payload.
    pub max_size: usize,
    /// Phases of the run.
    pub phases: Vec<Phase>,
    /// Whether brokers of other machines must know of the listeners.
    pub is_linked: bool,
}

/// Plan of a client that listens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerPlan {
    /// Number of the client in its role and machine.
    pub client: usize,
    /// Channel of the client.
    pub channel: String,
    /// Patterns of the client.
    pub patterns: Vec<String>,
}

/// Emitting client, for those that hear it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourcePlan {
    /// Number of the client.
    pub id: u16,
    /// Channel of the client.
    pub channel: String,
    /// Events that the client emits.
    pub events: Vec<String>,
    /// Machine of the client.
    pub machine: usize,
    /// Whether that machine is another one.
    pub is_remote: bool,
    /// Whether the client's payloads tell when they were due.
    pub is_timed: bool,
    /// Time by which the clock of the client's machine is behind this one's.
    pub behind_ns: i64,
}

/// Plan of clients that come and go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChurnPlan {
    /// Name of the role.
    pub name: String,
    /// Channel of the clients.
    pub channel: String,
    /// New clients per second.
    pub connects_per_s: f64,
    /// Time that each client stays, in milliseconds.
    pub lifetime_ms: u64,
    /// Patterns that each client listens to.
    pub patterns: Vec<String>,
    /// Phases of the run.
    pub phases: Vec<Phase>,
}

/// Control message to a process that plays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Begin at this time of the machine's clock, and tell how the run goes this often.
    Begin {
        /// Time of the begin.
        at_ns: u64,
        /// Time between two ticks.
        interval_ms: u64,
    },
    /// End now.
    Stop,
    /// These were emitted: wait for what is missing, then tell the totals.
    Finish(Vec<Emitted>),
    /// End the process.
    Quit,
}

/// Note of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Tick: how the run goes.
    Tick(Tick),
    /// All events were emitted.
    Emitted {
        /// Number of events of each name.
        totals: Vec<Emitted>,
        /// Bytes of all payloads.
        bytes: u64,
        /// Times the client refused an event, which was not emitted then.
        refused: u64,
    },
    /// All events were heard that will be.
    Heard(Box<Heard>),
}

/// Counts of a process so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Time of the tick, by the machine's clock.
    pub at_ns: u64,
    /// Events emitted so far; with churn, connections.
    pub emitted: u64,
    /// Events received so far.
    pub received: u64,
    /// Bytes of the events received so far.
    pub received_bytes: u64,
    /// Median and 99th percentile of the latencies since the last tick, if there were
    /// any.
    pub latency_ns: Option<(u64, u64)>,
}

/// Totals of a process that listens, or comes and goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// Events that came, each once and whole.
    pub received: u64,
    /// Bytes of these events.
    pub bytes: u64,
    /// Events that never came.
    pub lost: u64,
    /// Events that came again.
    pub duplicated: u64,
    /// Events that came after later ones.
    pub disordered: u64,
    /// Events that were not as emitted.
    pub corrupt: u64,
    /// Things that did not work, and were not fatal: connections, answers.
    pub failed: u64,
    /// Latencies of events of the same machine, or of round trips: value and count.
    pub near: Vec<(u64, u64)>,
    /// Latencies of events of other machines.
    pub far: Vec<(u64, u64)>,
}

impl Heard {
    /// Adds the totals of another process.
    pub fn add(&mut self, other: &Heard) {
        self.received += other.received;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.disordered += other.disordered;
        self.corrupt += other.corrupt;
        self.failed += other.failed;
        self.near.extend(&other.near);
        self.far.extend(&other.far);
    }
}
