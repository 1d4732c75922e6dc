//! What a process of a scenario is told, and what it says: JSON lines, as for all
//! processes of a run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::delivery_check::Emitted;
use crate::scenario::numbers::{Arrivals, Rate};
use crate::scenario::schedule::Phase;
use crate::scenario::size::Sizes;

/// A part, and where the broker is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartPlan {
    /// Where to connect.
    pub socket: PathBuf,
    /// What to do there.
    pub part: Part,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Emit.
    Emitters(EmittersPlan),
    /// Listen.
    Listeners(ListenersPlan),
    /// Come and go.
    Churn(ChurnPlan),
}

/// Clients that emit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmittersPlan {
    /// The role's name.
    pub name: String,
    /// Each client.
    pub emitters: Vec<EmitterPlan>,
    /// Bytes of payloads.
    pub size: Sizes,
    /// Events per second and client.
    pub rate: Rate,
    /// How they are spread.
    pub arrivals: Arrivals,
    /// Whether answers come.
    pub round_trip: bool,
    /// The run's course.
    pub phases: Vec<Phase>,
    /// Where random numbers start; each client adds its own.
    pub seed: u64,
    /// Whether brokers of other machines must know of who waits for answers.
    pub is_linked: bool,
}

/// A client that emits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmitterPlan {
    /// Its number, as in payloads.
    pub id: u16,
    /// Its channel.
    pub channel: String,
    /// Its events, in turn; their places are in payloads.
    pub events: Vec<String>,
}

/// Clients that listen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenersPlan {
    /// The role's name.
    pub name: String,
    /// Each client.
    pub listeners: Vec<ListenerPlan>,
    /// Emitting clients that at least one of them hears.
    pub sources: Vec<SourcePlan>,
    /// Whether each event is answered.
    pub replies: bool,
    /// How long each event takes.
    pub delay_us: u64,
    /// Rather lose than delay.
    pub latest: bool,
    /// Compare every byte.
    pub verify_full: bool,
    /// Bytes of the largest payload.
    pub max_size: usize,
    /// The run's course.
    pub phases: Vec<Phase>,
    /// Whether brokers of other machines must know of it.
    pub is_linked: bool,
}

/// A client that listens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerPlan {
    /// Its number in its role and machine.
    pub client: usize,
    /// Its channel.
    pub channel: String,
    /// What it listens to.
    pub patterns: Vec<String>,
}

/// An emitting client as those see it that hear it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourcePlan {
    /// Its number.
    pub id: u16,
    /// Its channel.
    pub channel: String,
    /// What it emits.
    pub events: Vec<String>,
    /// Its machine.
    pub machine: usize,
    /// Whether that is another one.
    pub is_remote: bool,
    /// Whether its payloads tell when they were due.
    pub is_timed: bool,
    /// How far its machine's clock is behind this one's.
    pub behind_ns: i64,
}

/// Clients that come and go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChurnPlan {
    /// The role's name.
    pub name: String,
    /// Their channel.
    pub channel: String,
    /// New ones per second.
    pub connects_per_s: f64,
    /// How long each stays.
    pub lifetime_ms: u64,
    /// What each listens to.
    pub patterns: Vec<String>,
    /// The run's course.
    pub phases: Vec<Phase>,
}

/// What a process is told while it plays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Begin at this time of the machine's clock, and tell how it goes this often.
    Begin {
        /// When.
        at_ns: u64,
        /// Between ticks.
        interval_ms: u64,
    },
    /// End now.
    Stop,
    /// These were emitted: wait for what is missing, then tell the totals.
    Finish(Vec<Emitted>),
    /// Go.
    Quit,
}

/// What a process says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// How it goes.
    Tick(Tick),
    /// All was emitted.
    Emitted {
        /// How much of each.
        totals: Vec<Emitted>,
        /// Bytes of all payloads.
        bytes: u64,
        /// Times the client refused an event, which was not emitted then.
        refused: u64,
    },
    /// All was heard that will be.
    Heard(Box<Heard>),
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// When, by the machine's clock.
    pub at_ns: u64,
    /// Events emitted so far; with churn, connections.
    pub emitted: u64,
    /// Events received so far.
    pub received: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// Latencies since the last tick, if any.
    pub latency_ns: Option<(u64, u64)>,
}

/// The totals of a process that listens, or comes and goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// Events that came, each once and whole.
    pub received: u64,
    /// Bytes of them.
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
    /// Latencies of events of the same machine, or there and back: value, count.
    pub near: Vec<(u64, u64)>,
    /// Latencies of events of other machines.
    pub far: Vec<(u64, u64)>,
}

impl Heard {
    /// Adds another process's.
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
