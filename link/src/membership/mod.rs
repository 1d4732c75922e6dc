//! Who is there: from the first hello of a session to its end.
//!
//! - [`announce`], [`greeting`], [`hello_rate`]: hellos out, and those of strangers.
//! - [`handshake`], [`address_proof`], [`lifecycle`]: sessions that become peers, and
//!   cease to be; [`departed`] what is remembered of those.
//! - [`peer`], [`peers`]: one peer, and the table.
//! - [`discovery`]: the first moments after the start; [`renewal`]: a new own session;
//!   [`leave`]: the end.
//! - [`neighbours`], [`unreachable_peers`], [`unlinked`]: brokers that do not reach
//!   each other, or this one.

pub(crate) mod address_proof;
pub(crate) mod announce;
pub(crate) mod departed;
pub(crate) mod discovery;
pub(crate) mod greeting;
pub(crate) mod handshake;
pub(crate) mod hello_rate;
pub(crate) mod leave;
pub(crate) mod lifecycle;
pub mod neighbours;
pub(crate) mod peer;
pub(crate) mod peers;
pub(crate) mod renewal;
pub(crate) mod unlinked;
pub(crate) mod unreachable_peers;
