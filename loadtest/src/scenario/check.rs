//! Check whether the parts of a scenario fit together, which no single value tells.

use std::collections::BTreeSet;
use std::ops::Range;

use netcluster_wire::Pattern;
use toml::Spanned;

use super::name::{Names, Template};
use super::{
    FaultKind, MAX_CLIENTS, MAX_EMITTERS, MAX_EVENTS, MAX_NAMES, MAX_PAYLOAD_BYTES, MAX_PROCESSES,
    MAX_SECONDS, Scenario, assignment,
};
use crate::scenario::numbers::Rate;

/// Problem of a scenario: what is wrong, and where.
#[derive(Debug)]
pub struct Problem {
    /// Table in which the problem is.
    pub span: Option<Range<usize>>,
    /// Advice on what to do.
    pub text: String,
}

/// Checks all of a scenario.
pub fn check(scenario: &Scenario) -> Result<(), Problem> {
    let whole = |text: String| Err(Problem { span: None, text });
    if scenario.emitters.is_empty() && scenario.churn.is_empty() {
        return whole("nobody emits: add [[emitters]] or [[churn]]".into());
    }
    if scenario.measured_seconds() <= 0.0 {
        return whole("no phase is measured".into());
    }
    if scenario.total_seconds() > MAX_SECONDS {
        return whole(format!("at most {MAX_SECONDS} seconds altogether"));
    }
    if scenario.broker.shards.is_some_and(|shards| !(1..=64).contains(&shards)) {
        return whole("shards must be from 1 to 64".into());
    }
    // Before any of them is made.
    let made = names_of_all(scenario);
    if made > MAX_NAMES {
        return whole(format!("{made} names of events and patterns: at most {MAX_NAMES}"));
    }
    let mut names = BTreeSet::new();
    for emitters in &scenario.emitters {
        let table = Table { scenario, span: emitters.span() };
        let of = emitters.get_ref();
        table.role(&of.name, &of.on, &of.channel, &mut names)?;
        table.numbers(of.clients, of.processes)?;
        table.events(&of.events)?;
        let payload_bytes = of.clients.saturating_mul(of.size.largest());
        if payload_bytes > MAX_PAYLOAD_BYTES {
            return table.wrong(format!(
                "clients times the largest size makes {} MB of payloads on a machine: at most {}",
                payload_bytes >> 20,
                MAX_PAYLOAD_BYTES >> 20
            ));
        }
        if of.round_trip && of.rate == Rate::Max && of.events.names("m", 0).len() > 1 {
            return table.wrong("as fast as it goes, a round trip has but one event".into());
        }
    }
    for listeners in &scenario.listeners {
        let table = Table { scenario, span: listeners.span() };
        let of = listeners.get_ref();
        table.role(&of.name, &of.on, &of.channel, &mut names)?;
        table.numbers(of.clients, of.processes)?;
        table.patterns(&of.patterns)?;
        if of.delay_us > 60_000_000 {
            return table.wrong("delay-us must be at most a minute".into());
        }
    }
    for churn in &scenario.churn {
        let table = Table { scenario, span: churn.span() };
        let of = churn.get_ref();
        table.role(&of.name, &of.on, &of.channel, &mut names)?;
        table.patterns(&of.patterns)?;
        let at_a_time = of.connects_per_s * of.lifetime_ms as f64 / 1000.0;
        if at_a_time > MAX_CLIENTS as f64 {
            return table.wrong(format!(
                "connects-per-s times lifetime-ms makes {at_a_time:.0} at a time: at most \
                 {MAX_CLIENTS}"
            ));
        }
    }
    faults(scenario)?;
    let emitters: usize =
        scenario.emitters.iter().map(|emitters| clients(scenario, emitters)).sum();
    if emitters > MAX_EMITTERS {
        return whole(format!("{emitters} emitting clients: at most {MAX_EMITTERS}"));
    }
    round_trips(scenario)
}

/// Counts the names of events and patterns of all clients together.
fn names_of_all(scenario: &Scenario) -> usize {
    let of = |names: &Names, clients: usize, on: &[String]| {
        names.count().saturating_mul(clients).saturating_mul(scenario.machines_of(on).len())
    };
    let emitters = scenario.emitters.iter().map(|emitters| {
        let emitters = emitters.get_ref();
        of(&emitters.events, emitters.clients, &emitters.on)
    });
    let listeners = scenario.listeners.iter().map(|listeners| {
        let listeners = listeners.get_ref();
        of(&listeners.patterns, listeners.clients, &listeners.on)
    });
    let churn = scenario.churn.iter().map(|churn| {
        let churn = churn.get_ref();
        of(&churn.patterns, 1, &churn.on)
    });
    emitters.chain(listeners).chain(churn).fold(0, usize::saturating_add)
}

fn clients(scenario: &Scenario, emitters: &Spanned<super::EmitterSpec>) -> usize {
    emitters.get_ref().clients * scenario.machines_of(&emitters.get_ref().on).len()
}

fn faults(scenario: &Scenario) -> Result<(), Problem> {
    for fault in &scenario.faults {
        let table = Table { scenario, span: fault.span() };
        let of = fault.get_ref();
        table.machine(&of.machine)?;
        if of.at_s + of.for_s >= scenario.total_seconds() {
            return table.wrong(format!(
                "it must be mended before the end, after {} seconds",
                scenario.total_seconds()
            ));
        }
        if of.kind == FaultKind::RestartBroker && !scenario.broker.start {
            return table.wrong("restart-broker needs a broker that is started here".into());
        }
        if of.kind == FaultKind::Loss && of.percent == 0.0 {
            return table.wrong("loss needs `percent`".into());
        }
    }
    Ok(())
}

/// Checks that each event of a round trip has exactly one listener who answers, so that
/// no answer is missing or one too many.
fn round_trips(scenario: &Scenario) -> Result<(), Problem> {
    let assignment = assignment::assign(scenario, "check");
    for emitter in assignment.emitters.iter().filter(|emitter| emitter.round_trip) {
        let spec = &scenario.emitters[emitter.spec];
        for event in &emitter.events {
            let answerers = assignment.listeners.iter().filter(|listener| {
                listener.replies && listener.channel == emitter.channel && listener.hears(event)
            });
            let count = answerers.count();
            if count != 1 {
                let text = format!(
                    "{event} on channel {}: a round trip needs one listening client with \
                     `replies = true`, not {count}",
                    emitter.channel
                );
                return Err(Problem { span: Some(spec.span()), text });
            }
        }
    }
    Ok(())
}

/// Table that is checked.
struct Table<'a> {
    scenario: &'a Scenario,
    span: Range<usize>,
}

impl<'a> Table<'a> {
    fn wrong<T>(&self, text: String) -> Result<T, Problem> {
        Err(Problem { span: Some(self.span.clone()), text })
    }

    fn role(
        &self,
        name: &'a str,
        on: &[String],
        channel: &Template,
        names: &mut BTreeSet<&'a str>,
    ) -> Result<(), Problem> {
        if name.is_empty() || !names.insert(name) {
            return self.wrong(format!("{name:?}: each role has a name of its own"));
        }
        on.iter().try_for_each(|machine| self.machine(machine))?;
        if channel.is_range() {
            return self.wrong("a client has one channel, not a range".into());
        }
        let channel = channel.only(&self.scenario.machines.0[0], 0);
        self.name(&channel, "channel").map(drop)
    }

    fn machine(&self, name: &String) -> Result<(), Problem> {
        let machines = &self.scenario.machines.0;
        if !machines.contains(name) {
            return self.wrong(format!("there is no machine {name}, only {}", machines.join(", ")));
        }
        Ok(())
    }

    fn numbers(&self, clients: usize, processes: usize) -> Result<(), Problem> {
        if !(1..=MAX_CLIENTS).contains(&clients) {
            return self.wrong(format!("clients must be from 1 to {MAX_CLIENTS}, not {clients}"));
        }
        let most = clients.min(MAX_PROCESSES);
        if !(1..=most).contains(&processes) {
            return self.wrong(format!("processes must be from 1 to {most}, not {processes}"));
        }
        Ok(())
    }

    fn events(&self, events: &Names) -> Result<(), Problem> {
        let names = events.names(&self.scenario.machines.0[0], 0);
        if names.len() > MAX_EVENTS {
            return self.wrong(format!("at most {MAX_EVENTS} events per emitter"));
        }
        for name in &names {
            if !self.name(name, "event")?.is_literal() {
                return self.wrong(format!("{name:?}: what is emitted has no wildcards"));
            }
        }
        Ok(())
    }

    fn patterns(&self, patterns: &Names) -> Result<(), Problem> {
        let names = patterns.names(&self.scenario.machines.0[0], 0);
        names.iter().try_for_each(|name| self.name(name, "pattern").map(drop))
    }

    fn name(&self, name: &str, what: &str) -> Result<Pattern, Problem> {
        match Pattern::new(name.as_bytes()) {
            // A space is allowed by the broker, but in a scenario it is a slip.
            Ok(pattern) if !name.contains(char::is_whitespace) => Ok(pattern),
            Ok(_) => self.wrong(format!("{name:?}: no spaces in a {what}'s name")),
            Err(error) => self.wrong(format!("{name:?} is no {what}'s name: {error}")),
        }
    }
}
