//! The readiness back end keeps the rules of `Io`, over real sockets, and the costs and
//! fairness that the contract shared by all back ends does not speak of.

#[path = "../support/client.rs"]
mod client;
mod lifetime;
mod receiving;
mod sending;
mod shard;
