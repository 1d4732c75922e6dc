//! `netcluster-loadtest agent`: a machine's part in runs that another machine
//! coordinates.
//!
//! ```text
//!   coordinator                             agent
//!       │ ◀─────────── hello, nonce ───────── │  serve: one run at a time
//!       │ ── hello, nonce, proof ───────────▶ │  hello: both prove the token
//!       │ ◀── welcome, proof, machine ─────── │
//!       │ ═══ orders, reports: JSON lines ═══ │  lines: bounded, with deadlines, sealed
//!       │                                     └─ session: broker and processes
//! ```
//! An agent starts its own program in a role and the broker's program that it was
//! started with, nothing that comes from the network. Who coordinates on the same
//! machine has a session without an agent around it.
//!
//! The token keeps strangers out, also of a connection that is made: each line is
//! authenticated. What is said is not encrypted: who is on the way can read it.

pub mod args;
mod callers;
pub mod hello;
pub mod lines;
pub mod machine;
pub mod message;
pub mod seal;
pub mod serve;
pub mod session;
pub mod watchdog;
