//! Comparison of several brokers under the same loads: ours, the relay, and those of
//! others.
//!
//! ```text
//!   args ──► loads × contestants ──► comparison (interleaved runs) ──► sheet
//!                                                                    │
//!                                       CompareResult (JSON) ◄───────┼──► Markdown
//! ```
//! Rounds go over all loads, and in each load over all contestants, who take turns in
//! going first: a machine that is slow for a minute is slow for all. A broker that is not
//! installed is skipped and the reason told; one that loses events is shown with its
//! loss.

mod args;
mod comparison;
mod contestant;
mod load;
mod sheet;

use anyhow::Result;

pub use args::{CompareArgs, HELP};
use comparison::Comparison;

use crate::result::ResultFile;

/// Compares; returns whether all runs were made, and neither netcluster nor the relay
/// lost an event.
///
/// # Errors
/// If arguments do not fit, nobody can be measured, or the result cannot be written.
pub fn compare(args: &CompareArgs) -> Result<bool> {
    let comparison = Comparison::new(args)?.run()?;
    let (clean, markdown) = (comparison.is_clean(), sheet::markdown(&comparison));
    let result = ResultFile::Compare(Box::new(sheet::result(comparison)));
    if let Some(path) = &args.out {
        result.write(path)?;
    }
    if args.common.json {
        println!("{}", result.to_json()?);
    } else {
        print!("{markdown}");
    }
    Ok(clean)
}
