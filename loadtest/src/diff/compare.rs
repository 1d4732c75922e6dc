//! Numbers of a comparison that are compared, and its conditions.

use crate::diff::number::{LEAST_CHANGE, Number, Spread};
use crate::diff::{incomplete, machine_conditions};
use crate::result::CompareResult;

/// Number of runs that a verdict needs: three are all on one side of three others by
/// chance in one of ten cases.
const MIN_RUNS: u64 = 4;

/// Tells how the conditions differ.
pub fn conditions(before: &CompareResult, after: &CompareResult) -> Vec<String> {
    let mut told: Vec<String> =
        [incomplete("before", before.complete), incomplete("after", after.complete)]
            .into_iter()
            .flatten()
            .collect();
    told.extend(machine_conditions(&before.machine, &after.machine));
    for (name, result) in [("before", before), ("after", after)] {
        let few = result.cells.iter().filter(|cell| cell.runs < MIN_RUNS).count();
        if few > 0 {
            told.push(format!(
                "the result {name} has {few} cells of fewer than {MIN_RUNS} runs, which tell no \
                 noise and are left out"
            ));
        }
    }
    for peer in &before.peers {
        let name = &peer.name;
        let Some(other) = after.peers.iter().find(|other| other.name == *name) else { continue };
        if peer.version != other.version {
            told.push(format!("{name}: version {} → {}", peer.version, other.version));
        }
        if peer.transport != other.transport {
            told.push(format!("{name}: transport {} → {}", peer.transport, other.transport));
        }
    }
    told
}

/// Returns the numbers of a comparison: the median and the losses of each cell.
pub fn numbers(compare: &CompareResult) -> Vec<Number> {
    let mut numbers = Vec::new();
    for cell in compare.cells.iter().filter(|cell| cell.runs >= MIN_RUNS) {
        let what = format!("{}, {}: {}", cell.peer, cell.load, cell.metric);
        numbers.push(Number {
            unit: cell.unit.clone(),
            higher_is_better: Some(cell.higher_is_better),
            least_change: LEAST_CHANGE,
            spread: Spread { value: cell.median, low: cell.low, high: cell.high },
            what: what.clone(),
        });
        // Of how many is not told: what counts is whether there are any.
        numbers.push(Number {
            what: format!("{what}, lost"),
            unit: "events".into(),
            higher_is_better: Some(false),
            least_change: LEAST_CHANGE,
            spread: Spread::rare(cell.lost, 1_000_000),
        });
    }
    numbers
}
