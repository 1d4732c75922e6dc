//! Plan of a run, once the arguments have been understood, and of each of its processes.
//!
//! Emitters feed listeners so: with as many events as emitters or fewer, emitter *i*
//! emits event *i* mod K; with more events than emitters, it emits the events that are
//! *i* mod E in turn. Listener *j* listens to event *j* mod K. So 4→4 on four events are
//! four pairs, and on one event everyone hears everyone.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[cfg(target_os = "linux")]
use crate::link::plan::LinkRole;
#[cfg(feature = "compare")]
use crate::peers::PeerRole;
use crate::pin::Pin;
use crate::play::plan::PartPlan;
use crate::relay::RelayPlan;
#[cfg(target_os = "linux")]
use crate::soak::plan::SoakRole;
use crate::transport::{SharedMemory, Transport};

/// Name of the event that the slow reader listens to.
pub const SLOW_EVENT: &str = "slow";
/// Name of the event that the stuck listener listens to.
pub const STUCK_EVENT: &str = "stuck";
/// Name of the event of the pair beside.
pub const BESIDE_EVENT: &str = "beside";

/// Scenario of one measurement, whatever stands in the middle.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Emitter processes.
    pub emitters: usize,
    /// Listener processes; unused with `connections`.
    pub listeners: usize,
    /// Distinct event names.
    pub events: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Seconds of the measured window.
    pub seconds: f64,
    /// Events per emitter, instead of a window.
    pub count: Option<u64>,
    /// Events per second and emitter; `None`: as fast as it goes.
    pub rate: Option<u64>,
    /// Whether one event is on the way at a time, answered by the listener.
    pub round_trip: bool,
    /// Listening connections in one process, each to an event of its own.
    pub connections: Option<usize>,
    /// Whether these connections use epoll, even where there is io_uring.
    pub by_epoll: bool,
    /// Whether these connections are clients of the crate, not bare sessions.
    pub by_clients: bool,
    /// Seconds to stay idle instead of emitting.
    pub idle: Option<f64>,
    /// Patterns that match nothing, registered before.
    pub patterns: usize,
    /// Whether there is a listener of another event that reads 1 KB/s.
    pub slow_reader: bool,
    /// Whether there is a listener of another event that never reads.
    pub stuck: bool,
    /// Transport of an emitter and a listener of another event at full speed.
    pub beside: Option<SharedMemory>,
    /// Transport of the clients.
    pub transport: Transport,
    /// Whether every byte of every payload is compared.
    pub verify_full: bool,
    /// Way in which one event of each emitter is broken, to see it found.
    pub inject: Option<Fault>,
    /// Cores of the processes; `None`: wherever the scheduler puts them.
    pub pin: Option<Pin>,
    /// Shards of the broker; `None`: its default.
    pub shards: Option<usize>,
    /// Back end of the broker; `None`: its default.
    pub backend: Option<String>,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            emitters: 1,
            listeners: 1,
            events: 1,
            size: 64,
            seconds: 1.0,
            count: None,
            rate: None,
            round_trip: false,
            connections: None,
            by_epoll: false,
            by_clients: false,
            idle: None,
            patterns: 0,
            slow_reader: false,
            stuck: false,
            beside: None,
            transport: Transport::default(),
            verify_full: false,
            inject: None,
            pin: None,
            shards: None,
            backend: None,
        }
    }
}

/// Process in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Middle {
    /// Broker of this repository.
    Broker,
    /// Relay, which copies bytes.
    Relay,
    /// Relay between clients that are hand-written for it.
    Bare,
}

/// Way in which an event is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The event is counted, but not emitted.
    Lose,
    /// The event is emitted twice.
    Repeat,
    /// A byte of the event is changed.
    Corrupt,
}

/// Role of a process of the run: the first line of its standard input, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Copies bytes in the middle.
    Relay(RelayPlan),
    /// Emits.
    Emitter(EmitterPlan),
    /// Listens.
    Listener(ListenerPlan),
    /// Emits without the client crate.
    BareEmitter(EmitterPlan),
    /// Listens without the client crate.
    BareListener(ListenerPlan),
    /// Listens on many connections.
    Many(ManyPlan),
    /// Holds a connection that reads slowly, or not at all, or has many patterns.
    StuckClient(StuckClientPlan),
    /// Plays a part of a scenario.
    Play(PartPlan),
    /// Ends the broker with this process id when its agent is gone.
    Watchdog(u32),
    /// Takes part in a run with another broker in the middle.
    #[cfg(feature = "compare")]
    Peer(PeerRole),
    /// Has a place on the network.
    #[cfg(target_os = "linux")]
    Link(LinkRole),
    /// Takes part in an endurance run.
    #[cfg(target_os = "linux")]
    Soak(SoakRole),
}

impl Role {
    /// Returns the program that plays the role, if it is not this one.
    pub fn program(&self) -> Option<&Path> {
        match self {
            #[cfg(feature = "compare")]
            Role::Peer(role) => role.program(),
            _ => None,
        }
    }
}

impl Middle {
    /// Returns a role in the form that is played around this middle.
    fn role(self, role: Role) -> Role {
        match (self, role) {
            (Middle::Bare, Role::Emitter(plan)) => Role::BareEmitter(plan),
            (Middle::Bare, Role::Listener(plan)) => Role::BareListener(plan),
            (_, role) => role,
        }
    }
}

/// Plan of an emitter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmitterPlan {
    /// Socket to connect to.
    pub socket: PathBuf,
    /// Name of the client.
    pub name: String,
    /// Transport of the client.
    pub transport: Transport,
    /// Number of the emitter.
    pub index: u16,
    /// Events, emitted in turn.
    pub events: Vec<(u16, String)>,
    /// Bytes of a payload.
    pub size: usize,
    /// Events per second; `None`: as fast as it goes.
    pub rate: Option<u64>,
    /// Number of events after which the emitter ends by itself.
    pub count: Option<u64>,
    /// Event of the answers, for each of which the emitter waits.
    pub reply: Option<String>,
    /// Way in which one event is broken.
    pub inject: Option<Fault>,
}

/// Plan of a listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenerPlan {
    /// Socket to connect to.
    pub socket: PathBuf,
    /// Name of the client.
    pub name: String,
    /// Transport of the client.
    pub transport: Transport,
    /// Event of the listener.
    pub event: (u16, String),
    /// Number of emitters.
    pub emitters: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Whether every byte is compared.
    pub verify_full: bool,
    /// Whether latencies are taken from the payloads.
    pub timed: bool,
    /// Event of the answers.
    pub reply: Option<String>,
}

/// Plan of the process with many connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ManyPlan {
    /// Socket to connect to.
    pub socket: PathBuf,
    /// Number of connections; the n-th listens to event n.
    pub connections: usize,
    /// Whether the connections use epoll, even where there is io_uring.
    pub by_epoll: bool,
    /// Transport of the connections' clients; `None`: bare sessions.
    pub by_clients: Option<Transport>,
    /// Number of emitters.
    pub emitters: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Whether every byte is compared.
    pub verify_full: bool,
    /// Whether latencies are taken from the payloads.
    pub timed: bool,
}

/// Plan of a client that is stuck, slow or has very many patterns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StuckClientPlan {
    /// Socket to connect to.
    pub socket: PathBuf,
    /// Name of the client.
    pub name: String,
    /// Transport of the client.
    pub transport: Transport,
    /// Event that the client listens to.
    pub event: Option<String>,
    /// Bytes per second that the client reads.
    pub read_bytes_per_s: u64,
    /// Number of patterns that match nothing.
    pub patterns: usize,
}

/// Returns the name of an emitter.
pub fn emitter_name(index: usize) -> String {
    format!("emitter-{index}")
}

/// Returns the name of a listener.
pub fn listener_name(index: usize) -> String {
    format!("listener-{index}")
}

/// Returns the name of the n-th event.
pub fn event_name(event: usize) -> String {
    format!("e{event}")
}

fn reply_name(event: usize) -> String {
    format!("r{event}")
}

/// Returns the n-th pattern that matches no event of a run: a third literal, a third with
/// `**` behind, a third with `*` in front.
pub fn strange_pattern(index: usize) -> String {
    match index % 3 {
        0 => format!("other.{index}"),
        1 => format!("other.{index}.**"),
        _ => format!("*.other.{index}"),
    }
}

impl Scenario {
    /// Returns whether some client may share memory with the broker.
    pub fn shares_memory(&self) -> bool {
        self.transport.is_shared() || self.beside == Some(SharedMemory::Auto)
    }

    /// Returns the same scenario with sockets alone.
    pub fn by_sockets(&self) -> Scenario {
        Scenario {
            transport: Transport::SOCKETS,
            beside: self.beside.map(|_| SharedMemory::Off),
            ..self.clone()
        }
    }

    /// Returns the events of emitter `index`.
    pub fn events_of_emitter(&self, index: usize) -> Vec<usize> {
        if self.events <= self.emitters {
            return vec![index % self.events];
        }
        (index..self.events).step_by(self.emitters).collect()
    }

    /// Returns the event of listener `index`.
    pub fn event_of_listener(&self, index: usize) -> usize {
        index % self.events
    }

    /// Returns the listeners of emitter `index`.
    pub fn listeners_of_emitter(&self, index: usize) -> Vec<usize> {
        let events = self.events_of_emitter(index);
        let fed = |&listener: &usize| events.contains(&self.event_of_listener(listener));
        (0..self.listeners).filter(fed).collect()
    }

    /// Returns whether no listener is fed by two emitters: a relay needs that.
    pub fn suits_relay(&self) -> bool {
        let fed: usize = (0..self.emitters).map(|e| self.listeners_of_emitter(e).len()).sum();
        self.connections.is_none() && fed <= self.listeners && self.events <= self.emitters
    }

    /// Returns the role of the relay.
    pub fn relay(&self, socket: PathBuf, bare: bool) -> Role {
        let links = (0..self.emitters).map(|e| self.listeners_of_emitter(e)).collect();
        Role::Relay(RelayPlan { socket, links, round_trip: self.round_trip, bare })
    }

    /// Returns the roles of the emitters.
    pub fn emitters(&self, socket: PathBuf, middle: Middle) -> Vec<Role> {
        let emitter = |index: usize| {
            let events = self.events_of_emitter(index);
            Role::Emitter(EmitterPlan {
                socket: socket.clone(),
                name: emitter_name(index),
                transport: self.transport,
                index: index as u16,
                reply: self.round_trip.then(|| reply_name(events[0])),
                events: events.iter().map(|&e| (e as u16, event_name(e))).collect(),
                size: self.size,
                rate: self.rate,
                count: self.count,
                inject: self.inject,
            })
        };
        (0..self.emitters).map(emitter).map(|role| middle.role(role)).collect()
    }

    /// Returns the roles of the listeners: one process each, or one for all connections.
    pub fn listeners(&self, socket: PathBuf, middle: Middle) -> Vec<Role> {
        let (size, emitters) = (self.size, self.emitters);
        let (verify_full, timed) = (self.verify_full, self.rate.is_some());
        if let Some(connections) = self.connections {
            return vec![Role::Many(ManyPlan {
                socket,
                connections,
                by_epoll: self.by_epoll,
                by_clients: self.by_clients.then_some(self.transport),
                emitters,
                size,
                verify_full,
                timed,
            })];
        }
        let listener = |index: usize| {
            let event = self.event_of_listener(index);
            Role::Listener(ListenerPlan {
                socket: socket.clone(),
                name: listener_name(index),
                transport: self.transport,
                event: (event as u16, event_name(event)),
                emitters,
                size,
                verify_full,
                timed,
                reply: self.round_trip.then(|| reply_name(event)),
            })
        };
        (0..self.listeners).map(listener).map(|role| middle.role(role)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(emitters: usize, listeners: usize, events: usize) -> Scenario {
        Scenario { emitters, listeners, events, ..Scenario::default() }
    }

    #[test]
    fn as_many_events_as_emitters_make_pairs() {
        let four = scenario(4, 4, 4);
        for index in 0..4 {
            assert_eq!(four.events_of_emitter(index), [index]);
            assert_eq!(four.listeners_of_emitter(index), [index]);
        }
        assert!(four.suits_relay());
    }

    #[test]
    fn one_event_reaches_all() {
        assert_eq!(scenario(1, 8, 1).listeners_of_emitter(0).len(), 8);
        assert!(scenario(1, 8, 1).suits_relay());
        assert!(!scenario(2, 2, 1).suits_relay());
    }

    #[test]
    fn more_events_than_emitters_are_shared_out_without_overlap() {
        let two = scenario(2, 5, 5);
        assert_eq!(two.events_of_emitter(0), [0, 2, 4]);
        assert_eq!(two.events_of_emitter(1), [1, 3]);
        assert_eq!(two.listeners_of_emitter(1), [1, 3]);
    }

    #[test]
    fn by_sockets_nobody_shares_memory_and_nothing_else_is_different() {
        let transport = Transport { shared_memory: SharedMemory::Auto, spin_us: 50 };
        let beside = Some(SharedMemory::Auto);
        let shared = Scenario { transport, by_clients: true, ..scenario(2, 2, 2) };
        let mixed = Scenario { transport: Transport::SOCKETS, beside, ..shared.clone() };
        for scenario in [shared, mixed] {
            assert!(scenario.shares_memory());
            let sockets = scenario.by_sockets();
            assert!(!sockets.shares_memory());
            assert_eq!(sockets.transport, Transport::SOCKETS);
            assert_eq!(sockets.beside.is_some(), scenario.beside.is_some());
            let (beside, transport) = (scenario.beside, scenario.transport);
            assert_eq!(Scenario { beside, transport, ..sockets }, scenario);
        }
    }

    #[test]
    fn each_process_is_told_the_transport() {
        let transport = Transport { shared_memory: SharedMemory::Off, spin_us: 7 };
        let one = Scenario { transport, ..scenario(1, 1, 1) };
        let many = |by_clients| Scenario { connections: Some(5), by_clients, ..one.clone() };
        let told = |scenario: &Scenario| {
            let roles = [
                scenario.emitters(PathBuf::new(), Middle::Broker),
                scenario.listeners(PathBuf::new(), Middle::Broker),
            ];
            let told = roles.into_iter().flatten().map(|role| match role {
                Role::Emitter(plan) => Some(plan.transport),
                Role::Listener(plan) => Some(plan.transport),
                Role::Many(plan) => plan.by_clients,
                other => panic!("{other:?}"),
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(told(&one), [Some(transport); 2]);
        assert_eq!(told(&many(true)), [Some(transport); 2]);
        assert_eq!(told(&many(false)), [Some(transport), None]);
    }
}
