//! Words between the coordinator and the processes of an endurance run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::latency::{Recovery, Stretch};
use super::ledger::Tally;

/// Channel of the streams that are accounted for.
pub const CHANNEL: &str = "soak";
/// Pattern of their events; emitter 3 emits `steady.3`.
pub const PATTERN: &str = "steady.**";
/// Channel of what clogs queues: those who emit here wait for listeners that stand still.
pub const FLOOD_CHANNEL: &str = "flood";
/// Largest payload of the streams, in bytes; one event in some hundreds is as large.
pub const MAX_SIZE: usize = 64 << 10;

/// Role of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoakRole {
    /// Emits the steady streams of a machine.
    Emitters(EmittersPlan),
    /// Listens to them and keeps the accounts.
    Listeners(ListenersPlan),
    /// Connects, goes, floods, as it is told.
    Crowd(CrowdPlan),
    /// Connects and listens until it is killed.
    Victim(VictimPlan),
}

/// Emitters of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmittersPlan {
    /// Socket of the machine's broker.
    pub socket: PathBuf,
    /// Numbers of the emitters.
    pub emitters: Vec<u16>,
    /// Events per second of each.
    pub rate: f64,
    /// Seed of their payloads' sizes.
    pub seed: u64,
}

/// Listeners of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenersPlan {
    /// Socket of the machine's broker.
    pub socket: PathBuf,
    /// Manner in which each is connected.
    pub listeners: Vec<Manner>,
    /// For each emitter, whether it is on another machine.
    pub is_remote: Vec<bool>,
    /// Whether brokers of other machines must know of the listeners.
    pub is_linked: bool,
}

/// Manner in which a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// Whether it takes memory that the broker shares.
    pub shares_memory: bool,
    /// Whether it loses the oldest events rather than hold up who emits them.
    pub is_latest: bool,
}

/// Clients that come and go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CrowdPlan {
    /// Socket of the machine's broker.
    pub socket: PathBuf,
}

/// Clients that will be killed, or stand still.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VictimPlan {
    /// Socket of the machine's broker.
    pub socket: PathBuf,
    /// Channel of the clients.
    pub channel: String,
    /// Pattern of each client.
    pub patterns: Vec<String>,
    /// Whether they take shared memory.
    pub shares_memory: bool,
    /// Whether they emit as well.
    pub emits: bool,
}

/// Order to a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Emit from now on.
    Emit,
    /// Stop emitting, write everything, tell the totals.
    Pause,
    /// These were emitted: wait for them, then tell the accounts.
    Settle(Settlement),
    /// Let so many clients come, listen for a moment, and go.
    Churn(u32),
    /// Emit so many bytes to each of the clients that stand still.
    Flood {
        /// Clients, each of which listens to its own event.
        clients: u32,
        /// Bytes to each.
        bytes: u64,
    },
    /// Connect until that is refused, at most so often; then let go of all.
    Fill(u32),
    /// End.
    Quit,
}

/// Everything that listeners need to close the accounts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settlement {
    /// Number of events that each emitter emitted.
    pub totals: Vec<u64>,
    /// Longest wait for them, in milliseconds.
    pub patience_ms: u64,
    /// Window before the disturbance.
    pub quiet: Stretch,
    /// Window behind it.
    pub behind: Stretch,
}

/// Word of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The totals of emitters.
    Emitted(Vec<EmitterTotals>),
    /// The accounts of listeners.
    Settled(Box<Settled>),
    /// The crowd has done what it was told.
    Done {
        /// Clients that connected.
        connected: u32,
        /// Reason why one could not.
        refused: Option<String>,
    },
}

/// Totals of an emitter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmitterTotals {
    /// Number of the emitter.
    pub emitter: u16,
    /// Events that it emitted, ever.
    pub total: u64,
    /// Ranges of events, since the last pause, of which it was told that they may not have
    /// arrived.
    pub doubtful: Vec<(u64, u64)>,
    /// Times its connection was made again.
    pub reconnects: u64,
    /// Times the client refused an event, which was then emitted again.
    pub refused: u64,
    /// Errors that the client told of.
    pub errors: Vec<String>,
}

/// Accounts of a machine's listeners.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// Account of each listener.
    pub tallies: Vec<Tally>,
    /// Latencies of events of the same machine, and of others.
    pub local: Option<Recovery>,
    /// Latencies of events of other machines.
    pub remote: Option<Recovery>,
}
