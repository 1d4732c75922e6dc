//! The scenarios, in the order in which they are run.

mod delivery;
mod encodings;
mod endings;
mod lies;
mod listeners;
mod pressure;
mod refusals;
mod restarts;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::runner::{Driver, Programs, Stage};

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Capabilities of the client's driver that it needs.
    pub needs: &'static [&'static str],
    run: fn(&Stage<'_>) -> Result<()>,
}

/// How a scenario came out.
#[derive(Debug)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// The driver has not got a capability that it needs.
    NotApplicable(&'static str),
    /// It failed, and how.
    Failed(anyhow::Error),
}

/// A scenario of a function's name.
macro_rules! scenario {
    ($function:ident) => {
        scenario!($function,)
    };
    ($function:ident, $($capability:literal),*) => {
        $crate::scenarios::Scenario {
            name: stringify!($function),
            needs: &[$($capability),*],
            run: $function,
        }
    };
}
use scenario;

/// All scenarios.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    let parts = [
        delivery::SCENARIOS,
        encodings::SCENARIOS,
        listeners::SCENARIOS,
        refusals::SCENARIOS,
        endings::SCENARIOS,
        pressure::SCENARIOS,
        restarts::SCENARIOS,
        lies::SCENARIOS,
    ];
    parts.into_iter().flatten()
}

impl Scenario {
    /// Runs it; the client's driver has these capabilities.
    pub fn run(&self, programs: &Programs, can: impl Fn(&str) -> bool) -> Outcome {
        match self.needs.iter().find(|needed| !can(needed)) {
            Some(missing) => Outcome::NotApplicable(missing),
            None => match (self.run)(&Stage::new(programs)) {
                Ok(()) => Outcome::Passed,
                Err(error) => Outcome::Failed(error),
            },
        }
    }
}

/// The vectors, read anew.
fn vectors(key: &str) -> Result<Vec<Value>> {
    let vectors = crate::vectors::make();
    Ok(vectors[key].as_array().with_context(|| key.to_owned())?.clone())
}

/// Takes texts that are these numbers, in their order, each once.
fn numbers(driver: &mut Driver, expected: impl IntoIterator<Item = u64>) -> Result<()> {
    for number in expected {
        let event = driver.event().with_context(|| format!("number {number}"))?;
        let got = event.number()?;
        if got != number {
            bail!("number {number}, not {got}: {}", event.report);
        }
    }
    Ok(())
}
