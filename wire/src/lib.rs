//! The bytes netcluster speaks: frames, event names, patterns and limits.
//!
//! No IO, no clock, no `unsafe`. `PROTOCOL.md` at the top of the repository is
//! the byte-exact specification; a test reads its examples and checks them
//! against this crate.
//!
//! - [`header`]: the 24 bytes every frame starts with, and their check.
//! - [`frame`]: a checked view of one whole frame, and how one is written.
//! - [`scan`]: finds the runs of whole frames in a stream, in place.
//! - [`control`]: the payloads of the control kinds (hello, welcome, error …).
//! - [`encoding`]: what the payload of an event is said to be.
//! - [`escape`]: text of others, harmless for terminals and logs.
//! - [`name`], [`pattern`]: event names and what listeners match them with.
//! - [`limits`]: every limit, with its unit and its relations asserted.
//! - [`link`]: the datagrams that brokers of different machines exchange.

#![forbid(unsafe_code)]

pub mod bye;
pub mod control;
pub mod encoding;
pub mod escape;
pub mod frame;
pub mod header;
pub mod limits;
pub mod link;
pub mod name;
pub mod pattern;
pub mod scan;
pub mod shared;

pub use control::{ErrorCode, Hello, LossReason, Welcome};
pub use encoding::Encoding;
pub use frame::Frame;
pub use header::{FrameError, Header, Kind, Layout, Source};
pub use name::{NameError, check_channel, check_event};
pub use pattern::{Pattern, PatternError};
pub use shared::SharedStep;
