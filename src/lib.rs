//! The broker of netcluster: an event bus for the processes of a machine and, over the
//! link, for those of other machines.
//!
//! `netcluster serve` runs it as a program. This crate runs it inside another one, in a
//! test for example; its clients are those of the crate `netcluster-client`:
//!
//! ```
//! use netcluster::{Broker, BrokerOptions};
//! use netcluster_client::Client;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("netcluster-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let socket = directory.join("broker.sock");
//! let mut options = BrokerOptions::new(&socket);
//! options.shards = Some(1);
//! options.max_clients = 100;
//! let broker = Broker::start(options)?; // clients can connect once this returns
//!
//! let listener = Client::connect(&socket)?;
//! let orders = listener.subscribe("order.*")?;
//! let emitter = Client::connect(&socket)?;
//! emitter.emit("order.new", "42")?;
//! assert_eq!(orders.recv()?.payload(), b"42");
//!
//! let status: netcluster::status::Status = serde_json::from_str(&emitter.status()?)?;
//! assert_eq!((status.totals.clients, status.link.is_some()), (2, false));
//! drop(broker); // says goodbye to the clients and ends
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! - [`BrokerOptions`]: what a broker can be told, [`LinkOptions`] for its link to other
//!   machines. [`Broker`]: starts the threads and ends them.
//! - [`status`]: the status of a broker, as its clients get it.
//!
//! # Features
//! Whoever embeds a broker takes the crate with `default-features = false`.
//!
//! - `cli` (in default): the command `netcluster`, and what only the command needs.
//! - `mimalloc` (in default): the command allocates by mimalloc, and a broker gives back
//!   what mimalloc keeps. For embedders whose program has it as its global allocator.
//! - `sim`: the broker in virtual time, for the tests of this repository.
//!
//! # Inside
//! `ARCHITECTURE.md` has the code map and the walk of an event; in short:
//!
//! - `start`, `crew`, `options`, `config`: what a user asks for becomes what shards are made
//!   with, on their threads; `broker` what runs; `heir` another one in its place.
//! - `shard`: the loop of one shard; everything below is driven by it.
//! - `inbound`: the framer, from chunks to whole frames.
//! - `channels`, `routes`, `trie`, `target`: from an event's name to its targets.
//! - `outbound`, `copies`, `budget`: the queue towards one client, and what it may pin.
//! - `mesh`: messages between shards.
//! - `uplink`: opens the sockets of the link, which is a crate of its own
//!   (`netcluster-link`); `resolver` looks up the names of its peers.
//! - `population`, `placement`, `connection`, `returning`, `timers`, `log`.
//!
//! But for the broker, `uplink` and `resolver` these modules do no IO and read no clock:
//! they take the time as an argument, so that tests and the simulator drive the very
//! same code.

#![forbid(unsafe_code)]

mod access;
mod apart;
mod broker;
mod budget;
mod channel_rules;
mod channels;
mod config;
mod connection;
mod copies;
mod crew;
mod guard;
mod heir;
mod histogram;
mod inbound;
#[doc(hidden)]
pub mod internals;
mod keeper;
mod link_request;
mod log;
mod memory_maker;
mod mesh;
mod opener;
mod operator;
mod options;
mod outbound;
mod pace;
mod pattern_set;
mod placement;
mod population;
mod pulse;
mod reload;
mod request;
mod resolver;
mod returning;
mod routes;
mod shard;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod sim;
mod start;
pub mod status;
mod target;
mod timers;
mod trie;
mod uplink;
mod will;

pub use access::{AccessDefault, AccessOptions};
pub use broker::{Broker, Shutdown, StartError};
pub use channel_rules::ChannelOptions;
#[doc(hidden)]
pub use heir::Heir;
pub use netcluster_link::crypto::{Key, Keys};
pub use netcluster_link::options::LinkOptions;
pub use netcluster_platform::{
    Backend, BackendChoice, BackendUnavailable, BindError, BindOptions, Group,
};
pub use operator::Operator;
pub use options::{BrokerOptions, SharedMemory};
pub use reload::Reloader;
#[doc(hidden)]
pub use start::{Claimant, Prepared, Ready};
