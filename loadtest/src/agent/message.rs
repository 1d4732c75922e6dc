//! What coordinator and agent say to each other once they have greeted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::delivery_check::Emitted;
use crate::play::plan::{Note, Part};
use crate::scenario::Backend;

/// From the coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// What does your clock say?
    Clock(u64),
    /// Start a broker, or attach to the one that runs.
    Broker(BrokerPlan),
    /// Wait until the broker has so many peers.
    AwaitPeers(usize),
    /// Start these processes and wait until they are ready.
    Start(Vec<ProcessPlan>),
    /// Begin at this time of your clock, and tell how it goes this often.
    Begin {
        /// When.
        at_ns: u64,
        /// Between readings.
        interval_ms: u64,
    },
    /// Kill the broker, and start it again later.
    RestartBroker {
        /// How long it is gone.
        for_ms: u64,
    },
    /// Stop emitting.
    Stop,
    /// These were emitted: wait for what is missing, then tell the totals.
    Finish(Vec<Emitted>),
    /// The run is over.
    End,
}

/// A broker of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrokerPlan {
    /// Start one; else attach.
    pub start: bool,
    /// Its shards.
    pub shards: Option<u16>,
    /// Its back end.
    pub backend: Option<Backend>,
    /// The link to those of the other machines.
    pub link: Option<LinkPlan>,
}

/// A broker's link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkPlan {
    /// A cluster of this run alone.
    pub cluster: String,
    /// Its name for people.
    pub node: String,
    /// Channels whose emitters wait for listeners on other machines.
    pub pressured: Vec<String>,
}

/// A process of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessPlan {
    /// The role, by its place in the run.
    pub role: usize,
    /// For errors.
    pub name: String,
    /// What it does.
    pub part: Part,
}

/// From the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The clock.
    Clock {
        /// The question's number.
        number: u64,
        /// What it said.
        at_ns: u64,
    },
    /// The last order that starts something is carried out.
    Ready,
    /// What a process says.
    Note {
        /// Its role.
        role: usize,
        /// Its place among all of this machine.
        process: usize,
        /// What.
        note: Note,
    },
    /// A process has ended before it was told to.
    Gone {
        /// Its role.
        role: usize,
        /// Its place among all of this machine.
        process: usize,
        /// What it was called.
        name: String,
    },
    /// What the broker costs.
    Reading(Reading),
    /// The run is over; what the broker counted in it.
    Ended(BTreeMap<String, u64>),
    /// The broker that runs here.
    Broker {
        /// Its release.
        version: String,
        /// Its back end.
        backend: String,
    },
    /// This machine cannot go on.
    Failed(String),
}

/// What the broker costs, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// When, by the machine's clock.
    pub at_ns: u64,
    /// User and system time.
    pub cpu_ns: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Times a thread slept or was taken off its core.
    pub context_switches: u64,
    /// Calls into the kernel.
    pub syscalls: Option<u64>,
    /// Requests for repairs that it sent.
    pub naks: Option<u64>,
    /// Datagrams that it sent again.
    pub repairs: Option<u64>,
    /// Datagrams that the kernel dropped.
    pub kernel_drops: Option<u64>,
}
