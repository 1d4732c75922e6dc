//! Process that emits: a plain loop over the client's `emit`, as a user writes it.
//!
//! Three paces: as fast as it goes; open loop at a rate, where the intended send time of
//! event n is start + n / rate whatever the system does, so that a stall is charged to
//! every event that it delays; and round trips, where the answer's listener emits the
//! next event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netcluster_client::{Client, Message};

use crate::clock;
use crate::delivery_check::{Counts, DeliveryCheck, Emitted};
use crate::message::{Command, Report, next_command, report};
use crate::meter::Meter;
use crate::plan::{EmitterPlan, Fault};
use crate::stamp::{Stamp, Template};

/// Number of events between two looks at whether to stop.
const BATCH: u64 = 64;
/// Time after which a round trip without an answer is lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Sequence of the event of each name that is broken, if one is to be.
const BROKEN_SEQUENCE: u64 = 100;
/// Shortest sleep: a shorter one overshoots, so that the loop spins instead.
const MIN_SLEEP_NS: u64 = 20_000;

/// Emits until told to quit.
pub fn run(plan: EmitterPlan) -> Result<()> {
    clock::sharpen_sleeps();
    let client = plan.transport.client(&plan.name).connect(&plan.socket)?;
    let client = Arc::new(client);
    let stop = Arc::new(AtomicBool::new(false));
    let template = Arc::new(Template::new(plan.size));
    let check = DeliveryCheck::new(plan.events[0].0, usize::from(plan.index) + 1, template, false);
    let meter = Arc::new(Meter::new(vec![check]));

    let trip = plan.reply.as_ref().map(|reply| {
        let trip = Arc::new(Trip::new(&plan, &client, &meter, &stop));
        let on_reply = Arc::clone(&trip);
        client.on(reply, move |message: &Message<'_>| on_reply.answered(message.payload()))?;
        Ok::<_, anyhow::Error>(trip)
    });
    let trip = trip.transpose()?;
    let go = take_commands(plan.reply.is_some(), Arc::clone(&meter), Arc::clone(&stop));
    report(&Report::Ready { driver: None });
    if go.recv().is_err() {
        return Ok(());
    }
    let emitted = match trip {
        Some(trip) => trip.run()?,
        None => Loop::new(&plan, &*client, &stop).run()?,
    };
    client.flush().context("cannot flush")?;
    report(&Report::Emitted(emitted));
    park()
}

/// Waits for the thread that takes commands to end the process: a client that is
/// dropped says goodbye, which a relay would pass on to the listeners.
pub fn park() -> ! {
    loop {
        thread::park();
    }
}

/// Takes commands from now on; the first event that is received stands for `go`.
pub fn take_commands(round_trip: bool, meter: Arc<Meter>, stop: Arc<AtomicBool>) -> Receiver<()> {
    let (go, started) = channel();
    thread::spawn(move || {
        loop {
            match next_command() {
                // A second go has nobody to take it.
                Command::Go => drop(go.send(())),
                Command::Sample => report(&Report::Sample(meter.sample())),
                Command::Stop => stop.store(true, Ordering::Relaxed),
                Command::Finish(totals) if round_trip => {
                    let (counts, sample) = meter.finish(&totals);
                    report(&Report::Finished { counts, sample });
                }
                Command::Finish(_) => {
                    report(&Report::Finished { counts: Counts::default(), sample: meter.sample() })
                }
                Command::Quit => std::process::exit(0),
            }
        }
    });
    started
}

/// Outlet of events.
pub trait Outlet {
    /// Emits an event.
    fn emit(&mut self, name: &str, payload: &[u8]) -> Result<()>;
}

impl Outlet for &Client {
    #[inline]
    fn emit(&mut self, name: &str, payload: &[u8]) -> Result<()> {
        Ok(Client::emit(self, name, payload)?)
    }
}

/// Loop that emits without waiting for anything.
pub struct Loop<'a, O> {
    plan: &'a EmitterPlan,
    outlet: O,
    stop: &'a AtomicBool,
    template: Template,
    counts: Vec<u64>,
    turn: usize,
}

impl<'a, O: Outlet> Loop<'a, O> {
    /// Makes a loop that is ready to emit what the plan says.
    pub fn new(plan: &'a EmitterPlan, outlet: O, stop: &'a AtomicBool) -> Loop<'a, O> {
        let template = Template::new(plan.size);
        Loop { plan, outlet, stop, template, counts: vec![0; plan.events.len()], turn: 0 }
    }

    /// Emits until the count is reached or the loop is to stop.
    pub fn run(mut self) -> Result<Vec<Emitted>> {
        match self.plan.rate {
            Some(rate) => self.paced(rate)?,
            None => self.flat_out()?,
        }
        let events = self.plan.events.iter().zip(&self.counts);
        let emitter = self.plan.index;
        Ok(events.map(|((event, _), &count)| Emitted { emitter, event: *event, count }).collect())
    }

    fn flat_out(&mut self) -> Result<()> {
        let mut left = self.plan.count.unwrap_or(u64::MAX);
        while left > 0 && !self.stop.load(Ordering::Relaxed) {
            let batch = left.min(BATCH);
            for _ in 0..batch {
                self.emit(0)?;
            }
            left -= batch;
        }
        Ok(())
    }

    fn paced(&mut self, rate: u64) -> Result<()> {
        let start = clock::now_ns();
        for number in 0..self.plan.count.unwrap_or(u64::MAX) {
            let since_start = u128::from(number) * 1_000_000_000 / u128::from(rate);
            let intended = start + since_start as u64;
            loop {
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let now = clock::now_ns();
                if now >= intended {
                    break;
                }
                if intended - now > MIN_SLEEP_NS {
                    clock::sleep_until(intended);
                } else {
                    std::hint::spin_loop();
                }
            }
            self.emit(intended)?;
        }
        Ok(())
    }

    #[inline]
    fn emit(&mut self, intended_ns: u64) -> Result<()> {
        let (event, name) = &self.plan.events[self.turn];
        let sequence = self.counts[self.turn];
        let stamp = Stamp { sequence, emitter: self.plan.index, event: *event };
        let payload = self.template.write(stamp, intended_ns);
        match self.plan.inject {
            Some(fault) if sequence == BROKEN_SEQUENCE => {
                break_event(&mut self.outlet, name, payload, fault)?
            }
            _ => self.outlet.emit(name, payload)?,
        }
        self.counts[self.turn] += 1;
        self.turn += 1;
        if self.turn == self.plan.events.len() {
            self.turn = 0;
        }
        Ok(())
    }
}

/// Breaks one event in a way that listeners must find.
#[cold]
fn break_event(to: &mut impl Outlet, name: &str, payload: &[u8], fault: Fault) -> Result<()> {
    match fault {
        Fault::Lose => {}
        Fault::Repeat => {
            to.emit(name, payload)?;
            to.emit(name, payload)?;
        }
        Fault::Corrupt => {
            let mut broken = payload.to_vec();
            broken[0] ^= 1;
            to.emit(name, &broken)?;
        }
    }
    Ok(())
}

/// Round trips, one event on the way at a time.
struct Trip {
    client: Arc<Client>,
    meter: Arc<Meter>,
    stop: Arc<AtomicBool>,
    index: u16,
    event: (u16, String),
    size: usize,
    count: u64,
    emitted: AtomicU64,
    emitted_at_ns: AtomicU64,
}

impl Trip {
    fn new(
        plan: &EmitterPlan,
        client: &Arc<Client>,
        meter: &Arc<Meter>,
        stop: &Arc<AtomicBool>,
    ) -> Trip {
        Trip {
            client: Arc::clone(client),
            meter: Arc::clone(meter),
            stop: Arc::clone(stop),
            index: plan.index,
            event: plan.events[0].clone(),
            size: plan.size,
            count: plan.count.unwrap_or(u64::MAX),
            emitted: AtomicU64::new(0),
            emitted_at_ns: AtomicU64::new(0),
        }
    }

    /// Takes an answer, on the client's reader thread.
    fn answered(&self, payload: &[u8]) {
        if self.meter.check(0).record(payload) {
            self.meter.record_latency(self.emitted_at_ns.load(Ordering::Relaxed));
            if !self.is_over()
                && let Err(error) = self.emit()
            {
                report(&Report::Failed(error.to_string()));
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.emitted.load(Ordering::Relaxed) >= self.count
    }

    fn emit(&self) -> Result<()> {
        let sequence = self.emitted.fetch_add(1, Ordering::Relaxed);
        let stamp = Stamp { sequence, emitter: self.index, event: self.event.0 };
        let mut template = Template::new(self.size);
        self.emitted_at_ns.store(clock::now_ns(), Ordering::Relaxed);
        Ok(self.client.emit(&self.event.1, template.write(stamp, 0)).map(drop)?)
    }

    /// Starts the round trips and waits until they are over and the last answer is there.
    fn run(&self) -> Result<Vec<Emitted>> {
        self.emit()?;
        let mut last = (0, Instant::now());
        loop {
            thread::sleep(Duration::from_millis(1));
            let answered = self.meter.check(0).received();
            if answered != last.0 {
                last = (answered, Instant::now());
            }
            let emitted = self.emitted.load(Ordering::Relaxed);
            if (self.is_over() && answered == emitted) || last.1.elapsed() > ANSWER_TIMEOUT {
                return Ok(vec![Emitted {
                    emitter: self.index,
                    event: self.event.0,
                    count: self.emitted.load(Ordering::Relaxed),
                }]);
            }
        }
    }
}
