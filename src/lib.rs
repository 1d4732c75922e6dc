//! The netcluster broker: one per machine, an event bus for its processes and,
//! over the link, for those of other machines.
//!
//! `ARCHITECTURE.md` has the code map and the walk of an event; in short:
//!
//! - [`broker`]: starts the threads and ends them; [`config`]: what it is told.
//! - [`shard`]: the loop of one shard; everything below is driven by it.
//! - [`inbound`]: from chunks to whole frames.
//! - [`channels`], [`routes`], [`trie`], [`target`]: from an event's name to its
//!   targets.
//! - [`outbound`], [`copies`], [`budget`]: the queue towards one client, and what
//!   it may pin.
//! - [`mesh`]: what shards say to each other.
//! - `uplink`: opens the sockets of the link, which is a crate of its own
//!   ([`netcluster_link`]); `resolver` looks up the names of its peers.
//! - [`population`], [`placement`], [`connection`], [`returning`], [`timers`], [`status`],
//!   [`log`].
//!
//! But for the broker, `uplink` and `resolver` they do no IO and read no clock:
//! they take the time as an argument, so that tests and the simulator drive the
//! very same code.

#![forbid(unsafe_code)]

pub mod broker;
pub mod budget;
pub mod channels;
pub mod config;
pub mod connection;
pub mod copies;
pub mod inbound;
mod keeper;
pub mod log;
pub mod mesh;
pub mod outbound;
pub mod pattern_set;
pub mod placement;
pub mod population;
pub mod resolver;
pub mod returning;
pub mod routes;
pub mod shard;
#[cfg(feature = "sim")]
pub mod sim;
pub mod status;
pub mod target;
pub mod timers;
pub mod trie;
mod uplink;
