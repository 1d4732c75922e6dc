//! Totals of a run, series over time, latencies: its record becomes its result.
//!
//! Processes tick when they come to it; between two ticks a count is taken to grow
//! evenly, so that all can be added up at the same moments.

use std::collections::BTreeMap;

use super::agents::Agents;
use super::record::{MachineRecord, Record, RoleRecord};
use super::run;
use crate::agent::message::Reading;
use crate::play::plan::{Part, Tick};
use crate::result::metric::{self, Metric};
use crate::result::{
    Latency, LatencyKind, MachineInfo, Phase, RoleKind, RoleTotals, RunResult, ScenarioInfo, Series,
};
use crate::scenario::assignment::{Assignment, Kind, Role};
use crate::scenario::{FaultKind, FaultSpec, Queue, Scenario};

/// Choice of a count of a reading, if the broker told it.
type Pick = fn(&Reading) -> Option<u64>;

/// Name of the broker in a result.
pub const BROKER: &str = "broker";
/// Metric of the connections that came and went.
const CONNECTIONS: Metric = ("connections", "1/s");
/// Words behind a role's name for latencies by two clocks.
const FROM_AFAR: &str = ", from other machines";
const NS_PER_MS: u64 = 1_000_000;
/// Share of the events that were due below which the load was not the one asked for.
const MIN_EMITTED: f64 = 0.98;

/// Makes the result of a run.
pub fn result(
    scenario: &Scenario,
    text: &str,
    assignment: &Assignment,
    agents: &Agents,
    mut record: Record,
) -> RunResult {
    tell_troubles(scenario, assignment, &mut record);
    let builder = Builder { scenario, record: &record };
    let mut result = RunResult {
        complete: record.complete,
        started_unix_ms: record.started_unix_ms,
        seconds: record.ended_ms as f64 / 1000.0,
        scenario: ScenarioInfo {
            name: scenario.name.clone(),
            toml: text.to_owned(),
            arguments: scenario.arguments.clone(),
        },
        offered_per_s: scenario.offered_per_s(),
        phases: builder.phases(),
        ..RunResult::default()
    };
    for (place, machine) in record.machines.iter().enumerate() {
        let name = scenario.machines.0[place].clone();
        result.machines.push(builder.machine(place, agents));
        result.roles.push(builder.broker(place));
        builder.broker_series(place, &mut result.series);
        result.counters.insert(name, machine.counters.clone());
    }
    for (role, of) in assignment.roles.iter().zip(&record.roles) {
        result.roles.push(builder.totals(role, of));
        builder.role_series(role, of, &mut result.series);
        builder.latencies(role, of, &mut result.latencies);
    }
    result.notes = record.notes;
    result
}

/// Returns whether every event that had to came once, whole and in order, to the end.
pub fn is_clean(scenario: &Scenario, result: &RunResult) -> bool {
    // What a killed broker held is gone, whatever it does.
    let is_killed = |of: &FaultSpec| of.kind == FaultKind::RestartBroker;
    let any_lost = scenario.faults.iter().any(|of| is_killed(of.get_ref()));
    let is_clean = |role: &RoleTotals| {
        let lost = if any_lost || may_lose(scenario, &role.name) { 0 } else { role.lost };
        lost + role.duplicated + role.disordered + role.corrupt == 0
    };
    let is_held = result.capacity.as_ref().is_none_or(|found| found.found_per_s.is_some());
    result.complete && is_held && result.roles.iter().all(is_clean)
}

/// Returns whether these listeners rather lose than delay others.
pub fn may_lose(scenario: &Scenario, name: &str) -> bool {
    let mut listeners = scenario.listeners.iter().map(|of| of.get_ref());
    listeners.any(|of| of.name == name && of.queue == Queue::Latest)
}

/// Returns the events per second that came to all listeners in the measured phases.
pub fn delivered_per_s(result: &RunResult, scenario: &Scenario) -> f64 {
    let phases = scenario.phases();
    let measured: Vec<&Phase> = result
        .phases
        .iter()
        .zip(&phases)
        .filter(|(_, spec)| spec.measured)
        .map(|(phase, _)| phase)
        .collect();
    let is_measured = |at: u64| measured.iter().any(|of| at > of.from_ms && at <= of.to_ms);
    let is_listener = |name: &str| scenario.listeners.iter().any(|of| of.get_ref().name == name);
    let (name, _) = metric::DELIVERED;
    let series = result.series.iter().filter(|of| of.metric == name && is_listener(&of.role));
    series
        .map(|of| {
            let values = of.at_ms.iter().zip(&of.values).filter(|(at, _)| is_measured(**at));
            let (sum, count) = values.fold((0.0, 0), |(sum, n), (_, value)| (sum + value, n + 1));
            sum / f64::from(count.max(1))
        })
        .sum()
}

/// Adds notes on what the result must tell besides its numbers.
fn tell_troubles(scenario: &Scenario, assignment: &Assignment, record: &mut Record) {
    let area = scenario.load_seconds();
    let mut notes = Vec::new();
    for (role, of) in assignment.roles.iter().zip(&record.roles) {
        let name = format!("{} on {}", role.name, scenario.machines.0[role.machine]);
        if of.refused > 0 {
            notes.push(format!("{name}: {} events were refused and not emitted", of.refused));
        }
        if of.heard.failed > 0 {
            let what = if role.kind == Kind::Churn { "connections" } else { "answers" };
            notes.push(format!("{name}: {} {what} failed", of.heard.failed));
        }
        if let Some(due) = due(role, area)
            && record.complete
            && (of.emitted as f64) < due * MIN_EMITTED - spread(due)
        {
            notes.push(format!(
                "{name}: {} of about {due:.0} events were emitted, as it had to wait",
                of.emitted
            ));
        }
    }
    notes.into_iter().for_each(|text| record.note(text));
}

/// Returns how far a random number of arrivals may be below its mean.
pub fn spread(mean: f64) -> f64 {
    3.0 * mean.sqrt()
}

/// Returns how many events a role was to emit, if it has a rate.
fn due(role: &Role, area: f64) -> Option<f64> {
    let due = role.parts.iter().map(|part| match part {
        Part::Emitters(of) => Some(of.rate.per_s()? * of.emitters.len() as f64 * area),
        _ => None,
    });
    due.sum()
}

/// Counts the clients of a role.
fn clients(role: &Role) -> usize {
    let clients = role.parts.iter().map(|part| match part {
        Part::Emitters(of) => of.emitters.len(),
        Part::Listeners(of) => of.listeners.len(),
        Part::Churn(_) => 1,
    });
    clients.sum()
}

struct Builder<'a> {
    scenario: &'a Scenario,
    record: &'a Record,
}

impl Builder<'_> {
    fn name(&self, place: usize) -> String {
        self.scenario.machines.0[place].clone()
    }

    fn machine_record(&self, place: usize) -> &MachineRecord {
        &self.record.machines[place]
    }

    fn phases(&self) -> Vec<Phase> {
        let mut from = 0.0;
        let phases = self.scenario.phases().into_iter().map(|of| {
            let to: f64 = from + of.seconds * 1000.0;
            let end = |ms: f64| (ms as u64).min(self.record.ended_ms);
            let phase = Phase { name: of.name, from_ms: end(from), to_ms: end(to) };
            from = to;
            phase
        });
        phases.collect()
    }

    fn machine(&self, place: usize, agents: &Agents) -> MachineInfo {
        let of = self.machine_record(place);
        let mut info = agents.machine(place).info.clone();
        if let Some((version, backend)) = &of.broker {
            info.versions.insert("netcluster".into(), format!("{version} ({backend})"));
        }
        MachineInfo {
            name: self.name(place),
            address: agents.address(place).into(),
            clock_offset_ns: of.offset.ns,
            clock_error_ns: of.offset.error_ns,
            complete: of.complete,
            ..info
        }
    }

    fn broker(&self, place: usize) -> RoleTotals {
        let counters = &self.machine_record(place).counters;
        let of = |name: &str| counters.get(name).copied().unwrap_or(0);
        RoleTotals {
            name: BROKER.into(),
            machine: self.name(place),
            kind: RoleKind::Broker,
            channel: String::new(),
            processes: 1,
            emitted: of("events_in"),
            delivered: of("events_out"),
            bytes: of("bytes_out"),
            lost: 0,
            duplicated: 0,
            disordered: 0,
            corrupt: 0,
        }
    }

    fn totals(&self, role: &Role, of: &RoleRecord) -> RoleTotals {
        let heard = &of.heard;
        let is_emitter = role.kind == Kind::Emitter;
        // Who could not tell the total has told how it went.
        let ticked = |count: fn(&Tick) -> u64| -> u64 {
            of.ticks.values().filter_map(|ticks| ticks.last()).map(count).sum()
        };
        RoleTotals {
            name: role.name.clone(),
            machine: self.name(role.machine),
            kind: if is_emitter { RoleKind::Emitter } else { RoleKind::Listener },
            channel: role.channel.clone(),
            processes: clients(role) as u64,
            emitted: if is_emitter { ticked(|tick| tick.emitted).max(of.emitted) } else { 0 },
            delivered: ticked(|tick| tick.received).max(heard.received),
            bytes: if is_emitter {
                of.emitted_bytes
            } else {
                ticked(|tick| tick.received_bytes).max(heard.bytes)
            },
            lost: heard.lost,
            duplicated: heard.duplicated,
            disordered: heard.disordered,
            corrupt: heard.corrupt,
        }
    }

    /// Returns the moments of all series.
    fn edges(&self) -> Vec<u64> {
        let interval = run::interval_ms(self.scenario);
        (1..=self.record.ended_ms / interval).map(|number| number * interval).collect()
    }

    fn series(&self, role: &str, place: usize, metric: Metric, values: Vec<f64>) -> Series {
        let (name, unit) = metric;
        Series {
            role: role.into(),
            machine: self.name(place),
            metric: name.into(),
            unit: unit.into(),
            at_ms: self.edges(),
            values,
        }
    }

    fn role_series(&self, role: &Role, of: &RoleRecord, series: &mut Vec<Series>) {
        let began_ns = self.machine_record(role.machine).began_ns;
        let rate = |pick: fn(&Tick) -> u64| {
            let lines = of.ticks.values().map(|ticks| {
                let points = ticks
                    .iter()
                    .map(|tick| (since_ms(tick.at_ns, began_ns), pick(tick) as f64))
                    .filter(|(x, _)| *x > 0.0);
                // Nothing was counted before it began.
                std::iter::once((0.0, 0.0)).chain(points).collect()
            });
            rates(&lines.collect::<Vec<_>>(), &self.edges())
        };
        let mut add =
            |metric, values| series.push(self.series(&role.name, role.machine, metric, values));
        match role.kind {
            Kind::Listener => {
                add(metric::DELIVERED, rate(|tick| tick.received));
                add(metric::DELIVERED_BYTES, rate(|tick| tick.received_bytes));
            }
            Kind::Emitter => add(metric::EMITTED, rate(|tick| tick.emitted)),
            Kind::Churn => add(CONNECTIONS, rate(|tick| tick.emitted)),
        }
        let p99: Vec<(f64, f64)> = of
            .ticks
            .values()
            .flatten()
            .filter_map(|tick| {
                let (_, p99_ns) = tick.latency_ns?;
                Some((since_ms(tick.at_ns, began_ns), p99_ns as f64))
            })
            .collect();
        if !p99.is_empty() {
            add(metric::P99, highest(&p99, &self.edges()));
        }
    }

    fn broker_series(&self, place: usize, series: &mut Vec<Series>) {
        let of = self.machine_record(place);
        if of.readings.is_empty() {
            return;
        }
        let line = |pick: &dyn Fn(&Reading) -> Option<f64>| -> Vec<(f64, f64)> {
            let points = of
                .readings
                .iter()
                .filter_map(|reading| Some((since_ms(reading.at_ns, of.began_ns), pick(reading)?)));
            points.collect()
        };
        let edges = self.edges();
        let mut add = |metric, values| series.push(self.series(BROKER, place, metric, values));
        let cpu = line(&|of| Some(of.cpu_ns as f64 / 1e9));
        add(metric::CPU, rates(&[cpu], &edges));
        add(metric::RSS, highest(&line(&|of| Some(of.rss_bytes as f64)), &edges));
        let switches = line(&|of| Some(of.context_switches as f64));
        add(metric::CONTEXT_SWITCHES, rates(&[switches], &edges));
        let counted: [(Metric, Pick); 4] = [
            (metric::SYSCALLS, |of| of.syscalls),
            (metric::NAKS, |of| of.naks),
            (metric::REPAIRS, |of| of.repairs),
            (metric::KERNEL_DROPS, |of| of.kernel_drops),
        ];
        for (metric, pick) in counted {
            let line = line(&|of| pick(of).map(|count| count as f64));
            if !line.is_empty() {
                add(metric, rates(&[line], &edges));
            }
        }
    }

    fn latencies(&self, role: &Role, of: &RoleRecord, latencies: &mut Vec<Latency>) {
        let machine = self.name(role.machine);
        let kind = match role.kind {
            Kind::Listener => LatencyKind::OneWay,
            Kind::Churn | Kind::Emitter => LatencyKind::RoundTrip,
        };
        let near = sorted(&of.heard.near);
        if !near.is_empty() {
            latencies.push(Latency::of_buckets(&role.name, &machine, kind, 0, near));
        }
        let far = sorted(&of.heard.far);
        if !far.is_empty() {
            let name = format!("{}{FROM_AFAR}", role.name);
            let error_ns = self.clock_error_ns(role);
            latencies.push(Latency::of_buckets(&name, &machine, kind, error_ns, far));
        }
    }

    /// Returns how far the clocks of those whom a role hears may be off from its own.
    fn clock_error_ns(&self, role: &Role) -> u64 {
        let own = self.machine_record(role.machine).offset.error_ns;
        let sources = role.parts.iter().flat_map(|part| match part {
            Part::Listeners(listeners) => listeners.sources.as_slice(),
            _ => &[],
        });
        let others = sources.filter(|source| source.is_remote);
        let worst = others.map(|source| self.machine_record(source.machine).offset.error_ns).max();
        own + worst.unwrap_or(0)
    }
}

fn since_ms(at_ns: u64, began_ns: u64) -> f64 {
    (at_ns as f64 - began_ns as f64) / NS_PER_MS as f64
}

/// Joins the buckets of several processes, in order, each value once.
fn sorted(buckets: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut sum: BTreeMap<u64, u64> = BTreeMap::new();
    buckets.iter().for_each(|&(value, count)| *sum.entry(value).or_default() += count);
    sum.into_iter().collect()
}

/// Returns the count of a line of points at a moment: even growth between two points,
/// none before the first or after the last.
fn count_at(line: &[(f64, f64)], at: f64) -> f64 {
    let behind = line.partition_point(|(x, _)| *x <= at);
    let (left, right) = (behind.checked_sub(1).map(|place| line[place]), line.get(behind));
    match (left, right) {
        (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (at - x0) / (x1 - x0),
        (Some((_, y)), None) | (None, Some(&(_, y))) => y,
        (None, None) => 0.0,
    }
}

/// Returns the growth per second of counts, all together, up to each edge. The growth of
/// a line before its first point is not known, and taken to be that behind it.
fn rates(lines: &[Vec<(f64, f64)>], edges: &[u64]) -> Vec<f64> {
    let rate = |line: &Vec<(f64, f64)>, from: f64, to: f64| {
        let from = from.max(line.first().map_or(0.0, |(x, _)| *x));
        let growth = (count_at(line, to) - count_at(line, from)).max(0.0);
        if to > from { growth * 1000.0 / (to - from) } else { 0.0 }
    };
    let mut last = 0.0;
    let all = |&edge: &u64| {
        let (from, to) = (last, edge as f64);
        last = to;
        lines.iter().fold(0.0, |sum, line| sum + rate(line, from, to))
    };
    edges.iter().map(all).collect()
}

/// Returns the highest of the points up to each edge; not-a-number where there is none.
fn highest(points: &[(f64, f64)], edges: &[u64]) -> Vec<f64> {
    let mut last = 0.0;
    let value = |&edge: &u64| {
        let (from, to) = (last, edge as f64);
        last = to;
        let inside = points.iter().filter(|(x, _)| *x > from && *x <= to);
        inside.map(|(_, y)| *y).fold(f64::NAN, f64::max)
    };
    edges.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_grow_evenly_between_ticks() {
        let line = vec![(-50.0, 0.0), (100.0, 0.0), (300.0, 200.0), (500.0, 200.0)];
        assert_eq!(rates(std::slice::from_ref(&line), &[200, 400, 600]), [500.0, 500.0, 0.0]);
        let both = rates(&[line.clone(), line], &[200, 400, 600]);
        assert_eq!(both, [1000.0, 1000.0, 0.0]);
    }

    #[test]
    fn the_first_interval_is_as_long_as_what_is_known_of_it() {
        let began = vec![(0.0, 0.0), (150.0, 150.0), (350.0, 350.0)];
        assert_eq!(rates(&[began], &[200, 300]), [1000.0, 1000.0]);
        let late = vec![(250.0, 70.0), (350.0, 170.0)];
        assert_eq!(rates(&[late], &[200, 300]), [0.0, 1000.0]);
    }

    #[test]
    fn a_counter_that_was_there_before_does_not_jump() {
        let line = vec![(100.0, 5000.0), (300.0, 5200.0)];
        // Nothing is told after 300.
        assert_eq!(rates(&[line], &[200, 400]), [1000.0, 500.0]);
    }

    #[test]
    fn without_a_point_there_is_no_highest() {
        let found = highest(&[(10.0, 3.0), (20.0, 7.0), (250.0, 1.0)], &[100, 200, 300]);
        assert_eq!(found[0], 7.0);
        assert!(found[1].is_nan());
        assert_eq!(found[2], 1.0);
    }
}
