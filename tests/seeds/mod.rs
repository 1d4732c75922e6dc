//! Seeds that a seeded test runs.
//!
//! ```text
//!   KIND_SEED=N    that one alone: how a failure is replayed
//!   KIND_BASE=N    from there on, instead of from 0 on
//!   the count      that of the test, or a variable's
//! ```
//! Without variables a test runs the same seeds each time; `.ci/run` sets a base that
//! follows from the commit.

use std::ops::Range;
use std::panic::{RefUnwindSafe, catch_unwind, resume_unwind};

/// A family of seeded tests: its variables, and where its tests are.
pub struct Seeds {
    /// Word that the family's variables begin with.
    pub kind: &'static str,
    /// Variable that says how many seeds.
    pub count: &'static str,
    /// Test binary of the family.
    pub suite: &'static str,
}

impl Seeds {
    /// Runs a test for each seed, `default` of them if nothing else is said. A seed that
    /// fails is printed with the command that replays it.
    pub fn run(&self, test: &str, default: u64, run: impl Fn(u64) + RefUnwindSafe) {
        for seed in self.range(default, |name| std::env::var(name).ok()) {
            if let Err(panic) = catch_unwind(|| run(seed)) {
                let Seeds { kind, suite, .. } = self;
                eprintln!(
                    "seed {seed} failed; replay: {kind}_SEED={seed} cargo test --test {suite} {test}"
                );
                resume_unwind(panic);
            }
        }
    }

    fn range(&self, default: u64, variable: impl Fn(&str) -> Option<String>) -> Range<u64> {
        let number = |name: &str| {
            let text = variable(name)?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is no number")))
        };
        if let Some(seed) = number(&format!("{}_SEED", self.kind)) {
            return seed..seed + 1;
        }
        let first = number(&format!("{}_BASE", self.kind)).unwrap_or(0);
        first..first + number(self.count).unwrap_or(default)
    }
}

#[test]
fn the_environment_says_which_seeds() {
    let seeds = Seeds { kind: "SIM", count: "SIM_SEEDS", suite: "x" };
    let with = |variables: &[(&str, &str)]| {
        seeds.range(5, |name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    };
    assert_eq!(with(&[]), 0..5);
    assert_eq!(with(&[("SIM_SEEDS", "9")]), 0..9);
    assert_eq!(with(&[("SIM_BASE", "1000")]), 1000..1005);
    assert_eq!(with(&[("SIM_BASE", "1000"), ("SIM_SEEDS", "2")]), 1000..1002);
    assert_eq!(with(&[("SIM_BASE", "1000"), ("SIM_SEED", "7")]), 7..8);
}
