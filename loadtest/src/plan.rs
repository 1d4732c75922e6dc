//! What a run is made of, once the arguments have been understood, and what
//! each of its processes is told.
//!
//! Who feeds whom: with as many events as emitters or fewer, emitter *i* emits
//! event *i* mod K; with more events than emitters, it emits the events that
//! are *i* mod E in turn. Listener *j* listens to event *j* mod K. So 4→4 on
//! four events are four pairs, and on one event everyone hears everyone.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[cfg(target_os = "linux")]
use crate::link::plan::LinkRole;
#[cfg(feature = "compare")]
use crate::peers::PeerRole;
use crate::pin::Pin;
use crate::play::plan::PartPlan;
use crate::relay::RelayPlan;

/// Name of the event that the slow reader listens to.
pub const SLOW_EVENT: &str = "slow";
/// Name of the event that the stuck listener listens to.
pub const STUCK_EVENT: &str = "stuck";

/// One measurement, whatever stands in the middle.
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
    /// One event on the way at a time, answered by the listener.
    pub round_trip: bool,
    /// Listening connections in one process, each to an event of its own.
    pub connections: Option<usize>,
    /// Those by epoll, even where there is io_uring.
    pub by_epoll: bool,
    /// Seconds to stay idle instead of emitting.
    pub idle: Option<f64>,
    /// Patterns that match nothing, registered before.
    pub patterns: usize,
    /// A listener of another event that reads 1 KB/s.
    pub slow_reader: bool,
    /// A listener of another event that never reads.
    pub stuck: bool,
    /// Compare every byte of every payload.
    pub verify_full: bool,
    /// Break one event of each emitter, to see it found.
    pub inject: Option<Fault>,
    /// On which cores it runs; `None`: wherever the scheduler puts it.
    pub pin: Option<Pin>,
    /// The broker's shards; `None`: its default.
    pub shards: Option<usize>,
    /// The broker's back end; `None`: its default.
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
            idle: None,
            patterns: 0,
            slow_reader: false,
            stuck: false,
            verify_full: false,
            inject: None,
            pin: None,
            shards: None,
            backend: None,
        }
    }
}

/// What stands in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Middle {
    /// The broker.
    Broker,
    /// The process that copies bytes.
    Relay,
    /// The same, between clients that are hand-written for it.
    Bare,
}

/// How an event is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It is counted, but not emitted.
    Lose,
    /// It is emitted twice.
    Repeat,
    /// One of its bytes is changed.
    Corrupt,
}

/// What a process of the run is. The first line of its
/// standard input, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// In the middle, copying.
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
}

impl Middle {
    /// A role as it is played around this middle.
    fn role(self, role: Role) -> Role {
        match (self, role) {
            (Middle::Bare, Role::Emitter(plan)) => Role::BareEmitter(plan),
            (Middle::Bare, Role::Listener(plan)) => Role::BareListener(plan),
            (_, role) => role,
        }
    }
}

/// What an emitter is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmitterPlan {
    /// Where to connect.
    pub socket: PathBuf,
    /// How it calls itself.
    pub name: String,
    /// Its number.
    pub index: u16,
    /// Its events, emitted in turn.
    pub events: Vec<(u16, String)>,
    /// Bytes of a payload.
    pub size: usize,
    /// Events per second; `None`: as fast as it goes.
    pub rate: Option<u64>,
    /// Ends by itself after this many.
    pub count: Option<u64>,
    /// Waits for each event's answer, which is this event.
    pub reply: Option<String>,
    /// Breaks one event.
    pub inject: Option<Fault>,
}

/// What a listener is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenerPlan {
    /// Where to connect.
    pub socket: PathBuf,
    /// How it calls itself.
    pub name: String,
    /// Its event.
    pub event: (u16, String),
    /// How many emitters there are.
    pub emitters: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Compare every byte.
    pub verify_full: bool,
    /// Take latencies from the payloads.
    pub timed: bool,
    /// Answer with this event.
    pub reply: Option<String>,
}

/// What the process with many connections is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ManyPlan {
    /// Where to connect.
    pub socket: PathBuf,
    /// Connections; the n-th listens to event n.
    pub connections: usize,
    /// By epoll, even where there is io_uring.
    pub by_epoll: bool,
    /// How many emitters there are.
    pub emitters: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Compare every byte.
    pub verify_full: bool,
    /// Take latencies from the payloads.
    pub timed: bool,
}

/// What a client that is stuck, slow or has very many patterns is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StuckClientPlan {
    /// Where to connect.
    pub socket: PathBuf,
    /// How it calls itself.
    pub name: String,
    /// The event it listens to.
    pub event: Option<String>,
    /// Bytes per second that it reads.
    pub read_bytes_per_s: u64,
    /// How many patterns that match nothing it has.
    pub patterns: usize,
}

/// How an emitter calls itself.
pub fn emitter_name(index: usize) -> String {
    format!("emitter-{index}")
}

/// How a listener calls itself.
pub fn listener_name(index: usize) -> String {
    format!("listener-{index}")
}

/// The n-th event.
pub fn event_name(event: usize) -> String {
    format!("e{event}")
}

fn reply_name(event: usize) -> String {
    format!("r{event}")
}

/// The n-th pattern that matches no event of a run: a third literal, a third
/// with `**` behind, a third with `*` in front.
pub fn strange_pattern(index: usize) -> String {
    match index % 3 {
        0 => format!("other.{index}"),
        1 => format!("other.{index}.**"),
        _ => format!("*.other.{index}"),
    }
}

impl Scenario {
    /// The events of emitter `index`.
    pub fn events_of_emitter(&self, index: usize) -> Vec<usize> {
        if self.events <= self.emitters {
            return vec![index % self.events];
        }
        (index..self.events).step_by(self.emitters).collect()
    }

    /// The event of listener `index`.
    pub fn event_of_listener(&self, index: usize) -> usize {
        index % self.events
    }

    /// The listeners of emitter `index`.
    pub fn listeners_of_emitter(&self, index: usize) -> Vec<usize> {
        let events = self.events_of_emitter(index);
        let fed = |&listener: &usize| events.contains(&self.event_of_listener(listener));
        (0..self.listeners).filter(fed).collect()
    }

    /// Whether no listener is fed by two emitters, as a relay needs it.
    pub fn suits_relay(&self) -> bool {
        let fed: usize = (0..self.emitters).map(|e| self.listeners_of_emitter(e).len()).sum();
        self.connections.is_none() && fed <= self.listeners && self.events <= self.emitters
    }

    /// The relay's part.
    pub fn relay(&self, socket: PathBuf, bare: bool) -> Role {
        let links = (0..self.emitters).map(|e| self.listeners_of_emitter(e)).collect();
        Role::Relay(RelayPlan { socket, links, round_trip: self.round_trip, bare })
    }

    /// The emitters' parts.
    pub fn emitters(&self, socket: PathBuf, middle: Middle) -> Vec<Role> {
        let emitter = |index: usize| {
            let events = self.events_of_emitter(index);
            Role::Emitter(EmitterPlan {
                socket: socket.clone(),
                name: emitter_name(index),
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

    /// The listeners' parts: one process each, or one for all connections.
    pub fn listeners(&self, socket: PathBuf, middle: Middle) -> Vec<Role> {
        let (size, emitters) = (self.size, self.emitters);
        let (verify_full, timed) = (self.verify_full, self.rate.is_some());
        if let Some(connections) = self.connections {
            let by_epoll = self.by_epoll;
            let many =
                ManyPlan { socket, connections, by_epoll, emitters, size, verify_full, timed };
            return vec![Role::Many(many)];
        }
        let listener = |index: usize| {
            let event = self.event_of_listener(index);
            Role::Listener(ListenerPlan {
                socket: socket.clone(),
                name: listener_name(index),
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
}
