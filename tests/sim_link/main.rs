//! Whole brokers and their links over a simulated network: seeded faults, virtual time,
//! every invariant checked on every run.
//!
//! ```text
//!   world    machines, brokers, clients, and what each sent and received
//!   payload  what events carry
//!   check    what a listener received, held against what was emitted
//!   runs     random ones: topology, faults and traffic from the seed
//!   others   one situation each, by name
//! ```
//! A failing seed is printed with the command that replays it. `SIM_SEEDS=N` runs that
//! many seeds of each test, `SIM_BASE=N` from that one on, `SIM_SEED=N` only that one.

mod check;
mod hostile;
mod membership;
mod paths;
mod payload;
mod pressure;
mod repair;
mod runs;
mod seeds;
mod slowness;
mod takeover;
#[path = "../seeds/mod.rs"]
mod which_seeds;
mod world;
