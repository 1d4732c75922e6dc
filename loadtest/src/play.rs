//! Processes of a scenario: each holds some clients of one role.
//!
//! ```text
//!   agent ── control ───▶ emitters (emit) │ listeners (listen) │ churn (come and go)
//!         ◀─ notes ──  ticks while it runs, totals at its end
//! ```
//! - `plan`: orders to a process, and its notes.
//! - `payload`: a stamped payload of any size.
//! - `emitters`, `listeners`, `churn`: the three kinds.
//! - `track`: events that one listening client has got of each emitter.
//! - `times`: latencies, in all and since the last tick.
//!
//! Every client is one of the client crate, used as users do.

mod churn;
mod control;
mod emitters;
mod listeners;
pub mod payload;
pub mod plan;
mod times;
mod track;

use anyhow::Result;

use self::plan::{Part, PartPlan};

/// Plays a part until told to quit.
///
/// # Errors
/// The reason that keeps the process from going on.
pub fn take_part(plan: PartPlan) -> Result<()> {
    match plan.part {
        Part::Emitters(emitters) => emitters::play(&plan.socket, emitters),
        Part::Listeners(listeners) => listeners::play(&plan.socket, listeners),
        Part::Churn(churn) => churn::play(&plan.socket, churn),
    }
}
