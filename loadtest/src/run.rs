//! Run from start to end: the middle, the listeners, the emitters, a measured window, and
//! the count of what arrived.
//!
//! ```text
//!  start   ready   go      sample          sample  stop    finish   quit
//!    |-------|-----|--------|---------------|-------|--------|--------|
//!     connect       warm-up   the window      flush    drain
//! ```
//! Rates are over the window; losses, repeats and broken payloads over all.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::broker::Broker;
use crate::bystanders;
use crate::child_processes::{ChildProcesses, Member};
use crate::delivery_check::{Counts, Emitted};
use crate::interrupt;
use crate::io_counts::IoCounts;
use crate::message::{Command, Report, Sample};
use crate::outcome::{Outcome, Window};
use crate::pin::{self, Place};
use crate::plan::{Middle, Role, Scenario};
use crate::scratch::Scratch;
use crate::usage::Usage;

const READY_TIMEOUT: Duration = Duration::from_secs(90);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest run for a given count of events instead of a window.
const COUNT_TIMEOUT: Duration = Duration::from_secs(600);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);
/// Share of the window's length that is run before it, up to [`MAX_WARM_UP`].
const WARM_UP_SHARE: f64 = 0.2;
const MAX_WARM_UP: Duration = Duration::from_millis(300);
/// Longest time before the window until each of many clients has moved as much as brings it
/// shared memory.
const MAX_SHARING: Duration = Duration::from_secs(10);
/// Time between two looks at how many clients share memory.
const SHARING_POLL: Duration = Duration::from_millis(100);
/// Time between the last connection and an idle window.
const SETTLE: Duration = Duration::from_secs(1);
/// Runner of runs.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Program of the broker.
    pub program: PathBuf,
    /// Process in the middle of the measured runs.
    pub middle: Middle,
}

impl Runner {
    /// Runs a scenario once.
    ///
    /// # Errors
    /// If a process does not start, ends early or does not answer in time.
    pub fn run(&self, scenario: &Scenario, middle: Middle) -> Result<Outcome> {
        interrupt::check()?;
        let scratch = Scratch::new()?;
        let mut running = Run::build(scenario, middle, &self.program, &scratch)?;
        let outcome = measure(scenario, &mut running)?;
        running.end();
        Ok(outcome)
    }
}

/// Runs a scenario once with another broker in the middle, which runs already; counters
/// of the members come with the outcome. Without one, listeners are where it would be.
///
/// # Errors
/// The same as of [`Runner::run`].
#[cfg(feature = "compare")]
pub fn run_around(
    scenario: &Scenario,
    middle_pid: Option<u32>,
    (listeners, emitters): (Vec<Role>, Vec<Role>),
) -> Result<(Outcome, Vec<(String, u64)>)> {
    interrupt::check()?;
    let mut children = ChildProcesses::new();
    let place = if middle_pid.is_some() { Place::Ends } else { Place::Middle };
    let pinned = pin::start(scenario.pin, place)?;
    let listeners = start_all(&mut children, "listener", &listeners)?;
    wait_ready(&mut children, &listeners)?;
    drop(pinned);
    let pinned = pin::start(scenario.pin, Place::Ends)?;
    let emitters = start_all(&mut children, "emitter", &emitters)?;
    wait_ready(&mut children, &emitters)?;
    drop(pinned);
    let mut receivers = listeners;
    if scenario.round_trip {
        receivers.extend(&emitters);
    }
    let (broker, extras, beside, driver) = (None, Vec::new(), None, None);
    let mut running =
        Run { children, broker, middle_pid, receivers, emitters, extras, beside, driver };
    let outcome = measure(scenario, &mut running)?;
    let counters = running.children.counters();
    running.end();
    Ok((outcome, counters))
}

fn measure(scenario: &Scenario, running: &mut Run) -> Result<Outcome> {
    let idle = running.middle();
    let (window, counts) = match (scenario.idle, scenario.count) {
        (Some(seconds), _) => (running.idle(seconds), Counts::default()),
        (None, Some(_)) => running.count()?,
        (None, None) => running.window(scenario)?,
    };
    let drained = running.middle();
    let driver = running.driver.clone();
    let outcome = window.outcome(scenario.size);
    Ok(Outcome {
        broker_rss_bytes: drained.peak_rss_bytes,
        broker_rss_idle_bytes: idle.rss_bytes,
        broker_rss_drained_bytes: drained.rss_bytes,
        broker_shared_idle_bytes: idle.shared_bytes,
        broker_shared_drained_bytes: drained.shared_bytes,
        broker_cpu_s_per_million: running.middle_pid.and(outcome.broker_cpu_s_per_million),
        seconds: scenario.idle.unwrap_or(outcome.seconds),
        counts,
        driver,
        ..outcome
    })
}

/// Processes of a run, connected and ready.
struct Run {
    children: ChildProcesses,
    broker: Option<Broker>,
    /// Process of the broker or of what stands in for it, if there is one.
    middle_pid: Option<u32>,
    /// Processes that receive: listeners, and emitters of round trips.
    receivers: Vec<Member>,
    emitters: Vec<Member>,
    /// Emitters of slow and stuck listeners: started first, never waited for.
    extras: Vec<Member>,
    /// Listener and emitter of the pair beside.
    beside: Option<[Member; 2]>,
    driver: Option<String>,
}

/// Reading at one end of the window.
struct Reading {
    middle: Usage,
    cpu_ns: u64,
    io: Option<IoCounts>,
    samples: Vec<Sample>,
}

impl Run {
    fn build(
        scenario: &Scenario,
        middle: Middle,
        program: &Path,
        scratch: &Scratch,
    ) -> Result<Run> {
        let socket = scratch.socket();
        let mut children = ChildProcesses::new();
        let pinned = pin::start(scenario.pin, Place::Middle)?;
        let (broker, middle_pid) = match middle {
            Middle::Broker => {
                let broker = Broker::start(program, scenario, scratch)?;
                let pid = broker.pid();
                (Some(broker), pid)
            }
            Middle::Relay | Middle::Bare => {
                let relay = scenario.relay(socket.clone(), middle == Middle::Bare);
                let relay = children.start("relay", &relay)?;
                wait_ready(&mut children, &[relay])?;
                (None, children.pid(relay))
            }
        };
        drop(pinned);
        let _pinned = pin::start(scenario.pin, Place::Ends)?;
        let bystanders = bystanders::listeners(scenario, &socket);
        let bystanders = start_all(&mut children, "bystander", &bystanders)?;
        wait_ready(&mut children, &bystanders)?;
        let listeners =
            start_all(&mut children, "listener", &scenario.listeners(socket.clone(), middle))?;
        let driver = wait_ready(&mut children, &listeners)?.into_iter().flatten().next();
        let mut emitters = Vec::new();
        let mut extras = Vec::new();
        let mut beside = None;
        if scenario.idle.is_none() {
            let roles = bystanders::emitters(scenario, &socket);
            extras = start_all(&mut children, "extra emitter", &roles)?;
            if let Some(roles) = bystanders::beside(scenario, &socket) {
                let pair = start_all(&mut children, "beside", &roles)?;
                wait_ready(&mut children, &pair)?;
                beside = pair.try_into().ok();
            }
            emitters = start_all(&mut children, "emitter", &scenario.emitters(socket, middle))?;
            wait_ready(&mut children, &extras)?;
            wait_ready(&mut children, &emitters)?;
        }
        let mut receivers = listeners;
        if scenario.round_trip {
            receivers.extend(&emitters);
        }
        let middle_pid = Some(middle_pid);
        Ok(Run { children, broker, middle_pid, receivers, emitters, extras, beside, driver })
    }

    /// Reads what the process in the middle has used so far.
    fn middle(&self) -> Usage {
        self.middle_pid.map(Usage::of).unwrap_or_default()
    }

    /// Measures an idle window: nothing happens for so long.
    fn idle(&mut self, seconds: f64) -> Window {
        interrupt::sleep(SETTLE);
        let first = self.middle();
        interrupt::sleep(Duration::from_secs_f64(seconds));
        Window { middle: self.middle().since(first), ..Window::default() }
    }

    /// Measures a window of time, in which everything runs.
    fn window(&mut self, scenario: &Scenario) -> Result<(Window, Counts)> {
        self.start_emitters()?;
        let window = Duration::from_secs_f64(scenario.seconds);
        interrupt::sleep(warm_up(scenario));
        if scenario.by_clients && scenario.shares_memory() {
            self.wait_for_sharing(scenario.emitters + scenario.events);
        }
        let first = self.read()?;
        self.children.ignore_interrupts();
        interrupt::sleep(window);
        let last = self.read()?;
        self.children.tell(&self.emitters, &Command::Stop)?;
        let (counts, _) = self.finish(ANSWER_TIMEOUT)?;
        Ok((first.until(last), counts))
    }

    /// Measures from the first to the last of a given number of events.
    fn count(&mut self) -> Result<(Window, Counts)> {
        let first = self.read()?;
        self.start_emitters()?;
        let (counts, samples) = self.finish(COUNT_TIMEOUT)?;
        let last = Reading { samples, ..self.read()? };
        Ok((first.until(last), counts))
    }

    /// Waits until so many clients share memory with the broker, which offers it to those
    /// who have moved some bytes. How many did is told with the outcome.
    fn wait_for_sharing(&mut self, clients: usize) {
        let deadline = Instant::now() + MAX_SHARING;
        while Instant::now() < deadline && !interrupt::requested() {
            let counts = self.broker.as_mut().and_then(Broker::io_counts);
            if counts.is_none_or(|counts| counts.shared_clients >= clients as u64) {
                return;
            }
            interrupt::sleep(SHARING_POLL);
        }
    }

    fn start_emitters(&mut self) -> Result<()> {
        self.children.tell(&self.extras, &Command::Go)?;
        let beside: Vec<Member> = self.beside.iter().map(|[_, emitter]| *emitter).collect();
        self.children.tell(&beside, &Command::Go)?;
        self.children.tell(&self.emitters, &Command::Go)
    }

    /// Takes a reading, in the same order at both ends of the window; the broker's answer
    /// last, since a busy broker may take its time.
    fn read(&mut self) -> Result<Reading> {
        self.children.tell(&self.receivers, &Command::Sample)?;
        let middle = self.middle();
        let mut processes = self.receivers.clone();
        processes.extend(self.emitters.iter().filter(|member| !self.receivers.contains(member)));
        let others = processes.iter().map(|&member| Usage::of(self.children.pid(member)).cpu_ns);
        let cpu_ns = middle.cpu_ns + others.sum::<u64>();
        let samples = self.children.collect(
            &self.receivers,
            ANSWER_TIMEOUT,
            "sample",
            |report| match report {
                Report::Sample(sample) => Some(sample.clone()),
                _ => None,
            },
        )?;
        let io = self.broker.as_mut().and_then(Broker::io_counts);
        Ok(Reading { middle, cpu_ns, io, samples })
    }

    /// Waits for the emitters' totals and until the listeners have got the events.
    /// What the pair beside lost counts as lost, too; what it got is not measured.
    fn finish(&mut self, timeout: Duration) -> Result<(Counts, Vec<Sample>)> {
        let (emitters, receivers) = (self.emitters.clone(), self.receivers.clone());
        let (mut counts, samples) = self.finish_of(&emitters, &receivers, timeout)?;
        if let Some([listener, emitter]) = self.beside {
            self.children.tell(&[emitter], &Command::Stop)?;
            let (beside, _) = self.finish_of(&[emitter], &[listener], ANSWER_TIMEOUT)?;
            counts.add(Counts { received: 0, ..beside });
        }
        Ok((counts, samples))
    }

    fn finish_of(
        &mut self,
        emitters: &[Member],
        receivers: &[Member],
        timeout: Duration,
    ) -> Result<(Counts, Vec<Sample>)> {
        let emitted: Vec<Vec<Emitted>> =
            self.children.collect(emitters, timeout, "totals", |report| match report {
                Report::Emitted(emitted) => Some(emitted.clone()),
                _ => None,
            })?;
        let totals = emitted.into_iter().flatten().collect();
        self.children.tell(receivers, &Command::Finish(totals))?;
        let finished =
            self.children.collect(receivers, DRAIN_TIMEOUT, "counts", |report| match report {
                Report::Finished { counts, sample } => Some((*counts, sample.clone())),
                _ => None,
            })?;
        let mut sum = Counts::default();
        finished.iter().for_each(|(counts, _)| sum.add(*counts));
        Ok((sum, finished.into_iter().map(|(_, sample)| sample).collect()))
    }

    fn end(self) {
        self.children.quit();
        if let Some(broker) = self.broker {
            broker.stop();
        }
    }
}

impl Reading {
    fn until(self, last: Reading) -> Window {
        Window {
            samples: self.samples.into_iter().zip(last.samples).collect(),
            middle: last.middle.since(self.middle),
            total_cpu_ns: last.cpu_ns.saturating_sub(self.cpu_ns),
            io: self.io.zip(last.io).map(|(first, last)| last.since(first)),
        }
    }
}

/// Returns the time before the window. Whoever shares memory moves some bytes by its socket
/// first.
fn warm_up(scenario: &Scenario) -> Duration {
    if scenario.shares_memory() {
        return MAX_WARM_UP;
    }
    Duration::from_secs_f64(scenario.seconds).mul_f64(WARM_UP_SHARE).min(MAX_WARM_UP)
}

fn start_all(children: &mut ChildProcesses, what: &str, roles: &[Role]) -> Result<Vec<Member>> {
    let start = |(index, role)| children.start(&format!("{what} {index}"), role);
    roles.iter().enumerate().map(start).collect()
}

fn wait_ready(children: &mut ChildProcesses, members: &[Member]) -> Result<Vec<Option<String>>> {
    children.collect(members, READY_TIMEOUT, "start", |report| match report {
        Report::Ready { driver } => Some(driver.clone()),
        _ => None,
    })
}
