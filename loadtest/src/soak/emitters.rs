//! Process of the steady emitters of a machine.
//!
//! The load is open: an event is due when the schedule says so, whatever the broker does, and
//! its payload says when that was. What could not be emitted in time is emitted behind it. An
//! event that the client refuses was not emitted, and its number goes to the next one.

use std::io::BufRead;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use netcluster_client::{Client, Lifecycle};

use super::plan::{CHANNEL, EmitterTotals, EmittersPlan, MAX_SIZE, Order, Told};
use crate::clock;
use crate::message::{Report, report};
use crate::play::payload::Payload;
use crate::scenario::schedule::Random;
use crate::stamp::Stamp;

/// Time that a client tries to connect before it gives up for good: longer than any
/// disturbance.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause after a refusal.
const PAUSE: Duration = Duration::from_millis(1);
/// Sizes of most payloads, from and to.
const SIZES: (f64, f64) = (64.0, 2048.0);
/// One event in so many is as large as can be.
const LARGE_EVERY: u64 = 500;

/// Emits until told to quit.
pub fn play(plan: &EmittersPlan) -> Result<()> {
    clock::sharpen_sleeps();
    let gate = Arc::new(Gate::default());
    let mut emitters = Vec::new();
    for &number in &plan.emitters {
        let doubts = Arc::new(Mutex::new(Doubts::default()));
        let booked = Arc::clone(&doubts);
        let client = Client::builder()
            .name(format!("steady-{number}"))
            .channel(CHANNEL)
            .connect_timeout(PATIENCE)
            .on_lifecycle(move |event| lock(&booked).book(event))
            .connect(&plan.socket)?;
        let emitter = Emitter { number, client, doubts, total: Mutex::new((0, 0)) };
        let emitter = Arc::new(emitter);
        emitters.push(Arc::clone(&emitter));
        let (plan, gate) = (plan.clone(), Arc::clone(&gate));
        thread::Builder::new().name("emitter".into()).spawn(move || {
            clock::sharpen_sleeps();
            if let Err(error) = emitter.run(&plan, &gate) {
                report(&Report::Failed(format!("emitter {number}: {error:#}")));
            }
        })?;
    }
    report(&Report::Ready { driver: None });
    orders(|order| match order {
        Order::Emit => gate.open(),
        Order::Pause => {
            gate.close(emitters.len());
            let totals = emitters.iter().map(|emitter| emitter.totals()).collect();
            report(&Report::Soak(Box::new(Told::Emitted(totals))));
        }
        _ => {}
    })
}

/// Takes orders until the end of the coordinator.
pub fn orders(mut take: impl FnMut(Order)) -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        match serde_json::from_str(&line?).context("orders are for the coordinator to give")? {
            Order::Quit => break,
            order => take(order),
        }
    }
    // Clients that are dropped say goodbye, for which a broker may take its time.
    std::process::exit(0)
}

/// Locks what no thread leaves half done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gate that all emitters pass before each event.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    is_open: bool,
    waiting: usize,
}

impl Gate {
    fn open(&self) {
        lock(&self.state).is_open = true;
        self.changed.notify_all();
    }

    /// Closes the gate and returns once all wait before it.
    fn close(&self, emitters: usize) {
        let mut state = lock(&self.state);
        state.is_open = false;
        while state.waiting < emitters {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_open(&self) -> bool {
        lock(&self.state).is_open
    }

    /// Waits until the gate is open.
    fn pass(&self) {
        let mut state = lock(&self.state);
        state.waiting += 1;
        self.changed.notify_all();
        while !state.is_open {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }
}

/// Events of which the client was told that they may not have arrived.
#[derive(Debug, Default)]
struct Doubts {
    /// Number behind the last one that was confirmed or doubted already.
    known: u64,
    ranges: Vec<(u64, u64)>,
    reconnects: u64,
    errors: Vec<String>,
}

impl Doubts {
    fn book(&mut self, event: &Lifecycle) {
        match event {
            // The client counts from 1, its events are numbered from 0.
            Lifecycle::Disconnect { confirmed, .. } => self.known = self.known.max(*confirmed),
            Lifecycle::Connect { resumed, doubtful, .. } => {
                self.reconnects += u64::from(*resumed);
                if *doubtful > 0 {
                    self.ranges.push((self.known, self.known + doubtful));
                    self.known += doubtful;
                }
            }
            Lifecycle::Error(error) => self.errors.push(error.to_string()),
            Lifecycle::Closed(error) => self.errors.push(format!("closed: {error}")),
            _ => {}
        }
    }
}

/// Emitter.
#[derive(Debug)]
struct Emitter {
    number: u16,
    client: Client,
    doubts: Arc<Mutex<Doubts>>,
    /// Events emitted, and refusals.
    total: Mutex<(u64, u64)>,
}

impl Emitter {
    fn run(&self, plan: &EmittersPlan, gate: &Gate) -> Result<()> {
        let name = format!("steady.{}", self.number);
        let mut random = Random::new(plan.seed ^ u64::from(self.number).rotate_left(32));
        let mut payload = Payload::new(MAX_SIZE);
        let period_ns = 1e9 / plan.rate;
        let (mut start_ns, mut since_start, mut sequence) = (0, 0u64, 0u64);
        loop {
            if !gate.is_open() {
                // One that is disconnected writes once it is back.
                let _ = self.client.flush();
                gate.pass();
                // Emitters do not all emit at the same moment.
                let phase = (period_ns * random.unit()) as u64;
                (start_ns, since_start) = (clock::now_ns() + phase, 0);
            }
            let due_ns = start_ns + (since_start as f64 * period_ns) as u64;
            while clock::now_ns() < due_ns {
                clock::sleep_until(due_ns);
            }
            let small = SIZES.0 + random.unit() * (SIZES.1 - SIZES.0);
            let is_large = sequence % LARGE_EVERY == LARGE_EVERY - 1;
            let size = if is_large { MAX_SIZE } else { small as usize };
            let stamp = Stamp { sequence, emitter: self.number, event: 0 };
            self.emit(&name, payload.write(size, stamp, due_ns))?;
            sequence += 1;
            since_start += 1;
            lock(&self.total).0 = sequence;
        }
    }

    fn emit(&self, name: &str, payload: &[u8]) -> Result<()> {
        while let Err(error) = self.client.emit(name, payload) {
            if self.client.is_closed() {
                bail!("the client has ended: {error}");
            }
            lock(&self.total).1 += 1;
            thread::sleep(PAUSE);
        }
        let (emitted, sequence) = (lock(&self.total).0 + 1, self.client.last_sequence());
        ensure!(emitted == sequence, "the client numbers event {emitted} as {sequence}");
        Ok(())
    }

    fn totals(&self) -> EmitterTotals {
        let mut doubts = lock(&self.doubts);
        let (total, refused) = *lock(&self.total);
        EmitterTotals {
            emitter: self.number,
            total,
            doubtful: std::mem::take(&mut doubts.ranges),
            reconnects: std::mem::take(&mut doubts.reconnects),
            refused,
            errors: std::mem::take(&mut doubts.errors),
        }
    }
}
