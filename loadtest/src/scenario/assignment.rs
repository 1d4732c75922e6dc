//! Assignment of a scenario's roles to processes of machines, with everything that each
//! is told but the clocks.
//!
//! Emitting clients are numbered over the whole scenario, since that number is in each
//! payload; a listener is told of those that it hears, so that it knows what is missing.

use netcluster_wire::Pattern;

use super::numbers::Rate;
use super::schedule::Phase;
use super::{Queue, Scenario, Verify};
use crate::play::plan::{
    ChurnPlan, EmitterPlan, EmittersPlan, ListenerPlan, ListenersPlan, Part, SourcePlan,
};

const NS_PER_S: f64 = 1e9;

/// Assignment of all clients to the processes that they live in.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Every emitting client.
    pub emitters: Vec<Emitter>,
    /// Every listening client.
    pub listeners: Vec<Listener>,
    /// The roles of each machine, in the order in which they start.
    pub roles: Vec<Role>,
}

/// Emitting client.
#[derive(Clone, Debug)]
pub struct Emitter {
    /// Number of the client, as in payloads.
    pub id: u16,
    /// Table of the client in the scenario.
    pub spec: usize,
    /// Machine of the client.
    pub machine: usize,
    /// Channel of the client.
    pub channel: String,
    /// Events that the client emits.
    pub events: Vec<String>,
    /// Whether the client waits for answers.
    pub round_trip: bool,
}

/// Listening client.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Channel of the client.
    pub channel: String,
    /// Patterns of the client as text.
    pub patterns: Vec<String>,
    /// Whether the client answers.
    pub replies: bool,
    compiled: Vec<Pattern>,
}

/// Role on one machine.
#[derive(Clone, Debug)]
pub struct Role {
    /// Name of the role in the scenario.
    pub name: String,
    /// Machine of the role.
    pub machine: usize,
    /// Kind of the role.
    pub kind: Kind,
    /// Channel of the role, or that of its first client and dots.
    pub channel: String,
    /// Part of each process of the role.
    pub parts: Vec<Part>,
}

/// Kinds of roles, in the order in which they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Listens.
    Listener,
    /// Comes and goes.
    Churn,
    /// Emits.
    Emitter,
}

impl Listener {
    /// Returns whether the client hears an event of its channel.
    pub fn hears(&self, event: &str) -> bool {
        self.compiled.iter().any(|pattern| pattern.matches(event.as_bytes()))
    }
}

/// Returns the phases in the form that emitters take.
pub fn phases(scenario: &Scenario) -> Vec<Phase> {
    let phases = scenario.phases();
    let phase = |of: &super::PhaseSpec| Phase {
        ns: (of.seconds * NS_PER_S) as u64,
        from: of.load,
        to: of.load_to.unwrap_or(of.load),
        measured: of.measured,
    };
    phases.iter().map(phase).collect()
}

/// Returns the event on which the answers to an emitting client come.
pub fn reply_event(emitter: u16) -> String {
    format!("loadtest.reply.{emitter}")
}

/// Assigns the roles of a scenario. `run` makes names of channels this run's own, where a
/// broker that serves others is attached to.
pub fn assign(scenario: &Scenario, run: &str) -> Assignment {
    let mut assignment =
        Assignment { emitters: Vec::new(), listeners: Vec::new(), roles: Vec::new() };
    let prefix = if scenario.broker.start { String::new() } else { format!("loadtest-{run}-") };
    let builder = Builder { scenario, prefix, phases: phases(scenario) };
    builder.number_emitters(&mut assignment);
    for spec in 0..scenario.listeners.len() {
        builder.listeners(spec, &mut assignment);
    }
    for spec in 0..scenario.churn.len() {
        builder.churn(spec, &mut assignment);
    }
    for spec in 0..scenario.emitters.len() {
        builder.emitters(spec, &mut assignment);
    }
    assignment
}

struct Builder<'a> {
    scenario: &'a Scenario,
    prefix: String,
    phases: Vec<Phase>,
}

impl Builder<'_> {
    fn machine_name(&self, machine: usize) -> &str {
        &self.scenario.machines.0[machine]
    }

    fn is_linked(&self) -> bool {
        self.scenario.machines.0.len() > 1
    }

    fn number_emitters(&self, assignment: &mut Assignment) {
        for (spec, of) in self.scenario.emitters.iter().enumerate() {
            let of = of.get_ref();
            for machine in self.scenario.machines_of(&of.on) {
                let name = self.machine_name(machine);
                for client in 0..of.clients {
                    assignment.emitters.push(Emitter {
                        // The check refuses more than fit.
                        id: assignment.emitters.len() as u16,
                        spec,
                        machine,
                        channel: format!("{}{}", self.prefix, of.channel.only(name, client)),
                        events: of.events.names(name, client),
                        round_trip: of.round_trip,
                    });
                }
            }
        }
    }

    fn emitters(&self, spec: usize, assignment: &mut Assignment) {
        let of = self.scenario.emitters[spec].get_ref();
        for machine in self.scenario.machines_of(&of.on) {
            let mine: Vec<&Emitter> = assignment
                .emitters
                .iter()
                .filter(|emitter| emitter.spec == spec && emitter.machine == machine)
                .collect();
            let part = |emitters: &[&Emitter]| {
                Part::Emitters(EmittersPlan {
                    name: of.name.clone(),
                    emitters: emitters.iter().map(|emitter| emitter_plan(emitter)).collect(),
                    size: of.size,
                    rate: of.rate,
                    arrivals: of.arrivals,
                    round_trip: of.round_trip,
                    phases: self.phases.clone(),
                    seed: self.scenario.seed,
                    is_linked: self.is_linked(),
                })
            };
            let parts = shares(&mine, of.processes).map(part).collect();
            let channel = channel_of(mine.iter().map(|emitter| emitter.channel.as_str()));
            let (name, kind) = (of.name.clone(), Kind::Emitter);
            assignment.roles.push(Role { name, machine, kind, channel, parts });
        }
    }

    fn listeners(&self, spec: usize, assignment: &mut Assignment) {
        let of = self.scenario.listeners[spec].get_ref();
        for machine in self.scenario.machines_of(&of.on) {
            let name = self.machine_name(machine);
            let listeners: Vec<Listener> = (0..of.clients)
                .map(|client| {
                    let patterns = of.patterns.names(name, client);
                    let compiled =
                        patterns.iter().filter_map(|text| Pattern::new(text.as_bytes()).ok());
                    Listener {
                        channel: format!("{}{}", self.prefix, of.channel.only(name, client)),
                        compiled: compiled.collect(),
                        replies: of.replies,
                        patterns,
                    }
                })
                .collect();
            let numbered: Vec<(usize, &Listener)> = listeners.iter().enumerate().collect();
            let largest = self.scenario.emitters.iter().map(|of| of.get_ref().size.largest());
            let max_size = largest.max().unwrap_or_default();
            let part = |share: &[(usize, &Listener)]| {
                let hears = |emitter: &&Emitter| {
                    share.iter().any(|(_, listener)| {
                        listener.channel == emitter.channel
                            && emitter.events.iter().any(|event| listener.hears(event))
                    })
                };
                Part::Listeners(ListenersPlan {
                    name: of.name.clone(),
                    listeners: share
                        .iter()
                        .map(|(client, listener)| ListenerPlan {
                            client: *client,
                            channel: listener.channel.clone(),
                            patterns: listener.patterns.clone(),
                        })
                        .collect(),
                    sources: assignment
                        .emitters
                        .iter()
                        .filter(hears)
                        .map(|emitter| self.source(emitter, machine))
                        .collect(),
                    replies: of.replies,
                    delay_us: of.delay_us,
                    latest: of.queue == Queue::Latest,
                    verify_full: of.verify == Verify::Full,
                    max_size,
                    phases: self.phases.clone(),
                    is_linked: self.is_linked(),
                })
            };
            let parts = shares(&numbered, of.processes).map(part).collect();
            let channel = channel_of(listeners.iter().map(|listener| listener.channel.as_str()));
            assignment.roles.push(Role {
                name: of.name.clone(),
                machine,
                kind: Kind::Listener,
                channel,
                parts,
            });
            assignment.listeners.extend(listeners);
        }
    }

    fn source(&self, emitter: &Emitter, machine: usize) -> SourcePlan {
        let of = self.scenario.emitters[emitter.spec].get_ref();
        SourcePlan {
            id: emitter.id,
            channel: emitter.channel.clone(),
            events: emitter.events.clone(),
            machine: emitter.machine,
            is_remote: emitter.machine != machine,
            // As fast as it goes, there is no time at which an event was due.
            is_timed: of.rate != Rate::Max,
            behind_ns: 0,
        }
    }

    fn churn(&self, spec: usize, assignment: &mut Assignment) {
        let of = self.scenario.churn[spec].get_ref();
        for machine in self.scenario.machines_of(&of.on) {
            let name = self.machine_name(machine);
            let channel = format!("{}{}", self.prefix, of.channel.only(name, 0));
            let plan = ChurnPlan {
                name: of.name.clone(),
                channel: channel.clone(),
                connects_per_s: of.connects_per_s,
                lifetime_ms: of.lifetime_ms,
                patterns: of.patterns.names(name, 0),
                phases: self.phases.clone(),
            };
            assignment.roles.push(Role {
                name: of.name.clone(),
                machine,
                kind: Kind::Churn,
                channel,
                parts: vec![Part::Churn(plan)],
            });
        }
    }
}

fn emitter_plan(emitter: &Emitter) -> EmitterPlan {
    EmitterPlan { id: emitter.id, channel: emitter.channel.clone(), events: emitter.events.clone() }
}

/// Shares clients out among processes, as equally as can be.
fn shares<T>(clients: &[T], processes: usize) -> impl Iterator<Item = &[T]> {
    let at = move |process: usize| clients.len() * process / processes;
    (0..processes).map(move |process| &clients[at(process)..at(process + 1)])
}

fn channel_of<'a>(mut channels: impl Iterator<Item = &'a str>) -> String {
    let first = channels.next().unwrap_or_default();
    if channels.all(|other| other == first) { first.into() } else { format!("{first} …") }
}

#[cfg(test)]
mod tests {
    use super::super::{parse, shipped};
    use super::*;

    #[test]
    fn every_listener_knows_those_whom_it_hears() {
        let text = r#"
            name = "rooms"
            machines = 2
            [[emitters]]
            name = "talkers"
            channel = "room-{client%2}"
            clients = 4
            events = ["say.{client}", "hint"]
            rate = 1
            [[listeners]]
            name = "members"
            on = ["m2"]
            channel = "room-{client%2}"
            clients = 2
            processes = 2
            patterns = "say.*"
        "#;
        let assignment = assign(&parse::parse("t", text).unwrap(), "t");
        assert_eq!(assignment.emitters.len(), 8);
        assert!(
            assignment.emitters.iter().enumerate().all(|(at, emitter)| at == emitter.id as usize)
        );
        let members = &assignment.roles[0];
        assert_eq!((members.machine, members.parts.len()), (1, 2));
        let Part::Listeners(listeners) = &members.parts[0] else { panic!("a listener") };
        let heard: Vec<(u16, bool)> =
            listeners.sources.iter().map(|s| (s.id, s.is_remote)).collect();
        assert_eq!(heard, [(0, true), (2, true), (4, false), (6, false)]);
    }

    #[test]
    fn listeners_start_before_emitters_in_every_shipped_scenario() {
        for name in shipped::names() {
            let (scenario, _) = parse::read(name).unwrap();
            let kinds: Vec<Kind> =
                assign(&scenario, "t").roles.iter().map(|role| role.kind).collect();
            let first = kinds.iter().position(|kind| *kind == Kind::Emitter).unwrap_or(kinds.len());
            assert!(kinds[first..].iter().all(|kind| *kind == Kind::Emitter), "{name}");
        }
    }

    #[test]
    fn an_attached_broker_gets_channels_of_the_run() {
        let text = "name = 'x'\n[broker]\nstart = false\n[[emitters]]\nname = 'e'\nevents = 'a'\nrate = 1\n";
        let assignment = assign(&parse::parse("t", text).unwrap(), "7f");
        assert_eq!(assignment.emitters[0].channel, "loadtest-7f-default");
    }
}
