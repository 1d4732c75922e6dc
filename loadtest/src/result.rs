//! Result of a measurement as a file: written by `run` and `compare`, read by `report`
//! and `diff`.
//!
//! ```text
//!   run ───────► RunResult ─────┐                        ┌──► report (HTML)
//!                               ├─► ResultFile ══ JSON ══┤
//!   compare ───► CompareResult ─┘        RESULT.md       └──► diff
//! ```
//! The fields are documented in `RESULT.md`, for readers in other languages. Nothing here
//! measures or draws. Invariant: a [`ResultFile`] that was read or written has passed its
//! check, so that readers may index by what it names: lists of equal length are, times
//! and percentiles ascend, numbers are finite.

mod check;
pub mod compare;
mod gaps;
pub mod latency;
pub mod machine;
pub mod run;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

pub use compare::{Cell, CompareResult, LoadInfo, PeerInfo};
pub use latency::{Latency, LatencyKind};
pub use machine::MachineInfo;
pub use run::{
    Capacity, CapacityStep, Phase, RoleKind, RoleTotals, RunResult, ScenarioInfo, Series, metric,
};

/// Name and version of the file format.
pub const SCHEMA: &str = "netcluster-loadtest/1";

/// Name of a result in the directory that `run --out` fills.
pub const RESULT_FILE: &str = "result.json";

/// Length of the longest file, in bytes: a longer one is refused before it is held in
/// memory.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Result of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum ResultFile {
    /// One run of a scenario.
    Run(Box<RunResult>),
    /// Several brokers under the same loads.
    Compare(Box<CompareResult>),
}

/// Fields that tell how the rest is to be read.
#[derive(Deserialize)]
struct Head {
    schema: String,
    kind: String,
}

impl ResultFile {
    /// Reads a file and checks it.
    ///
    /// # Errors
    /// If the file cannot be read, is of another schema, or contradicts itself; the error
    /// names the file and the place.
    pub fn read(path: &Path) -> Result<ResultFile> {
        let name = path.display();
        ensure!(!path.is_dir(), "{name} is a directory: {}", file_in(path));
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let mut text = String::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read {name}"))?;
        ensure!(
            text.len() as u64 <= MAX_FILE_BYTES,
            "{name} is longer than {MAX_FILE_BYTES} bytes"
        );
        ResultFile::parse(&text).with_context(|| format!("{name} is no result"))
    }

    /// Parses JSON and checks it.
    ///
    /// # Errors
    /// The same as of [`ResultFile::read`].
    pub fn parse(text: &str) -> Result<ResultFile> {
        let head: Head = serde_json::from_str(text)?;
        ensure!(
            head.schema == SCHEMA,
            "its schema is {:?}, this program reads {SCHEMA:?}",
            head.schema
        );
        let result = match head.kind.as_str() {
            "run" => ResultFile::Run(serde_json::from_str(text)?),
            "compare" => ResultFile::Compare(serde_json::from_str(text)?),
            other => bail!("its kind is {other:?}, neither \"run\" nor \"compare\""),
        };
        result.check()?;
        Ok(result)
    }

    /// Checks the result and writes it as one line of JSON.
    ///
    /// # Errors
    /// If the result contradicts itself or cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = self.to_json()?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Checks the result and returns its JSON.
    ///
    /// # Errors
    /// If the result contradicts itself.
    pub fn to_json(&self) -> Result<String> {
        self.check()?;
        Ok(match self {
            ResultFile::Run(run) => serde_json::to_string(run)?,
            ResultFile::Compare(compare) => serde_json::to_string(compare)?,
        })
    }

    fn check(&self) -> Result<()> {
        match self {
            ResultFile::Run(run) => check::run(run),
            ResultFile::Compare(compare) => check::compare(compare),
        }
    }
}

/// Says what to give instead of a directory.
fn file_in(directory: &Path) -> String {
    let file = directory.join(RESULT_FILE);
    if file.is_file() {
        format!("give the result in it, {}", file.display())
    } else {
        format!(
            "give a file that `compare --out` wrote, or {RESULT_FILE} of what `run --out` wrote"
        )
    }
}

/// Returns the present time in the form in which results tell their start.
pub fn unix_ms_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
