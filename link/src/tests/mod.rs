//! Whole links in virtual time: each test reads as a script.

mod addresses;
mod delivery;
mod faults;
mod forged;
mod joining;
mod keeping;
mod keys;
mod membership;
mod mesh;
mod neighbours;
mod sending;
mod succession;
mod summaries;
pub(crate) mod time;
