//! Processes of a run with another broker in the middle: like our own emitters and
//! listeners, but over the clients of `netcluster_peers`.

mod emitter;
mod listener;
mod many;
mod role;

pub use role::{PeerRole, Wanted, take_role};

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::plan::Role;
use netcluster_peers::connection::Connection;

/// Runs a program that plays the roles of a peer whose library is built by itself; `connect`
/// is called once, by the thread that uses the connection.
pub fn run_program<C: Connection>(
    connect: impl FnOnce(Wanted) -> Result<C> + Send + 'static,
) -> ExitCode {
    crate::play(|role| match role {
        Role::Peer(role) => role::play_by(role, connect),
        _ => bail!("this program plays only the roles of its peer"),
    })
}
