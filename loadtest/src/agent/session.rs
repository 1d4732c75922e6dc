//! Part of a machine in one run: its broker and its processes, as ordered.
//!
//! One thread: it takes orders and what the processes say in turn, and answers. The
//! session ends when it is told to, or when nobody listens to it any more.
//!
//! Invariant: whatever was started has ended when the session is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use netcluster_client::Client;
use serde_json::Value;

use super::args::MachineArgs;
use super::message::{Answer, BrokerPlan, Order, ProcessPlan, Reading};
use crate::broker::{self, Broker};
use crate::child_processes::{ChildProcesses, Member};
use crate::clock;
use crate::message::Report;
use crate::plan::Role;
use crate::play::plan::{Control, PartPlan};
use crate::raw::Raw;
use crate::scratch::Scratch;
use crate::usage::Usage;

/// Delay with which an order is seen at the latest.
const POLL: Duration = Duration::from_millis(5);
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const PEERS_TIMEOUT: Duration = Duration::from_secs(15);
const PEERS_POLL: Duration = Duration::from_millis(50);

/// Outlet of answers; `false` if nobody takes them any more.
pub type Out = Box<dyn Fn(Answer) -> bool + Send>;

/// Part of a machine in a run.
pub struct AgentSession {
    args: MachineArgs,
    out: Out,
    children: ChildProcesses,
    /// Processes, with the role of each.
    processes: Vec<(usize, Member)>,
    /// Places of the processes that have ended.
    gone: BTreeSet<usize>,
    scratch: Scratch,
    started: Option<(Broker, Vec<String>)>,
    /// Time at which a broker that was killed is started again, and its arguments.
    due: Option<(Instant, Vec<String>)>,
    socket: PathBuf,
    pid: u32,
    /// Connection that asks the broker about itself.
    raw: Option<Raw>,
    first: BTreeMap<String, u64>,
    reading: Option<(Duration, Instant)>,
}

impl AgentSession {
    /// Takes orders until the end of the run; failures are answered. Returns what the
    /// broker counted, to be told once there is room for the next run.
    pub fn run(args: MachineArgs, orders: &Receiver<Order>, out: Out) -> BTreeMap<String, u64> {
        let scratch = match Scratch::new() {
            Ok(scratch) => scratch,
            Err(error) => {
                out(Answer::Failed(format!("{error:#}")));
                return BTreeMap::new();
            }
        };
        let mut session = AgentSession {
            args,
            out,
            children: ChildProcesses::new(),
            processes: Vec::new(),
            gone: BTreeSet::new(),
            socket: scratch.socket(),
            scratch,
            started: None,
            due: None,
            pid: 0,
            raw: None,
            first: BTreeMap::new(),
            reading: None,
        };
        // An interrupt is the coordinator's matter; it says what to do.
        session.children.ignore_interrupts();
        while session.turn(orders) {}
        let counted = session.counted();
        session.children.quit();
        session.raw = None;
        if let Some((broker, _)) = session.started.take() {
            broker.stop();
        }
        counted
    }

    /// Takes a turn; returns whether the session goes on.
    fn turn(&mut self, orders: &Receiver<Order>) -> bool {
        let mut goes_on = true;
        if let Some((from, report)) = self.children.next(POLL) {
            goes_on = self.heard(from, report);
        }
        let done = match orders.try_recv() {
            Ok(Order::End) => return false,
            Ok(order) => self.obey(order),
            Err(TryRecvError::Disconnected) => return false,
            Err(TryRecvError::Empty) => Ok(()),
        };
        let done = done.and_then(|()| self.mend()).and_then(|()| self.check_broker());
        if let Err(error) = done {
            goes_on &= (self.out)(Answer::Failed(format!("{error:#}")));
        }
        goes_on & self.read()
    }

    fn heard(&mut self, from: Member, report: Option<Report>) -> bool {
        let process = self.processes.iter().position(|(_, member)| *member == from);
        let Some(process) = process else { return true };
        let role = self.processes[process].0;
        match report {
            Some(Report::Note(note)) => (self.out)(Answer::Note { role, process, note: *note }),
            Some(Report::Failed(text)) => {
                (self.out)(Answer::Failed(format!("{}: {text}", self.children.name(from))))
            }
            None => {
                self.gone.insert(process);
                let name = self.children.name(from).to_owned();
                (self.out)(Answer::Gone { role, process, name })
            }
            Some(_) => true,
        }
    }

    fn obey(&mut self, order: Order) -> Result<()> {
        match order {
            // Who moves the lines answers it sooner.
            Order::Clock(number) => {
                (self.out)(Answer::Clock { number, at_ns: clock::now_ns() });
                return Ok(());
            }
            Order::Broker(plan) => self.start_broker(&plan)?,
            Order::AwaitPeers(peers) => self.await_peers(peers)?,
            Order::Start(processes) => self.start(processes)?,
            Order::Begin { at_ns, interval_ms } => {
                self.first = counters(&self.stats().unwrap_or_default());
                self.control(&Control::Begin { at_ns, interval_ms });
                self.reading = Some((Duration::from_millis(interval_ms.max(1)), Instant::now()));
                return Ok(());
            }
            Order::RestartBroker { for_ms } => {
                // Killed, not asked to end.
                self.raw = None;
                if let Some((broker, arguments)) = self.started.take() {
                    drop(broker);
                    let at = Instant::now() + Duration::from_millis(for_ms);
                    self.due = Some((at, arguments));
                }
                return Ok(());
            }
            Order::Stop => {
                self.control(&Control::Stop);
                return Ok(());
            }
            Order::Finish(totals) => {
                self.control(&Control::Finish(totals));
                return Ok(());
            }
            Order::End => {}
        }
        (self.out)(Answer::Ready);
        Ok(())
    }

    fn control(&mut self, control: &Control) {
        let here = self.processes.iter().enumerate().filter(|(at, _)| !self.gone.contains(at));
        let members: Vec<Member> = here.map(|(_, (_, member))| *member).collect();
        // Whose end has not been seen yet will be.
        let _ = self.children.tell(&members, control);
    }

    fn start_broker(&mut self, plan: &BrokerPlan) -> Result<()> {
        if plan.start {
            let arguments = self.arguments(plan);
            self.launch(arguments)?;
            self.socket = self.scratch.socket();
        } else {
            let given = self.args.socket.clone();
            self.socket = match given {
                Some(socket) => socket,
                None => Client::connect_default()?.socket().to_owned(),
            };
        }
        let stats = self.stats().context("the broker does not tell its status")?;
        self.pid = stats["pid"].as_u64().and_then(|pid| pid.try_into().ok()).unwrap_or(0);
        let version = stats["version"].as_str().unwrap_or("?").to_owned();
        let backend = stats["backend"].as_str().unwrap_or("?").to_owned();
        (self.out)(Answer::Broker { version, backend });
        Ok(())
    }

    fn launch(&mut self, arguments: Vec<String>) -> Result<()> {
        let program = broker::find(self.args.broker.as_deref())?;
        let broker = Broker::start_with(&program, &arguments, &self.scratch)?;
        self.pid = broker.pid();
        self.started = Some((broker, arguments));
        self.children.start("the watchdog", &Role::Watchdog(self.pid))?;
        Ok(())
    }

    fn arguments(&self, plan: &BrokerPlan) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        if let Some(shards) = plan.shards {
            add("--shards", shards.to_string());
        }
        if let Some(backend) = plan.backend {
            let name = serde_json::to_value(backend).unwrap_or_default();
            add("--backend", name.as_str().unwrap_or("auto").to_owned());
        }
        let Some(link) = &plan.link else { return arguments };
        add("--cluster", link.cluster.clone());
        add("--node-name", link.node.clone());
        link.pressured.iter().for_each(|channel| add("--cluster-pressure", channel.clone()));
        if let Some(interface) = &self.args.interface {
            add("--interface", interface.clone());
        }
        // It may have a value: nothing that looks like one is behind it.
        arguments.push("--link".into());
        arguments
    }

    /// Starts a broker again that was killed, once the time has come.
    fn mend(&mut self) -> Result<()> {
        if self.due.as_ref().is_some_and(|(at, _)| Instant::now() >= *at)
            && let Some((_, arguments)) = self.due.take()
        {
            // Its counters start anew.
            self.first = BTreeMap::new();
            return self.launch(arguments).context("the broker did not come back");
        }
        Ok(())
    }

    /// Checks that the broker that was started here still runs.
    fn check_broker(&mut self) -> Result<()> {
        let ended = self.started.as_mut().and_then(|(broker, _)| broker.ended());
        let Some(status) = ended else { return Ok(()) };
        // Told once.
        self.started = None;
        let log = broker::tail(&self.scratch.log()).replace('\n', "; ");
        bail!("the broker has ended ({status}): {log}");
    }

    /// Asks the broker for its status.
    fn stats(&mut self) -> Result<Value> {
        let mut raw = match self.raw.take() {
            Some(raw) => raw,
            None => Raw::connect(&self.socket, "loadtest")?,
        };
        let stats = raw.stats()?;
        // Not one on which an answer may still come.
        self.raw = Some(raw);
        Ok(stats)
    }

    fn await_peers(&mut self, peers: usize) -> Result<()> {
        let deadline = Instant::now() + PEERS_TIMEOUT;
        loop {
            let stats = self.stats()?;
            let link = &stats["link"];
            let found = link["peers"].as_array().map_or(0, Vec::len);
            // Before it has looked around, it holds events back.
            if found >= peers && link["is_discovering"] != Value::Bool(true) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "the broker has found {found} of {peers} others within {PEERS_TIMEOUT:?}: run \
                     `netcluster link check` on each machine"
                );
            }
            std::thread::sleep(PEERS_POLL);
        }
    }

    fn start(&mut self, plans: Vec<ProcessPlan>) -> Result<()> {
        let mut members = Vec::new();
        for plan in plans {
            let role = Role::Play(PartPlan { socket: self.socket.clone(), part: plan.part });
            let member = self.children.start(&plan.name, &role)?;
            members.push(member);
            self.processes.push((plan.role, member));
        }
        let ready = |report: &Report| matches!(report, Report::Ready { .. }).then_some(());
        self.children.collect(&members, READY_TIMEOUT, "start", ready).map(drop)
    }

    /// Tells what the broker costs, if the time has come.
    fn read(&mut self) -> bool {
        let Some((interval, last)) = self.reading else { return true };
        if last.elapsed() < interval {
            return true;
        }
        self.reading = Some((interval, Instant::now()));
        if self.due.is_some() {
            return true;
        }
        let usage = Usage::of(self.pid);
        let at_ns = clock::now_ns();
        let counted = self.stats().map(|stats| counters(&stats)).unwrap_or_default();
        let of = |name: &str| counted.get(name).copied();
        (self.out)(Answer::Reading(Reading {
            at_ns,
            syscalls: of("io_syscalls"),
            naks: of("link_naks_sent"),
            repairs: of("link_repaired"),
            kernel_drops: of("link_io_kernel_drops"),
            cpu_ns: usage.cpu_ns,
            rss_bytes: usage.rss_bytes,
            context_switches: usage.context_switches,
        }))
    }

    /// Returns what the broker counted in the run.
    fn counted(&mut self) -> BTreeMap<String, u64> {
        let mut counted = match self.stats() {
            Ok(stats) => counters(&stats),
            Err(_) => BTreeMap::new(),
        };
        for (name, value) in &mut counted {
            *value -= self.first.get(name).copied().unwrap_or(0).min(*value);
        }
        counted.insert("peak_rss_bytes".into(), Usage::of(self.pid).peak_rss_bytes);
        counted
    }
}

/// Picks the numbers of a broker's status that only grow.
fn counters(stats: &Value) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    let mut add = |prefix: &str, fields: &Value| {
        for (name, value) in fields.as_object().into_iter().flatten() {
            if let Some(value) = value.as_u64() {
                *counters.entry(format!("{prefix}{name}")).or_default() += value;
            }
        }
    };
    for shard in stats["shards"].as_array().into_iter().flatten() {
        add("io_", &shard["io"]);
    }
    add("", &stats["totals"]);
    add("link_", &stats["link"]["counters"]);
    add("link_drops_", &stats["link"]["counters"]["drops"]);
    add("link_io_", &stats["link_io"]);
    // What goes up and down is no counter.
    for gauge in ["clients", "listeners", "queued_bytes", "link_io_receive_buffer_bytes"] {
        counters.remove(gauge);
    }
    counters
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counters_of_all_shards_and_of_the_link_are_found() {
        let stats = json!({
            "totals": {"dropped": 3, "clients": 9, "events_in_per_s": 1.5},
            "shards": [{"io": {"syscalls": 1}}, {"io": {"syscalls": 2}}],
            "link": {"counters": {"naks_sent": 4, "drops": {"forged": 5}}},
            "link_io": {"kernel_drops": 6, "interface": "eth0", "gso": true},
        });
        let expected = [
            ("dropped", 3),
            ("io_syscalls", 3),
            ("link_drops_forged", 5),
            ("link_io_kernel_drops", 6),
            ("link_naks_sent", 4),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(counters(&stats), BTreeMap::from(expected));
        assert!(counters(&Value::Null).is_empty());
    }
}
