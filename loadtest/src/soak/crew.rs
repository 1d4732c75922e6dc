//! Processes of an endurance run beside the brokers: emitters, listeners and a crowd on each
//! machine, victims when there are to be some, and recorders.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::latency::Stretch;
use super::machine::spawn;
use super::plan::{
    CHANNEL, CrowdPlan, EmitterTotals, EmittersPlan, ListenersPlan, Manner, Order, PATTERN,
    Settled, Settlement, SoakRole, Told, VictimPlan,
};
use super::site::Site;
use crate::child_processes::{ChildProcesses, Member};
use crate::message::Report;
use crate::plan::Role;

/// Emitters on each machine.
pub const EMITTERS: usize = 2;
/// Listeners on each machine: by shared memory, by sockets, and one that nobody waits for.
pub const LISTENERS: [Manner; 3] = [
    Manner { shares_memory: true, is_latest: false },
    Manner { shares_memory: false, is_latest: false },
    Manner { shares_memory: true, is_latest: true },
];
/// Time for an answer: longer than a client tries to come back.
const ANSWER: Duration = Duration::from_secs(90);
const START: Duration = Duration::from_secs(60);

/// Long-lived processes.
#[derive(Debug)]
pub struct Crew {
    children: ChildProcesses,
    emitters: Vec<Member>,
    listeners: Vec<Member>,
    crowds: Vec<Member>,
}

impl Crew {
    /// Starts all of them; returns once all listen and nobody emits yet.
    pub fn start(site: &Site, rate: f64, seed: u64) -> Result<Crew> {
        let mut crew = Crew {
            children: ChildProcesses::new(),
            emitters: Vec::new(),
            listeners: Vec::new(),
            crowds: Vec::new(),
        };
        let hosts = site.machines.len();
        for machine in &site.machines {
            let (index, socket) = (machine.index, machine.socket.clone());
            let is_remote = (0..hosts * EMITTERS).map(|emitter| emitter / EMITTERS != index);
            let listeners = SoakRole::Listeners(ListenersPlan {
                socket: socket.clone(),
                listeners: LISTENERS.to_vec(),
                is_remote: is_remote.collect(),
                is_linked: site.network.is_some(),
            });
            let member = crew.member(site, index, "listeners", listeners)?;
            crew.listeners.push(member);
            let crowd = SoakRole::Crowd(CrowdPlan { socket });
            let member = crew.member(site, index, "crowd", crowd)?;
            crew.crowds.push(member);
        }
        for machine in &site.machines {
            let first = machine.index * EMITTERS;
            let emitters = SoakRole::Emitters(EmittersPlan {
                socket: machine.socket.clone(),
                emitters: (first..first + EMITTERS).map(|number| number as u16).collect(),
                rate,
                seed,
            });
            let member = crew.member(site, machine.index, "emitters", emitters)?;
            crew.emitters.push(member);
        }
        Ok(crew)
    }

    fn member(&mut self, site: &Site, index: usize, what: &str, role: SoakRole) -> Result<Member> {
        let name = format!("{what} of {}", site.machines[index].name);
        let role = Role::Soak(role);
        let member = match &site.network {
            Some(network) => self.children.start_on(network.host(index), &name, &role)?,
            None => self.children.start(&name, &role)?,
        };
        let ready = |report: &Report| matches!(report, Report::Ready { .. }).then_some(());
        self.children.collect(&[member], START, "readiness", ready)?;
        Ok(member)
    }

    /// Returns the names and process ids of all.
    pub fn pids(&self) -> Vec<(String, u32)> {
        let all = self.emitters.iter().chain(&self.listeners).chain(&self.crowds);
        all.map(|&it| (self.children.name(it).to_owned(), self.children.pid(it))).collect()
    }

    /// Returns the process id of a machine's listeners.
    pub fn listeners(&self, machine: usize) -> u32 {
        self.children.pid(self.listeners[machine])
    }

    /// Returns the process id of a machine's emitters.
    pub fn emitters(&self, machine: usize) -> u32 {
        self.children.pid(self.emitters[machine])
    }

    /// Lets all emit.
    pub fn emit(&mut self) -> Result<()> {
        self.children.tell(&self.emitters, &Order::Emit)
    }

    /// Stops all emitters; returns the totals in the order of their numbers.
    pub fn pause(&mut self) -> Result<Vec<EmitterTotals>> {
        self.children.tell(&self.emitters, &Order::Pause)?;
        let all = self.answers(&self.emitters.clone(), "totals", |told| match told {
            Told::Emitted(totals) => Some(totals.clone()),
            _ => None,
        })?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Closes all accounts; returns those of each machine.
    pub fn settle(
        &mut self,
        totals: &[EmitterTotals],
        linked: bool,
        quiet: Stretch,
        behind: Stretch,
        patience: Duration,
    ) -> Result<Vec<Settled>> {
        for (index, member) in self.listeners.clone().into_iter().enumerate() {
            let is_heard = |emitter: usize| linked || emitter / EMITTERS == index;
            let total = |(at, of): (usize, &EmitterTotals)| if is_heard(at) { of.total } else { 0 };
            let settlement = Settlement {
                totals: totals.iter().enumerate().map(total).collect(),
                patience_ms: patience.as_millis() as u64,
                quiet,
                behind,
            };
            self.children.tell(&[member], &Order::Settle(settlement))?;
        }
        self.answers(&self.listeners.clone(), "accounts", |told| match told {
            Told::Settled(settled) => Some((**settled).clone()),
            _ => None,
        })
    }

    /// Has a machine's crowd do something; returns how many connected, and why one did not.
    pub fn crowd(&mut self, machine: usize, order: &Order) -> Result<(u32, Option<String>)> {
        let crowd = [self.crowds[machine]];
        self.children.tell(&crowd, order)?;
        let mut done = self.answers(&crowd, "end of the crowd's work", |told| match told {
            Told::Done { connected, refused } => Some((*connected, refused.clone())),
            _ => None,
        })?;
        done.pop().context("one answers")
    }

    fn answers<T>(
        &mut self,
        members: &[Member],
        what: &str,
        pick: impl Fn(&Told) -> Option<T>,
    ) -> Result<Vec<T>> {
        self.children.collect(members, ANSWER, what, |report| match report {
            Report::Soak(told) => pick(told),
            _ => None,
        })
    }

    /// Ends all.
    pub fn quit(mut self) {
        let all: Vec<Member> = [&self.emitters, &self.listeners, &self.crowds]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        // Who has ended already needs no telling.
        let _ = self.children.tell(&all, &Order::Quit);
        self.children.quit();
    }
}

/// Process of clients that will be killed; it is when this is dropped.
#[derive(Debug)]
pub struct Victim {
    child: Child,
    /// Closing it would end the process in order.
    _input: ChildStdin,
}

impl Victim {
    /// Starts clients on a machine; returns once they listen.
    pub fn start(site: &Site, machine: usize, plan: VictimPlan) -> Result<Victim> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("role").stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = spawn(site.network.as_ref(), machine, &mut command)?;
        let mut input = child.stdin.take().expect("the input is a pipe");
        let mut output = BufReader::new(child.stdout.take().expect("the output is a pipe"));
        let role = serde_json::to_string(&Role::Soak(SoakRole::Victim(plan)))?;
        writeln!(input, "{role}")?;
        input.flush()?;
        let mut victim = Victim { child, _input: input };
        let mut line = String::new();
        output.read_line(&mut line)?;
        match serde_json::from_str(&line) {
            Ok(Report::Ready { .. }) => Ok(victim),
            _ => {
                victim.kill();
                bail!("clients that are to be killed could not start: {line}")
            }
        }
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Recorder of the steady streams.
#[derive(Debug)]
pub struct Recorder(Child);

impl Recorder {
    /// Starts one that writes so much at the most, in files one after the other.
    pub fn start(site: &Site, machine: usize, program: &Path) -> Result<Recorder> {
        let machine = &site.machines[machine];
        let mut command = Command::new(program);
        command.arg("record").arg(site.root.join("recording.mcap"));
        command.args(["--events", PATTERN, "--channel", CHANNEL, "--max-size", "8MiB"]);
        command.args(["--rotate", "2"]).arg("--socket").arg(&machine.socket);
        let log = std::fs::File::create(site.root.join("logs/recorder.log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        let child = spawn(site.network.as_ref(), machine.index, &mut command)?;
        Ok(Recorder(child))
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Returns whether it has ended by itself, which it should not.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
