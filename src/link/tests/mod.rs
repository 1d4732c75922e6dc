//! Whole links in virtual time: each test reads as a script.

mod delivery;
mod faults;
mod joining;
mod membership;
mod mesh;
mod neighbours;
mod sending;
