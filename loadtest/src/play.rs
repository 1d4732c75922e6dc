//! The processes of a scenario: each holds some clients of one role.
//!
//! ```text
//!   agent ── cues ──▶ voices (emit) │ ears (listen) │ churn (come and go)
//!         ◀─ notes ──  ticks while it runs, totals at its end
//! ```
//! - `plan`: what a process is told, and what it says.
//! - `payload`: a stamped payload of any size.
//! - `voices`, `ears`, `churn`: the three kinds.
//! - `track`: what one listening client has got of each emitter.
//! - `times`: latencies, in all and since the last tick.
//!
//! Every client is one of the client crate, used as users do.

mod churn;
mod cues;
mod ears;
mod payload;
pub mod plan;
mod times;
mod track;
mod voices;

use anyhow::Result;

use self::plan::{Part, PartPlan};

/// Plays a part until told to quit.
///
/// # Errors
/// What keeps it from going on.
pub fn take_part(plan: PartPlan) -> Result<()> {
    match plan.part {
        Part::Voices(voices) => voices::play(&plan.socket, voices),
        Part::Ears(ears) => ears::play(&plan.socket, ears),
        Part::Churn(churn) => churn::play(&plan.socket, churn),
    }
}
