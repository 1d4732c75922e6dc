//! One run of a scenario, from the first connection to its result.
//!
//! ```text
//!  connect  clocks  brokers  peers  listeners  emitters │ begin … end │ finish  clocks
//!  ────────────────────────────────────────────────────┼─────────────┼────────────────
//!  what fails here is an error                          │ what fails from here on is
//!                                                       │ told in the result
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::agents::{Agents, KEEP_UP, Mail};
use super::clocks;
use super::environment::Environment;
use super::record::Record;
use super::totals;
use crate::agent::message::{Answer, BrokerPlan, LinkPlan, Order, ProcessPlan};
use crate::play::plan::Part;
use crate::result::{RunResult, unix_ms_now};
use crate::scenario::assignment::{self, Assignment, Kind};
use crate::scenario::{FaultKind, FaultSpec, Scenario};
use crate::{clock, interrupt};

const BROKER_TIMEOUT: Duration = Duration::from_secs(20);
const PEERS_TIMEOUT: Duration = Duration::from_secs(20);
const START_TIMEOUT: Duration = Duration::from_secs(70);
/// Time until the begin, within which everybody is told of it.
const LEAD_NS: u64 = 300_000_000;
/// Time that emitters may be late: by a flush to a broker that was just restarted.
const EMIT_GRACE: Duration = Duration::from_secs(15);
/// Time that listeners may be late: they wait up to a minute for events that are slow.
const HEAR_GRACE: Duration = Duration::from_secs(75);
/// Time for a run that has broken off, which is not worth such a wait.
const PARTIAL_GRACE: Duration = Duration::from_secs(10);
const END_GRACE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// Number of values in a series, about.
const TICKS: f64 = 200.0;
const MIN_INTERVAL_MS: u64 = 200;
const MAX_INTERVAL_MS: u64 = 10_000;

/// Runs a scenario.
///
/// # Errors
/// If the run cannot begin.
pub fn run(scenario: &Scenario, text: &str, environment: &Environment) -> Result<RunResult> {
    interrupt::check()?;
    // A cluster of its own, so that runs beside each other do not meet.
    let run = format!("{:x}-{:x}", std::process::id(), unix_ms_now() & 0xff_ffff);
    let assignment = assignment::assign(scenario, &run);
    let agents = environment.connect(scenario)?;
    let record = Record::new(&assignment, agents.len());
    let mut running =
        Run { scenario, assignment, agents, record, environment, run, is_ending: false };
    running.set_up()?;
    running.play();
    Ok(totals::result(scenario, text, &running.assignment, &running.agents, running.record))
}

/// Returns the time between two ticks of a process, in milliseconds.
pub fn interval_ms(scenario: &Scenario) -> u64 {
    let ms = scenario.total_seconds() * 1000.0 / TICKS;
    (ms as u64).clamp(MIN_INTERVAL_MS, MAX_INTERVAL_MS)
}

struct Run<'a> {
    scenario: &'a Scenario,
    assignment: Assignment,
    agents: Agents,
    record: Record,
    environment: &'a Environment,
    run: String,
    /// Whether all machines have been told to end.
    is_ending: bool,
}

/// Fault that is to begin or to end at its time.
struct Due<'a> {
    at: Duration,
    fault: &'a FaultSpec,
    is_on: bool,
}

impl Run<'_> {
    fn set_up(&mut self) -> Result<()> {
        let places = self.agents.here();
        for (place, offset) in clocks::estimate(&mut self.agents).into_iter().enumerate() {
            self.record.machines[place].offset = offset;
        }
        for place in &places {
            let plan = self.broker_plan(*place);
            self.agents.tell(*place, Order::Broker(plan));
        }
        self.agents.await_ready(&places, "starting the broker", BROKER_TIMEOUT)?;
        if self.is_linked() {
            self.agents.tell_all(&Order::AwaitPeers(places.len() - 1));
            let what = "finding the other brokers";
            self.agents.await_ready(&places, what, PEERS_TIMEOUT)?;
        }
        // Who listens is there before anybody emits.
        let listeners: &[Kind] = &[Kind::Listener, Kind::Churn];
        for kinds in [listeners, &[Kind::Emitter]] {
            for &place in &places {
                let processes = self.processes(place, kinds);
                self.agents.tell(place, Order::Start(processes));
            }
            self.agents.await_ready(&places, "starting processes", START_TIMEOUT)?;
        }
        Ok(())
    }

    fn is_linked(&self) -> bool {
        self.agents.len() > 1 && self.scenario.broker.start
    }

    fn broker_plan(&self, place: usize) -> BrokerPlan {
        let spec = &self.scenario.broker;
        let channels = self.assignment.listeners.iter().map(|of| of.channel.clone());
        let channels = channels.chain(self.assignment.emitters.iter().map(|of| of.channel.clone()));
        let pressured: BTreeSet<String> = channels.filter(|_| spec.cluster_pressure).collect();
        let link = self.is_linked().then(|| LinkPlan {
            cluster: format!("loadtest-{}", self.run),
            node: self.scenario.machines.0[place].clone(),
            pressured: pressured.into_iter().collect(),
        });
        BrokerPlan { start: spec.start, shards: spec.shards, backend: spec.backend, link }
    }

    fn processes(&self, place: usize, kinds: &[Kind]) -> Vec<ProcessPlan> {
        let mut processes = Vec::new();
        for (role, of) in self.assignment.roles.iter().enumerate() {
            if of.machine != place || !kinds.contains(&of.kind) {
                continue;
            }
            for (index, part) in of.parts.iter().enumerate() {
                let mut part = part.clone();
                if let Part::Listeners(listeners) = &mut part {
                    for source in &mut listeners.sources {
                        source.behind_ns = self.behind_ns(source.machine, place);
                    }
                }
                processes.push(ProcessPlan { role, name: format!("{} {index}", of.name), part });
            }
        }
        processes
    }

    /// Returns how far a machine's clock is behind another one's.
    fn behind_ns(&self, machine: usize, other: usize) -> i64 {
        self.record.machines[other].offset.ns - self.record.machines[machine].offset.ns
    }

    /// Plays the run from the begin to the end, come what may.
    fn play(&mut self) {
        let interval_ms = interval_ms(self.scenario);
        let begins_ns = clock::now_ns() + LEAD_NS;
        for place in self.agents.here() {
            let at_ns = begins_ns.saturating_add_signed(self.record.machines[place].offset.ns);
            self.record.machines[place].began_ns = at_ns;
            self.agents.tell(place, Order::Begin { at_ns, interval_ms });
        }
        self.record.started_unix_ms = unix_ms_now() + LEAD_NS / 1_000_000;
        let began = Instant::now() + Duration::from_nanos(LEAD_NS);
        self.emit(began);
        let ended = began.max(Instant::now()).duration_since(began);
        let whole_ms = (self.scenario.total_seconds() * 1000.0) as u64;
        self.record.ended_ms = (ended.as_millis() as u64).min(whole_ms).max(1);
        let totals = self.record.emitted.clone();
        self.agents.tell_all(&Order::Finish(totals));
        self.take_until_heard();
        if !self.record.has_heard(&self.assignment) {
            self.record.broke_off("not everybody told what was heard".into());
        }
        let later = clocks::estimate(&mut self.agents);
        for (place, later) in later.into_iter().enumerate() {
            let of = &mut self.record.machines[place];
            if self.agents.is_here(place) {
                of.offset = of.offset.until(later);
            }
        }
        self.end();
    }

    /// Waits until all is emitted, and lets faults begin and end meanwhile.
    fn emit(&mut self, began: Instant) {
        let end = began + Duration::from_secs_f64(self.scenario.total_seconds());
        let mut deadline = end + EMIT_GRACE;
        let mut due = faults(self.scenario);
        let mut told = Instant::now();
        let mut has_stopped = false;
        while !self.record.has_emitted(&self.assignment) && Instant::now() < deadline {
            if let Some(mail) = self.agents.next(POLL) {
                self.take(mail);
            }
            while due.last().is_some_and(|due| Instant::now() >= began + due.at) {
                if let Some(due) = due.pop() {
                    self.fail(&due);
                }
            }
            if told.elapsed() > KEEP_UP {
                told = Instant::now();
                self.agents.keep_up();
            }
            if interrupt::requested() && self.record.complete {
                self.record.broke_off("interrupted".into());
            }
            if !self.record.complete && !has_stopped {
                has_stopped = true;
                deadline = deadline.min(Instant::now() + PARTIAL_GRACE);
                self.agents.tell_all(&Order::Stop);
            }
        }
        for due in due.iter().filter(|due| !due.is_on) {
            self.fail(due);
        }
        if !self.record.has_emitted(&self.assignment) {
            self.record.broke_off("not everybody told what was emitted".into());
        }
    }

    fn fail(&mut self, due: &Due<'_>) {
        let fault = due.fault;
        let machines = &self.scenario.machines.0;
        let Some(place) = machines.iter().position(|name| *name == fault.machine) else { return };
        if fault.kind == FaultKind::RestartBroker {
            if due.is_on {
                let for_ms = (fault.for_s * 1000.0) as u64;
                self.agents.tell(place, Order::RestartBroker { for_ms });
                let (name, at) = (&fault.machine, fault.at_s);
                self.record.note(format!("the broker on {name} was killed after {at:.1} s"));
            }
            return;
        }
        let what = match fault.kind {
            FaultKind::Partition => "was cut off".to_owned(),
            _ => format!("lost {} % of its packets", fault.percent),
        };
        if due.is_on {
            let (name, at, long) = (&fault.machine, fault.at_s, fault.for_s);
            self.record.note(format!("{name} {what} after {at:.1} s for {long:.1} s"));
        }
        if let Err(error) = self.environment.set_fault(place, fault, due.is_on) {
            self.record.broke_off(format!("{error:#}"));
        }
    }

    fn take_until_heard(&mut self) {
        let mut deadline = Instant::now() + HEAR_GRACE;
        let mut told = Instant::now();
        while !self.record.has_heard(&self.assignment) && Instant::now() < deadline {
            if let Some(mail) = self.agents.next(POLL) {
                self.take(mail);
            }
            if told.elapsed() > KEEP_UP {
                told = Instant::now();
                self.agents.keep_up();
            }
            if interrupt::requested() && self.record.complete {
                self.record.broke_off("interrupted".into());
            }
            if !self.record.complete {
                deadline = deadline.min(Instant::now() + PARTIAL_GRACE);
            }
        }
    }

    fn take(&mut self, (from, _, answer): Mail) {
        match answer {
            Ok(Answer::Note { role, process, note }) => self.record.take(role, process, note),
            Ok(Answer::Reading(reading)) => self.record.machines[from].readings.push(reading),
            Ok(Answer::Broker { version, backend }) => {
                self.record.machines[from].broker = Some((version, backend));
            }
            Ok(Answer::Ended(counters)) => {
                self.record.machines[from].counters = counters;
                if !self.is_ending {
                    let who = self.agents.describe(from);
                    self.lose(from, format!("{who} was stopped in the run"));
                }
                self.agents.give_up(from);
            }
            Ok(Answer::Gone { role, process, name }) => {
                let who = self.agents.describe(from);
                self.record.machines[from].complete = false;
                self.record.lose(role, process);
                self.record.broke_off(format!("{who}: the process {name} died in the run"));
            }
            Ok(Answer::Failed(text)) => {
                let who = self.agents.describe(from);
                self.record.machines[from].complete = false;
                self.record.broke_off(format!("{who}: {text}"));
            }
            Ok(Answer::Ready | Answer::Clock { .. }) => {}
            Err(error) if self.agents.is_here(from) => {
                let who = self.agents.describe(from);
                self.agents.give_up(from);
                self.lose(from, format!("{who} died in the run: {error:#}"));
            }
            Err(_) => {}
        }
    }

    /// Gives up a machine, from which nothing more comes.
    fn lose(&mut self, place: usize, why: String) {
        let machine = &mut self.record.machines[place];
        (machine.complete, machine.is_gone) = (false, true);
        self.record.broke_off(why);
    }

    /// Lets everybody end in order.
    fn end(&mut self) {
        self.is_ending = true;
        self.agents.tell_all(&Order::End);
        let deadline = Instant::now() + END_GRACE;
        while !self.agents.here().is_empty() && Instant::now() < deadline {
            if let Some(mail) = self.agents.next(POLL) {
                self.take(mail);
            }
        }
    }
}

/// Lists the faults that are to begin and to be mended, the next one last.
fn faults(scenario: &Scenario) -> Vec<Due<'_>> {
    let mut due = Vec::new();
    for fault in &scenario.faults {
        let fault = fault.get_ref();
        let at = Duration::from_secs_f64(fault.at_s);
        due.push(Due { at, fault, is_on: true });
        due.push(Due { at: at + Duration::from_secs_f64(fault.for_s), fault, is_on: false });
    }
    due.sort_by_key(|due| std::cmp::Reverse(due.at));
    due
}
