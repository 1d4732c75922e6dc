//! Processes of a run: started, spoken to, ended by their ids.
//!
//! Each is this same program in a role, or one that has a peer's library, in a process
//! group of its own (so that Ctrl-C reaches the coordinator alone, which ends them in
//! order). A member whose coordinator is gone sees the end of its input and ends; whoever
//! is left when they are dropped is killed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::interrupt;
use crate::message::{Command, Report};
use crate::plan::Role;
#[cfg(target_os = "linux")]
use netcluster_testkit::netns::Host;

/// Time that members get to end by themselves.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Most reports that nobody has looked at yet; a member that reports more waits.
const MAX_REPORTS: usize = 4096;
/// Delay with which an interrupt is seen at the latest.
const POLL: Duration = Duration::from_millis(50);

/// Place of a child among the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member(usize);

/// Members of a run.
#[derive(Debug)]
pub struct ChildProcesses {
    processes: Vec<Process>,
    inbox: Receiver<(usize, Option<Report>)>,
    outbox: SyncSender<(usize, Option<Report>)>,
    /// Reports that came while another was waited for.
    early: Vec<(usize, Report)>,
    /// Whether Ctrl-C ends a wait.
    interruptible: bool,
}

#[derive(Debug)]
struct Process {
    name: String,
    child: Child,
    input: ChildStdin,
}

impl ChildProcesses {
    /// Begins without members.
    pub fn new() -> ChildProcesses {
        let (outbox, inbox) = sync_channel(MAX_REPORTS);
        ChildProcesses {
            processes: Vec::new(),
            inbox,
            outbox,
            early: Vec::new(),
            interruptible: true,
        }
    }

    /// Starts a member.
    pub fn start(&mut self, name: &str, role: &Role) -> Result<Member> {
        self.start_by(name, role, std::process::Command::spawn)
    }

    /// Starts a member on a host.
    #[cfg(target_os = "linux")]
    pub fn start_on(&mut self, host: &Host, name: &str, role: &Role) -> Result<Member> {
        self.start_by(name, role, |command| host.spawn(command))
    }

    fn start_by(
        &mut self,
        name: &str,
        role: &Role,
        spawn: impl FnOnce(&mut std::process::Command) -> std::io::Result<Child>,
    ) -> Result<Member> {
        let program = match role.program() {
            Some(program) => program.to_owned(),
            None => std::env::current_exe().context("cannot find my own program")?,
        };
        let mut command = std::process::Command::new(program);
        command.arg("role").stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = spawn(&mut command).with_context(|| format!("cannot start {name}"))?;
        let mut input = child.stdin.take().expect("the input is a pipe");
        let output = BufReader::new(child.stdout.take().expect("the output is a pipe"));
        let member = self.processes.len();
        let outbox = self.outbox.clone();
        // Not as an argument: thousands of event names are too long for one.
        let plan = serde_json::to_string(role)?;
        let told = writeln!(input, "{plan}").and_then(|()| input.flush());
        self.processes.push(Process { name: name.into(), child, input });
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let report = serde_json::from_str(&line)
                    .unwrap_or_else(|_| Report::Failed(format!("not a report: {line}")));
                if outbox.send((member, Some(report))).is_err() {
                    return;
                }
            }
            let _ = outbox.send((member, None));
        });
        told.with_context(|| format!("{name} has ended"))?;
        Ok(Member(member))
    }

    /// Returns the member's process id.
    pub fn pid(&self, member: Member) -> u32 {
        self.processes[member.0].child.id()
    }

    /// Tells all of these members something; an error names one that has ended.
    pub fn tell(&mut self, members: &[Member], command: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(command)?;
        let mut told = Ok(());
        for member in members {
            let process = &mut self.processes[member.0];
            let sent = writeln!(process.input, "{line}").and_then(|()| process.input.flush());
            let sent = sent.with_context(|| format!("{} has ended", process.name));
            // The others are told all the same.
            told = told.and(sent);
        }
        told
    }

    /// Returns the member's name.
    pub fn name(&self, member: Member) -> &str {
        &self.processes[member.0].name
    }

    /// Waits for the next report of any member, or for the end of one; `None` if there is
    /// neither in time.
    pub fn next(&mut self, timeout: Duration) -> Option<(Member, Option<Report>)> {
        let (from, report) = self.inbox.recv_timeout(timeout).ok()?;
        Some((Member(from), report))
    }

    /// Lets Ctrl-C end no wait from now on: there is something to be saved.
    pub fn ignore_interrupts(&mut self) {
        self.interruptible = false;
    }

    /// Waits until each of these members has given a report that `pick` takes;
    /// other reports are kept for later. The answers are in the members' order.
    pub fn collect<T>(
        &mut self,
        members: &[Member],
        timeout: Duration,
        what: &str,
        pick: impl Fn(&Report) -> Option<T>,
    ) -> Result<Vec<T>> {
        let deadline = Instant::now() + timeout;
        let mut answers: Vec<Option<T>> = members.iter().map(|_| None).collect();
        let mut early = std::mem::take(&mut self.early);
        loop {
            early.retain(|(from, report)| {
                let place = members.iter().position(|member| member.0 == *from);
                let open = place.filter(|&place| answers[place].is_none());
                match (open, pick(report)) {
                    (Some(place), Some(answer)) => answers[place] = Some(answer),
                    _ => return true,
                }
                false
            });
            if answers.iter().all(Option::is_some) {
                self.early = early;
                return Ok(answers.into_iter().flatten().collect());
            }
            if self.interruptible {
                interrupt::check()?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(left.min(POLL)) {
                Ok((from, Some(Report::Failed(text)))) => {
                    bail!("{}: {text}", self.processes[from].name);
                }
                Ok((from, Some(report))) => early.push((from, report)),
                Ok((from, None)) => bail!("{} ended too early", self.processes[from].name),
                // They hold a sender themselves: it is never disconnected.
                Err(_) if !left.is_zero() => {}
                Err(_) => {
                    let waiting = members.iter().zip(&answers).filter(|(_, a)| a.is_none());
                    let names: Vec<&str> =
                        waiting.map(|(m, _)| self.processes[m.0].name.as_str()).collect();
                    bail!("no {what} from {} within {timeout:?}", names.join(", "));
                }
            }
        }
    }

    /// Takes the counters that were reported since the last call.
    pub fn counters(&mut self) -> Vec<(String, u64)> {
        let early = std::mem::take(&mut self.early);
        let mut counters = Vec::new();
        for (from, report) in early {
            match report {
                Report::Counters(found) => counters.extend(found),
                other => self.early.push((from, other)),
            }
        }
        counters
    }

    /// Ends all members: asks them first, kills them after a while.
    pub fn quit(mut self) {
        let all: Vec<Member> = (0..self.processes.len()).map(Member).collect();
        for member in all {
            // Who has ended already needs no telling.
            let _ = self.tell(&[member], &Command::Quit);
        }
        let deadline = Instant::now() + QUIT_TIMEOUT;
        for process in &mut self.processes {
            while matches!(process.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Drop for ChildProcesses {
    fn drop(&mut self) {
        for process in &mut self.processes {
            if matches!(process.child.try_wait(), Ok(None)) {
                let _ = process.child.kill();
                let _ = process.child.wait();
            }
        }
    }
}
