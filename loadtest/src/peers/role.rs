//! A process of a run with a peer in the middle: an emitter, a listener, or the
//! peer itself where it is a library.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::peers::connection::Connection;
use crate::peers::mqtt::Mqtt;
use crate::peers::nats::Nats;
use crate::peers::pipe::Pipe;
use crate::peers::redis::Redis;
use crate::peers::{Address, Peer, emitter, listener};
use crate::plan::{EmitterPlan, ListenerPlan, Role, Scenario};

/// What the process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerRole {
    peer: Peer,
    address: Address,
    size: usize,
    part: Part,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Server,
    Emitter(EmitterPlan),
    Listener(ListenerPlan),
}

impl PeerRole {
    /// The peer itself, for a load of payloads of `size` bytes.
    pub fn server(peer: Peer, address: Address, size: usize) -> Role {
        Role::Peer(PeerRole { peer, address, size, part: Part::Server })
    }

    /// The listeners and the emitters of a scenario.
    pub fn of(scenario: &Scenario, peer: Peer, address: &Address) -> (Vec<Role>, Vec<Role>) {
        let (size, address) = (scenario.size, address.clone());
        let other = |part| Role::Peer(PeerRole { peer, address: address.clone(), size, part });
        let convert = |role: Role| match role {
            Role::Emitter(plan) => other(Part::Emitter(plan)),
            Role::Listener(plan) => other(Part::Listener(plan)),
            role => role,
        };
        let convert = |roles: Vec<Role>| roles.into_iter().map(convert).collect();
        // The address stands beside it: not every peer has a path.
        (convert(scenario.listeners(PathBuf::new())), convert(scenario.emitters(PathBuf::new())))
    }
}

/// Is what it was told until told to quit.
pub fn take_role(role: PeerRole) -> Result<()> {
    let (name, only_publishes) = match &role.part {
        Part::Server => return serve(&role),
        Part::Emitter(plan) => (plan.name.clone(), plan.reply.is_none()),
        Part::Listener(plan) => (plan.name.clone(), false),
    };
    let PeerRole { peer, address, part, .. } = role;
    match peer {
        Peer::Nats => play(part, Pipe::<Nats>::connect(&address, &name, only_publishes)?),
        Peer::Redis => play(part, Pipe::<Redis>::connect(&address, &name, only_publishes)?),
        Peer::Mosquitto => play(part, Pipe::<Mqtt>::connect(&address, &name, only_publishes)?),
        #[cfg(netcluster_zeromq)]
        Peer::Zeromq => {
            play(part, crate::peers::zeromq::Client::connect(&address, &name, role.size)?)
        }
        #[allow(unreachable_patterns, reason = "which peers are built in depends on features")]
        peer => anyhow::bail!("{} is not built in", peer.name()),
    }
}

fn play<C: Connection + Send + 'static>(part: Part, connection: C) -> Result<()> {
    match part {
        Part::Emitter(plan) => emitter::run(plan, connection),
        Part::Listener(plan) => listener::run(plan, connection),
        Part::Server => Ok(()),
    }
}

fn serve(role: &PeerRole) -> Result<()> {
    match role.peer {
        #[cfg(netcluster_zeromq)]
        Peer::Zeromq => crate::peers::zeromq::serve(&role.address, role.size),
        peer => anyhow::bail!("{} is a program of its own", peer.name()),
    }
}
