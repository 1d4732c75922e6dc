//! Contestants of a comparison: how each is found and run once.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::broker;
use crate::interrupt;
use crate::outcome::Outcome;
use crate::peers::PeerRole;
use crate::pin::{self, Place};
use crate::plan::{Middle, Scenario};
use crate::run::{Runner, run_around};
use crate::scratch::Scratch;
use crate::transport::Transport;
use netcluster_peers::{Address, Found, OwnDomain, Peer, Server, version_of};

/// Contestant by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contestant {
    /// Broker of this repository, which shares memory with its clients.
    #[value(name = "netcluster-shm", alias = "netcluster")]
    Shared,
    /// Broker of this repository, by sockets alone.
    #[value(name = "netcluster-sockets")]
    Sockets,
    /// Process that copies bytes and parses nothing.
    Relay,
    /// `nats-server`.
    Nats,
    /// `redis-server`.
    Redis,
    /// Forwarder of libzmq, run by `python3`.
    Zeromq,
    /// Router of Zenoh, run by `python3`.
    Zenoh,
    /// `mosquitto`.
    Mosquitto,
    /// iceoryx2, whose subscribers sleep until they are notified.
    Iceoryx2,
    /// iceoryx2, whose subscribers look again and again.
    Iceoryx2Polling,
}

/// Contestant that is ready to run.
#[derive(Clone, Debug)]
pub struct Ready {
    what: Contestant,
    program: PathBuf,
    version: String,
}

/// Outcome of one run, and what was counted besides events.
pub type Turn = (Outcome, Vec<(String, u64)>);

impl Contestant {
    /// Contestants in the order of the table.
    pub const ALL: [Contestant; 10] = [
        Contestant::Shared,
        Contestant::Sockets,
        Contestant::Relay,
        Contestant::Nats,
        Contestant::Redis,
        Contestant::Zeromq,
        Contestant::Zenoh,
        Contestant::Mosquitto,
        Contestant::Iceoryx2,
        Contestant::Iceoryx2Polling,
    ];

    /// Returns the contestant's name as it is written.
    pub fn name(self) -> &'static str {
        match (self, self.peer()) {
            (_, Some(peer)) => peer.name(),
            (Contestant::Shared, None) => "netcluster (shm)",
            (Contestant::Sockets, None) => "netcluster (sockets)",
            (_, None) => "relay",
        }
    }

    /// Returns whether this is a process of this repository, which may lose nothing.
    pub fn is_own(self) -> bool {
        self.peer().is_none()
    }

    /// Returns how clients reach the contestant.
    pub fn transport(self) -> &'static str {
        match (self, self.peer()) {
            (_, Some(peer)) => peer.transport(),
            (Contestant::Shared, None) => "shared memory, and a unix socket until it is offered",
            (_, None) => "unix socket",
        }
    }

    /// Returns whether the contestant can be run under a load: the relay copies from one
    /// emitter to the listeners that it is told, and knows no events; without a broker there
    /// are no connections.
    pub fn suits(self, scenario: &Scenario) -> bool {
        if self.peer().is_some_and(|peer| peer.waiting().is_some()) {
            return scenario.connections.is_none();
        }
        self != Contestant::Relay || scenario.suits_relay()
    }

    /// Returns a scenario with the contestant's transport. Memory is shared with clients
    /// alone; sockets are measured by the same sessions for all.
    fn transported(self, scenario: &Scenario) -> Scenario {
        if self != Contestant::Shared {
            return scenario.by_sockets();
        }
        Scenario {
            transport: Transport::default(),
            by_clients: scenario.connections.is_some(),
            ..scenario.clone()
        }
    }

    fn peer(self) -> Option<Peer> {
        match self {
            Contestant::Shared | Contestant::Sockets | Contestant::Relay => None,
            Contestant::Nats => Some(Peer::Nats),
            Contestant::Redis => Some(Peer::Redis),
            Contestant::Zeromq => Some(Peer::Zeromq),
            Contestant::Zenoh => Some(Peer::Zenoh),
            Contestant::Mosquitto => Some(Peer::Mosquitto),
            Contestant::Iceoryx2 => Some(Peer::Iceoryx2),
            Contestant::Iceoryx2Polling => Some(Peer::Iceoryx2Polling),
        }
    }

    /// Looks for the contestant's program; the error says in words why it is skipped.
    pub fn find(self, broker: Option<&Path>) -> Result<Ready, String> {
        let own = env!("CARGO_PKG_VERSION").to_owned();
        let Found { program, version } = match self.peer() {
            Some(peer) => peer.find()?,
            None if self == Contestant::Relay => {
                // A role of this program.
                Found { program: PathBuf::new(), version: own }
            }
            None => {
                let program = broker::find(broker).map_err(|error| format!("{error:#}"))?;
                let version = version_of(&program, &["--version"], "netcluster ")?;
                Found { program, version }
            }
        };
        Ok(Ready { what: self, program, version })
    }
}

impl Ready {
    /// Returns which contestant this is.
    pub fn what(&self) -> Contestant {
        self.what
    }

    /// Returns the contestant's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs a scenario once.
    pub fn run(&self, scenario: &Scenario) -> Result<Turn> {
        let Some(peer) = self.what.peer() else {
            let middle = match self.what {
                Contestant::Relay => Middle::Relay,
                _ => Middle::Broker,
            };
            let program = self.program.clone();
            let scenario = self.what.transported(scenario);
            let outcome = Runner { program, middle }.run(&scenario, middle)?;
            return Ok((outcome, Vec::new()));
        };
        if let Some(waiting) = peer.waiting() {
            let subscribers = scenario.listeners / scenario.events;
            let own = OwnDomain::new(scenario.size, subscribers, waiting);
            let own = own.context("cannot make a domain of shared memory")?;
            let address = Address::Domain(own.domain().clone());
            let roles = PeerRole::of(scenario, peer, &address, &self.program);
            return run_around(scenario, None, roles);
        }
        let scratch = Scratch::new()?;
        let pinned = pin::start(scenario.pin, Place::Middle)?;
        let server =
            Server::start(peer, &self.program, scratch.path(), scenario.size, interrupt::check)?;
        drop(pinned);
        let roles = PeerRole::of(scenario, peer, server.address(), &self.program);
        run_around(scenario, Some(server.pid()), roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_two_rows_are_told_apart_by_their_transport_alone() {
        let many = Scenario { connections: Some(50), ..Scenario::default() };
        for scenario in [Scenario::default(), many] {
            let shared = Contestant::Shared.transported(&scenario);
            let sockets = Contestant::Sockets.transported(&scenario);
            assert!(shared.shares_memory() && !sockets.shares_memory());
            assert_eq!(shared.by_clients, scenario.connections.is_some());
            assert_eq!(Scenario { by_clients: false, ..shared.by_sockets() }, sockets);
        }
    }

    #[test]
    fn each_contestant_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> =
            Contestant::ALL.iter().map(|contestant| contestant.name()).collect();
        assert_eq!(names.len(), Contestant::ALL.len());
        for (word, expected) in [
            ("netcluster", Contestant::Shared),
            ("netcluster-shm", Contestant::Shared),
            ("netcluster-sockets", Contestant::Sockets),
            ("iceoryx2", Contestant::Iceoryx2),
            ("iceoryx2-polling", Contestant::Iceoryx2Polling),
        ] {
            assert_eq!(Contestant::from_str(word, false), Ok(expected));
        }
    }
}
