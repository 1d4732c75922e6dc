//! Run between hosts: processes on each, a measured window, the count of what arrived;
//! `crate::run` does the same on one machine.
//!
//! Rates are per receiver; losses, repeats and broken payloads of all together.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::child_processes::{ChildProcesses, Member};
use crate::delivery_check::{Counts, Emitted};
use crate::interrupt;
use crate::link::brokers::Brokers;
use crate::link::plan::{
    GROUP, Level, LinkRole, LinkScenario, NodePlan, RAW_GROUP, RAW_SENDER_PORT, RawReceiverPlan,
    RawSenderPlan,
};
use crate::message::{Command, Report, Sample};
use crate::outcome::{Outcome, Window};
use crate::plan::Role;
use crate::usage::Usage;
use netcluster_testkit::netns::Network;

const READY_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);
/// Share of the window's length that is run before it, up to [`MAX_WARM_UP`].
const WARM_UP_SHARE: f64 = 0.4;
const MAX_WARM_UP: Duration = Duration::from_millis(500);
/// Key that is no secret.
const KEY: [u8; 32] = [7; 32];

/// Outcome of a run.
#[derive(Clone, Debug, Default)]
pub struct LinkOutcome {
    /// Usual numbers, per receiver.
    pub outcome: Outcome,
    /// Numbers that the ends of the link counted besides, summed up: by receivers with
    /// `in_` before it, by senders with `out_`.
    pub counters: BTreeMap<String, u64>,
    /// Events that each sender emitted.
    pub emitted: Vec<u64>,
}

/// Processes of a run.
pub struct Run {
    pub children: ChildProcesses,
    pub senders: Vec<Member>,
    pub receivers: Vec<Member>,
    pub brokers: Option<Brokers>,
}

/// Runs a scenario once on a network of its hosts; `program` is the broker's.
///
/// # Errors
/// If a process does not start, ends early or does not answer in time.
pub fn run(scenario: &LinkScenario, network: &Network, program: &Path) -> Result<LinkOutcome> {
    interrupt::check()?;
    let mut running = match scenario.level {
        Level::Brokers => Brokers::set_up(scenario, network, program)?,
        Level::Raw => build(scenario, network, raw_role)?,
        Level::Link => build(scenario, network, node_role)?,
    };
    let measured = running.measure(scenario);
    if let Err(error) = measured {
        let log = running.brokers.as_ref().map(Brokers::logs).unwrap_or_default();
        return Err(error.context(log));
    }
    running.children.quit();
    if let Some(brokers) = running.brokers {
        brokers.stop();
    }
    measured
}

fn build(
    scenario: &LinkScenario,
    network: &Network,
    role: impl Fn(&LinkScenario, &Network, usize) -> LinkRole,
) -> Result<Run> {
    let mut children = ChildProcesses::new();
    let mut members = Vec::new();
    for (index, host) in network.hosts().iter().enumerate() {
        let what = if index < scenario.senders { "sender" } else { "receiver" };
        let role = Role::Link(role(scenario, network, index));
        members.push(children.start_on(host, &format!("{what} on host {index}"), &role)?);
    }
    wait_ready(&mut children, &members)?;
    let receivers = members.split_off(scenario.senders);
    Ok(Run { children, senders: members, receivers, brokers: None })
}

/// Waits until these members are ready.
pub fn wait_ready(children: &mut ChildProcesses, members: &[Member]) -> Result<()> {
    let ready = |report: &Report| matches!(report, Report::Ready { .. }).then_some(());
    children.collect(members, READY_TIMEOUT, "start", ready).map(drop)
}

fn raw_role(scenario: &LinkScenario, network: &Network, index: usize) -> LinkRole {
    let address = network.host(index).v4();
    let datagram_bytes = scenario.unit_bytes();
    if index < scenario.senders {
        let receivers = scenario.receivers;
        return LinkRole::RawSender(RawSenderPlan {
            address,
            group: RAW_GROUP,
            receivers,
            datagram_bytes,
            rate: scenario.rate,
        });
    }
    let sender = (network.host(0).v4(), RAW_SENDER_PORT);
    LinkRole::RawReceiver(RawReceiverPlan {
        index: (index - scenario.senders) as u16,
        address,
        group: RAW_GROUP,
        sender: std::net::SocketAddrV4::new(sender.0, sender.1),
        datagram_bytes,
        is_timed: scenario.rate.is_some(),
    })
}

fn node_role(scenario: &LinkScenario, _: &Network, index: usize) -> LinkRole {
    LinkRole::Node(NodePlan {
        index: index as u16,
        nodes: scenario.hosts(),
        senders: scenario.senders,
        sends: index < scenario.senders,
        group: GROUP.into(),
        size: scenario.size,
        rate: scenario.rate,
        key: scenario.has_key.then_some(KEY),
        backend: scenario.backend.clone().unwrap_or_else(|| "auto".into()),
    })
}

impl Run {
    fn measure(&mut self, scenario: &LinkScenario) -> Result<LinkOutcome> {
        self.children.tell(&self.senders, &Command::Go)?;
        let window = Duration::from_secs_f64(scenario.seconds);
        interrupt::sleep(window.mul_f64(WARM_UP_SHARE).min(MAX_WARM_UP));
        let (first, cpu_ns) = (self.sample()?, self.cpu_ns());
        interrupt::sleep(window);
        let (last, cpu_ns) = (self.sample()?, self.cpu_ns().saturating_sub(cpu_ns));
        self.children.tell(&self.senders, &Command::Stop)?;
        let emitted: Vec<Vec<Emitted>> = self.children.collect(
            &self.senders,
            ANSWER_TIMEOUT,
            "totals",
            |report| match report {
                Report::Emitted(emitted) => Some(emitted.clone()),
                _ => None,
            },
        )?;
        let totals: Vec<Emitted> = emitted.into_iter().flatten().collect();
        let mut counters = BTreeMap::new();
        let receivers = self.receivers.clone();
        let mut counts = self.finish(&receivers, "in_", &totals, &mut counters)?;
        if scenario.level == Level::Link {
            let senders = self.senders.clone();
            self.finish(&senders, "out_", &totals, &mut counters)?;
        }
        if scenario.level == Level::Raw {
            // Nothing repairs it, so it is told and not held against anybody.
            counters.insert("in_lost".into(), std::mem::take(&mut counts.lost));
        }
        let window = Window {
            samples: first.into_iter().zip(last).collect(),
            total_cpu_ns: cpu_ns,
            ..Window::default()
        };
        let all = window.outcome(scenario.unit_bytes());
        let receivers = scenario.receivers as f64;
        let outcome = Outcome {
            events_per_s: all.events_per_s / receivers,
            mb_per_s: all.mb_per_s / receivers,
            counts,
            ..all
        };
        let emitted = totals.iter().map(|total| total.count).collect();
        Ok(LinkOutcome { outcome, counters, emitted })
    }

    fn sample(&mut self) -> Result<Vec<Sample>> {
        self.children.tell(&self.receivers, &Command::Sample)?;
        self.children.collect(&self.receivers, ANSWER_TIMEOUT, "sample", |report| match report {
            Report::Sample(sample) => Some(sample.clone()),
            _ => None,
        })
    }

    /// Returns the CPU time of all processes.
    fn cpu_ns(&self) -> u64 {
        let members = self.senders.iter().chain(&self.receivers);
        let pids = members.map(|&member| self.children.pid(member));
        let brokers = self.brokers.iter().flat_map(Brokers::pids);
        pids.chain(brokers).map(|pid| Usage::of(pid).cpu_ns).sum()
    }

    /// Waits until these members have got all events, and sums up what they counted.
    fn finish(
        &mut self,
        members: &[Member],
        prefix: &str,
        totals: &[Emitted],
        counters: &mut BTreeMap<String, u64>,
    ) -> Result<Counts> {
        self.children.tell(members, &Command::Finish(totals.to_vec()))?;
        let counted =
            self.children.collect(members, DRAIN_TIMEOUT, "counts", |report| match report {
                Report::Finished { counts, .. } => Some(*counts),
                _ => None,
            })?;
        // Whoever has counters tells them first.
        for (name, value) in self.children.counters() {
            *counters.entry(format!("{prefix}{name}")).or_default() += value;
        }
        let mut sum = Counts::default();
        counted.into_iter().for_each(|counts| sum.add(counts));
        Ok(sum)
    }
}
