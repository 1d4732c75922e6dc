//! The result of a comparison: several brokers under the same loads.

use serde::{Deserialize, Serialize};

use crate::median::Median;
use crate::result::{MachineInfo, SCHEMA};

/// Brokers compared on one machine, in interleaved runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareResult {
    /// [`SCHEMA`].
    pub schema: String,
    /// `compare`.
    pub kind: String,
    /// Whether all runs were made.
    pub complete: bool,
    /// What a reader must know, in sentences.
    pub notes: Vec<String>,
    /// When it began.
    pub started_unix_ms: u64,
    /// Where it ran.
    pub machine: MachineInfo,
    /// The loads, in the order of the report.
    pub loads: Vec<LoadInfo>,
    /// The brokers, in the order of the report.
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

/// A load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadInfo {
    /// Its short name, such as `1→8 1 KB`; unique.
    pub name: String,
    /// What it does, in a sentence.
    pub what: String,
}

/// A broker that was compared, or was to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Its name; unique.
    pub name: String,
    /// Its version, as it tells it.
    pub version: String,
    /// By which way its clients reached it, such as `unix socket`.
    pub transport: String,
    /// Why it was not measured; none if it was.
    pub skipped: Option<String>,
}

/// A number of one peer under one load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Whose.
    pub peer: String,
    /// Under which load.
    pub load: String,
    /// What, such as `delivered_events`.
    pub metric: String,
    /// Its unit, such as `events/s`.
    pub unit: String,
    /// Whether more is better; else less is.
    pub higher_is_better: bool,
    /// The middle of the runs.
    pub median: f64,
    /// Lower end of the 95 % interval of the median; the least of under six runs.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// How many runs.
    pub runs: u64,
    /// Events lost in all runs together.
    pub lost: u64,
}

impl Cell {
    /// The same with these medians.
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
