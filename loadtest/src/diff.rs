//! Changes from one result to another, beyond noise.
//!
//! ```text
//!   before ─┐   numbers with intervals    ┌─ worse, better: intervals apart and
//!           ├─► of both (run, compare) ───┤  more than the least change
//!   after ──┘                             └─ else within noise
//! ```
//! The conditions of the measurements are compared too: a change of the kernel explains
//! more than any interval. Nobody knows how much a further run would differ from either;
//! so small changes count as noise, see [`number`].

mod compare;
pub mod number;
mod run;
mod text;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::result::{MachineInfo, ResultFile};
pub use number::{Change, Number, Spread, Verdict};

/// Changes from one result to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Diff {
    /// Differences of the conditions, in sentences: numbers may differ for that.
    pub conditions: Vec<String>,
    /// Changes of the numbers that both have.
    pub changes: Vec<Change>,
    /// Numbers that only the first has.
    pub only_before: Vec<String>,
    /// Numbers that only the second has.
    pub only_after: Vec<String>,
}

/// Compares two results.
///
/// # Errors
/// If the results are of different kinds.
pub fn diff(before: &ResultFile, after: &ResultFile) -> Result<Diff> {
    let (conditions, old, new) = match (before, after) {
        (ResultFile::Run(a), ResultFile::Run(b)) => {
            (run::conditions(a, b), run::numbers(a), run::numbers(b))
        }
        (ResultFile::Compare(a), ResultFile::Compare(b)) => {
            (compare::conditions(a, b), compare::numbers(a), compare::numbers(b))
        }
        _ => bail!("one is a run, the other a comparison"),
    };
    let known: BTreeMap<&str, &Number> = new.iter().map(|of| (of.what.as_str(), of)).collect();
    let old_names: BTreeMap<&str, ()> = old.iter().map(|of| (of.what.as_str(), ())).collect();
    let mut diff = Diff { conditions, ..Diff::default() };
    for number in &old {
        match known.get(number.what.as_str()) {
            Some(now) => diff.changes.push(number.change(now)),
            None => diff.only_before.push(number.what.clone()),
        }
    }
    let is_new = |number: &&Number| !old_names.contains_key(number.what.as_str());
    diff.only_after = new.iter().filter(is_new).map(|number| number.what.clone()).collect();
    Ok(diff)
}

impl Diff {
    /// Returns whether any number is worse.
    pub fn is_worse(&self) -> bool {
        self.changes.iter().any(|change| change.verdict == Verdict::Worse)
    }
}

/// Tells the differences of two machines that are taken for the same.
fn machine_conditions(before: &MachineInfo, after: &MachineInfo) -> Vec<String> {
    let cores = [before.cores.to_string(), after.cores.to_string()];
    let facts = [
        ("processor", &before.cpu, &after.cpu),
        ("cores", &cores[0], &cores[1]),
        ("system", &before.os, &after.os),
        ("kernel", &before.kernel, &after.kernel),
    ];
    let name = &before.name;
    let mut told: Vec<String> = facts
        .into_iter()
        .filter(|(_, old, new)| old != new)
        .map(|(fact, old, new)| format!("{name}: {fact} {old} → {new}"))
        .collect();
    let programs = before.versions.keys().chain(after.versions.keys());
    let programs: std::collections::BTreeSet<&String> = programs.collect();
    for program in programs {
        let of = |machine: &MachineInfo| {
            machine.versions.get(program).cloned().unwrap_or_else(|| "none".into())
        };
        let (old, new) = (of(before), of(after));
        if old != new {
            told.push(format!("{name}: {program} {old} → {new}"));
        }
    }
    told
}

/// Says that a result is partial, if so.
fn incomplete(name: &str, complete: bool) -> Option<String> {
    (!complete).then(|| format!("the result {name} is not complete"))
}

#[cfg(test)]
mod tests;
