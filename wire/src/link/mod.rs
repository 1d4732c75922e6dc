//! The datagrams that brokers exchange over the link.
//!
//! ```text
//!   datagram ──▶ parse ──▶ Data    { header, body, tag }   a piece of a stream
//!                     └──▶ Control { kind, header, body, tag }
//!                                                │ opened, if there is a key
//!                                                ▼
//!                                    Control::decode(kind, body)
//! ```
//! [`parse`] looks at the header alone, which is never encrypted; opening the
//! body is not done here. [`Control::decode`] and the `decode` of each body check
//! everything once: what they give back cannot fail any more. Encoders append a
//! body to a `Vec<u8>`, behind a header by [`ControlHeader::write`].
//!
//! - [`limits`]: every limit, with its unit.
//! - [`data`], [`header`]: the two headers. [`datagram`]: telling them apart.
//! - [`control`]: any body. [`greet`]: hello, challenge, answer and the probes.
//!   [`join`]: interest, joined, leave. [`flow`]: heartbeat, status, NAK.
//!   [`neighbours`]: neighbours; [`summary`]: a broker's state in short.
//! - [`entries`]: the lists at the end of a body.

pub mod control;
pub mod data;
pub mod datagram;
pub mod entries;
pub mod flow;
pub mod greet;
pub mod header;
pub mod join;
pub mod limits;
pub mod neighbours;
pub mod summary;

pub use control::{BodyError, Control};
pub use data::{DataHeader, short_session};
pub use datagram::{Datagram, DatagramError, parse};
pub use entries::{Beat, Entries, Entry, Place, Range, Report};
pub use flow::{Heartbeat, Nak, Status};
pub use greet::{Answer, Challenge, Hello, Probe, ProbeReply};
pub use header::{ControlHeader, ControlKind};
pub use join::{Interest, Joined, Leave};
pub use neighbours::{Neighbour, Neighbours};
pub use summary::Summary;
