//! Role of a process in a run with a peer in the middle: an emitter or a listener.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::peers::{emitter, listener, many};
use crate::plan::{EmitterPlan, ListenerPlan, ManyPlan, Middle, Role, Scenario, listener_name};
use netcluster_peers::connection::Connection;
use netcluster_peers::frames::Dialect;
use netcluster_peers::mqtt::Mqtt;
use netcluster_peers::nats::Nats;
use netcluster_peers::pipe::Pipe;
use netcluster_peers::redis::Redis;
use netcluster_peers::zenoh::Zenoh;
use netcluster_peers::zeromq::{Prober, ZeroMq, Zmtp};
use netcluster_peers::{Address, Peer};

/// Plan of the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerRole {
    peer: Peer,
    address: Address,
    part: Part,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    One(Single),
    Many(ManyPlan),
}

/// Client of one connection, or what its peer has instead.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Single {
    Emitter(EmitterPlan),
    Listener(ListenerPlan),
}

impl PeerRole {
    /// Makes the roles of the listeners and the emitters of a scenario.
    pub fn of(scenario: &Scenario, peer: Peer, address: &Address) -> (Vec<Role>, Vec<Role>) {
        let other = |part| Role::Peer(PeerRole { peer, address: address.clone(), part });
        let convert = |role: Role| match role {
            Role::Emitter(plan) => other(Part::One(Single::Emitter(plan))),
            Role::Listener(plan) => other(Part::One(Single::Listener(plan))),
            Role::Many(plan) => other(Part::Many(plan)),
            role => role,
        };
        let convert = |roles: Vec<Role>| roles.into_iter().map(convert).collect();
        // The address stands beside it: not every peer has a path.
        let (nowhere, middle) = (PathBuf::new(), Middle::Broker);
        (
            convert(scenario.listeners(nowhere.clone(), middle)),
            convert(scenario.emitters(nowhere, middle)),
        )
    }
}

/// Plays the role until told to quit.
pub fn take_role(role: PeerRole) -> Result<()> {
    let PeerRole { peer, address, part } = role;
    let part = match part {
        Part::One(part) => part,
        Part::Many(plan) => return listen_on_many(peer, address, &plan),
    };
    let (name, publishes, listens) = match &part {
        Single::Emitter(plan) => (plan.name.clone(), true, plan.reply.is_some()),
        Single::Listener(plan) => (plan.name.clone(), plan.reply.is_some(), true),
    };
    let only_publishes = !listens;
    match peer {
        Peer::Nats => play(part, Pipe::<Nats>::connect(&address, &name, only_publishes)?),
        Peer::Redis => play(part, Pipe::<Redis>::connect(&address, &name, only_publishes)?),
        Peer::Mosquitto => play(part, Pipe::<Mqtt>::connect(&address, &name, only_publishes)?),
        Peer::Zeromq => play(part, ZeroMq::connect(&address, &name, publishes, listens)?),
        Peer::Zenoh => play(part, Pipe::<Zenoh>::connect(&address, &name, only_publishes)?),
    }
}

fn play<C: Connection + Send + 'static>(part: Single, connection: C) -> Result<()> {
    match part {
        Single::Emitter(plan) => emitter::run(plan, connection),
        Single::Listener(plan) => listener::run(plan, connection),
    }
}

fn listen_on_many(peer: Peer, address: Address, plan: &ManyPlan) -> Result<()> {
    fn named<D: Dialect>(index: usize) -> D {
        D::new(&listener_name(index), false)
    }
    let unprompted = || Ok(());
    match peer {
        Peer::Nats => many::run(plan, address, named::<Nats>, unprompted),
        Peer::Redis => many::run(plan, address, named::<Redis>, unprompted),
        Peer::Mosquitto => many::run(plan, address, named::<Mqtt>, unprompted),
        Peer::Zeromq => {
            // One name for all of them: they wait for the same word.
            let name = "listeners";
            let mut prober = Prober::connect(&address, name)?;
            many::run(plan, address, |_| Zmtp::new(name, false), move || prober.prompt())
        }
        Peer::Zenoh => many::run(plan, address, named::<Zenoh>, unprompted),
    }
}
