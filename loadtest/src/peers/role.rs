//! A process of a run with a peer in the middle: an emitter or a listener.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::peers::connection::Connection;
use crate::peers::mqtt::Mqtt;
use crate::peers::nats::Nats;
use crate::peers::pipe::Pipe;
use crate::peers::redis::Redis;
use crate::peers::zeromq::ZeroMq;
use crate::peers::{Address, Peer, emitter, listener};
use crate::plan::{EmitterPlan, ListenerPlan, Role, Scenario};

/// What the process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerRole {
    peer: Peer,
    address: Address,
    part: Part,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Emitter(EmitterPlan),
    Listener(ListenerPlan),
}

impl PeerRole {
    /// The listeners and the emitters of a scenario.
    pub fn of(scenario: &Scenario, peer: Peer, address: &Address) -> (Vec<Role>, Vec<Role>) {
        let other = |part| Role::Peer(PeerRole { peer, address: address.clone(), part });
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
    let (name, publishes, listens) = match &role.part {
        Part::Emitter(plan) => (plan.name.clone(), true, plan.reply.is_some()),
        Part::Listener(plan) => (plan.name.clone(), plan.reply.is_some(), true),
    };
    let only_publishes = !listens;
    let PeerRole { peer, address, part } = role;
    match peer {
        Peer::Nats => play(part, Pipe::<Nats>::connect(&address, &name, only_publishes)?),
        Peer::Redis => play(part, Pipe::<Redis>::connect(&address, &name, only_publishes)?),
        Peer::Mosquitto => play(part, Pipe::<Mqtt>::connect(&address, &name, only_publishes)?),
        Peer::Zeromq => play(part, ZeroMq::connect(&address, &name, publishes, listens)?),
        Peer::Zenoh => anyhow::bail!("{} has no client here", peer.name()),
    }
}

fn play<C: Connection + Send + 'static>(part: Part, connection: C) -> Result<()> {
    match part {
        Part::Emitter(plan) => emitter::run(plan, connection),
        Part::Listener(plan) => listener::run(plan, connection),
    }
}
