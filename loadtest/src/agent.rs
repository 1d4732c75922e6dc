//! `netcluster-loadtest agent`: a machine's part in runs that another machine
//! coordinates.
//!
//! ```text
//!   coordinator                             agent
//!       │ ◀─────────── hello, nonce ───────── │  serve: one run at a time
//!       │ ── hello, nonce, proof ───────────▶ │  hello: both prove the token
//!       │ ◀── welcome, proof, machine ─────── │
//!       │ ═══ orders, reports: JSON lines ═══ │  lines: bounded, with deadlines
//!       │                                     └─ seat: broker and processes
//! ```
//! An agent starts its own program in a role and the broker's program that it was
//! started with, nothing that comes from the network. Who coordinates on the same
//! machine has a seat without an agent around it.
//!
//! The token keeps strangers out; what is said is not encrypted: runs belong into
//! a network that is trusted as far as a load test goes.

pub mod args;
pub mod hello;
pub mod keeper;
pub mod lines;
pub mod machine;
pub mod message;
pub mod seat;
pub mod serve;
