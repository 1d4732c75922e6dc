//! Result of a comparison: several brokers under the same loads.

use serde::{Deserialize, Serialize};

use crate::median::Median;
use crate::result::{MachineInfo, SCHEMA};

/// Brokers that were compared on one machine, in interleaved runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareResult {
    /// Schema of the file: [`SCHEMA`].
    pub schema: String,
    /// Kind of the result: `compare`.
    pub kind: String,
    /// Whether all runs were made.
    pub complete: bool,
    /// Notes that a reader must know, in sentences.
    pub notes: Vec<String>,
    /// Time at which the comparison began.
    pub started_unix_ms: u64,
    /// Machine that the comparison ran on.
    pub machine: MachineInfo,
    /// Loads, in the order of the report.
    pub loads: Vec<LoadInfo>,
    /// Brokers, in the order of the report.
    pub peers: Vec<PeerInfo>,
    /// Medians: at most one for each peer, load and metric.
    pub cells: Vec<Cell>,
}

impl Default for CompareResult {
    fn default() -> CompareResult {
        CompareResult {
            schema: SCHEMA.into(),
            kind: "compare".into(),
            complete: true,
            notes: Vec::new(),
            started_unix_ms: 0,
            machine: MachineInfo::default(),
            loads: Vec::new(),
            peers: Vec::new(),
            cells: Vec::new(),
        }
    }
}

/// Load of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadInfo {
    /// Short name of the load, such as `1→8 1 KB`; unique.
    pub name: String,
    /// Description of the load, in a sentence.
    pub what: String,
}

/// Broker that was compared, or was to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Name of the broker; unique.
    pub name: String,
    /// Version that the broker tells.
    pub version: String,
    /// Way by which clients reached the broker, such as `unix socket`.
    pub transport: String,
    /// Reason why the broker was not measured; `None` if it was.
    pub skipped: Option<String>,
}

/// Number of one peer under one load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Name of the peer.
    pub peer: String,
    /// Name of the load.
    pub load: String,
    /// Name of the number, such as `delivered_events`.
    pub metric: String,
    /// Unit of the number, such as `events/s`.
    pub unit: String,
    /// Whether more is better; else less is.
    pub higher_is_better: bool,
    /// Median of the runs.
    pub median: f64,
    /// Lower end of the 95 % interval of the median; the least of under six runs.
    pub low: f64,
    /// Upper end of that interval.
    pub high: f64,
    /// Number of runs.
    pub runs: u64,
    /// Events lost in all runs together.
    pub lost: u64,
}

impl Cell {
    /// Returns the cell with this median and its interval.
    pub fn with_median(self, median: Median) -> Cell {
        Cell {
            median: median.median,
            low: median.low,
            high: median.high,
            runs: median.runs as u64,
            ..self
        }
    }
}
