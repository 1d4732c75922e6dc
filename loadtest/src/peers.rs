//! Processes of a run with another broker in the middle: like our own emitters and
//! listeners, but over the clients of `netcluster_peers`.

mod emitter;
mod listener;
mod many;
mod role;

pub use role::{PeerRole, take_role};
