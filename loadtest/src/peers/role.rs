//! Role of a process in a run with a peer in the middle, or with one that is nothing but
//! shared memory: an emitter or a listener.
//!
//! A peer whose library is built by itself has a program of its own, which takes its roles
//! by [`play_by`].
//!
//! Decision: `docs/decisions/050-iceoryx2-built-by-itself.md`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
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
    /// Program that plays the role; `None`: this one.
    program: Option<PathBuf>,
}

/// Connection that a role needs.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Place of the peer.
    pub address: Address,
    /// Name of the client.
    pub name: String,
    /// Topics that are published.
    pub publishes: Vec<String>,
    /// Whether events are received.
    pub listens: bool,
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
    /// Makes the roles of the listeners and the emitters of a scenario; a peer without a
    /// server has a program that plays them.
    pub fn of(
        scenario: &Scenario,
        peer: Peer,
        address: &Address,
        program: &Path,
    ) -> (Vec<Role>, Vec<Role>) {
        let program = peer.waiting().map(|_| program.to_owned());
        let other = |part| {
            let program = program.clone();
            Role::Peer(PeerRole { peer, address: address.clone(), part, program })
        };
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

    /// Returns the program that plays the role, if it is another one.
    pub fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }
}

impl Single {
    fn wanted(&self, address: Address) -> Wanted {
        match self {
            Single::Emitter(plan) => Wanted {
                address,
                name: plan.name.clone(),
                publishes: plan.events.iter().map(|(_, name)| name.clone()).collect(),
                listens: plan.reply.is_some(),
            },
            Single::Listener(plan) => Wanted {
                address,
                name: plan.name.clone(),
                publishes: plan.reply.iter().cloned().collect(),
                listens: true,
            },
        }
    }
}

/// Plays the role until told to quit.
pub fn take_role(role: PeerRole) -> Result<()> {
    let PeerRole { peer, address, part, .. } = role;
    match part {
        Part::Many(plan) => listen_on_many(peer, address, &plan),
        Part::One(part) => {
            let wanted = part.wanted(address);
            match peer {
                Peer::Nats => play(part, move || pipe::<Nats>(wanted)),
                Peer::Redis => play(part, move || pipe::<Redis>(wanted)),
                Peer::Mosquitto => play(part, move || pipe::<Mqtt>(wanted)),
                Peer::Zenoh => play(part, move || pipe::<Zenoh>(wanted)),
                Peer::Zeromq => play(part, move || {
                    let Wanted { address, name, publishes, listens } = wanted;
                    ZeroMq::connect(&address, &name, !publishes.is_empty(), listens)
                }),
                Peer::Iceoryx2 | Peer::Iceoryx2Polling => bail!("it has a program of its own"),
            }
        }
    }
}

/// Plays the role of a peer whose library another program has, until told to quit.
///
/// # Errors
/// If the role needs more connections than one, or something fails.
pub fn play_by<C: Connection>(
    role: PeerRole,
    connect: impl FnOnce(Wanted) -> Result<C> + Send + 'static,
) -> Result<()> {
    match role.part {
        Part::One(part) => {
            let wanted = part.wanted(role.address);
            play(part, move || connect(wanted))
        }
        Part::Many(_) => bail!("many connections are nothing for {}", role.peer.name()),
    }
}

fn pipe<D: Dialect>(wanted: Wanted) -> Result<Pipe<D>> {
    Pipe::connect(&wanted.address, &wanted.name, !wanted.listens)
}

fn play<C: Connection>(
    part: Single,
    connect: impl FnOnce() -> Result<C> + Send + 'static,
) -> Result<()> {
    match part {
        Single::Emitter(plan) => emitter::run(plan, connect()?),
        Single::Listener(plan) => listener::run(plan, connect),
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
        Peer::Iceoryx2 | Peer::Iceoryx2Polling => bail!("it has no connections"),
    }
}
