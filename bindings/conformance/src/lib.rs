//! One suite for the clients of all languages; see `README.md` beside it.
//!
//! ```text
//!   scenario ─ requests ─► driver ─ client ─► broker, killed and started anew
//!      ▲                     │         └────► liar, a server that breaks the protocol
//!      └───── reports ───────┘
//! ```
//! - [`vectors`]: bytes and their meaning, from `PROTOCOL.md`.
//! - [`rust_driver`]: the driver of the Rust client.
//! - [`runner`]: starts drivers and brokers, and judges.
//! - [`scenarios`]: what is judged.

#![forbid(unsafe_code)]

#[cfg(unix)]
pub mod runner;
pub mod rust_driver;
#[cfg(unix)]
pub mod scenarios;
pub mod vectors;
