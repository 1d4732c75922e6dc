//! Messages of coordinator and agent once they have greeted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::delivery_check::Emitted;
use crate::play::plan::{Note, Part};
use crate::scenario::Backend;

/// Order of the coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Tell what your clock says; the number comes back with the answer.
    Clock(u64),
    /// Start a broker, or attach to the one that runs.
    Broker(BrokerPlan),
    /// Wait until the broker has so many peers.
    AwaitPeers(usize),
    /// Start these processes and wait until they are ready.
    Start(Vec<ProcessPlan>),
    /// Begin at this time of your clock, and tell how the run goes this often.
    Begin {
        /// Time of the begin.
        at_ns: u64,
        /// Time between two readings.
        interval_ms: u64,
    },
    /// Kill the broker, and start it again later.
    RestartBroker {
        /// Time that the broker is gone.
        for_ms: u64,
    },
    /// Stop emitting.
    Stop,
    /// These were emitted: wait for what is missing, then tell the totals.
    Finish(Vec<Emitted>),
    /// The run is over.
    End,
}

/// Broker of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrokerPlan {
    /// Whether a broker is started; else the run attaches to one.
    pub start: bool,
    /// Shards of the broker.
    pub shards: Option<u16>,
    /// Back end of the broker.
    pub backend: Option<Backend>,
    /// Link to the brokers of the other machines.
    pub link: Option<LinkPlan>,
}

/// Link of a broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkPlan {
    /// Name of a cluster that is this run's alone.
    pub cluster: String,
    /// Name of the broker for people.
    pub node: String,
    /// Channels whose emitters wait for listeners on other machines.
    pub pressured: Vec<String>,
}

/// Process of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessPlan {
    /// Role of the process, by its place in the run.
    pub role: usize,
    /// Name of the process in errors.
    pub name: String,
    /// Part that the process plays.
    pub part: Part,
}

/// Answer of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Time of the machine's clock.
    Clock {
        /// Number of the question.
        number: u64,
        /// Time that the clock said.
        at_ns: u64,
    },
    /// The last order that starts something was carried out.
    Ready,
    /// A process tells something.
    Note {
        /// Role of the process.
        role: usize,
        /// Place of the process among all of this machine.
        process: usize,
        /// Words of the process.
        note: Note,
    },
    /// A process has ended before it was told to.
    Gone {
        /// Role of the process.
        role: usize,
        /// Place of the process among all of this machine.
        process: usize,
        /// Name of the process.
        name: String,
    },
    /// Cost of the broker so far.
    Reading(Reading),
    /// The run is over, with the counters of the broker in it.
    Ended(BTreeMap<String, u64>),
    /// A broker runs here.
    Broker {
        /// Release of the broker.
        version: String,
        /// Back end of the broker.
        backend: String,
    },
    /// This machine cannot go on.
    Failed(String),
}

/// Cost of a broker since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Time of the reading, by the machine's clock.
    pub at_ns: u64,
    /// User and system time.
    pub cpu_ns: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Times a thread slept or was taken off its core.
    pub context_switches: u64,
    /// Calls into the kernel.
    pub syscalls: Option<u64>,
    /// Requests for repairs that the broker sent.
    pub naks: Option<u64>,
    /// Datagrams that the broker sent again.
    pub repairs: Option<u64>,
    /// Datagrams that the kernel dropped.
    pub kernel_drops: Option<u64>,
}
