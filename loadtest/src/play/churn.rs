//! Process whose clients come and go: each connects when it is due, listens, stays a
//! while and leaves. The latency of a visit is from when it was due until the client
//! listens.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use netcluster_client::{Client, Message};

use super::control::{self, Course, Done, Event, Player};
use super::plan::{ChurnPlan, Heard, Note, Tick};
use super::times::Times;
use crate::clock;
use crate::delivery_check::Emitted;
use crate::scenario::schedule::{end_ns, is_measured};

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_S: f64 = 1e9;
/// Threads for clients that are connecting, besides those that stay.
const SPARE_THREADS: usize = 2;
/// Time that a broker may take to answer before that counts as a failure.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Lets clients come and go until told to quit.
pub fn play(socket: &Path, plan: ChurnPlan) -> Result<()> {
    clock::sharpen_sleeps();
    // What is wrong with the first one is an error, later ones are counted.
    drop(visit(socket, &plan, &Arc::default())?);
    let at_a_time = plan.connects_per_s * plan.lifetime_ms as f64 / 1000.0;
    let threads = at_a_time.ceil() as usize + SPARE_THREADS;
    let course = Arc::new(Course::default());
    let visits = Arc::new(Visits::default());
    let (sender, events) = control::events();
    for _ in 0..threads {
        let (socket, plan) = (socket.to_owned(), plan.clone());
        let (course, visits, sender) = (Arc::clone(&course), Arc::clone(&visits), sender.clone());
        thread::Builder::new().name("visitor".into()).spawn(move || {
            clock::sharpen_sleeps();
            visits.run(&socket, &plan, &course);
            let done = Done { totals: Vec::new(), bytes: 0, refused: 0 };
            // The other end lives as long as the process.
            let _ = sender.send(Event::Done(done));
        })?;
    }
    control::play(&*visits, &course, (sender, events), threads);
    Ok(())
}

/// Visits of all clients.
struct Visits {
    times: Times,
    next: AtomicU64,
    visited: AtomicU64,
    failed: AtomicU64,
    heard: Arc<Counter>,
}

/// Counter of events and of their bytes.
#[derive(Default)]
struct Counter {
    events: AtomicU64,
    bytes: AtomicU64,
}

impl Default for Visits {
    fn default() -> Visits {
        Visits {
            times: Times::new(),
            next: AtomicU64::new(0),
            visited: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            heard: Arc::default(),
        }
    }
}

fn visit(socket: &Path, plan: &ChurnPlan, heard: &Arc<Counter>) -> Result<Client> {
    let client = Client::builder()
        .name(&plan.name)
        .channel(&plan.channel)
        .connect_timeout(CONNECT_TIMEOUT)
        .connect(socket)?;
    for pattern in &plan.patterns {
        let heard = Arc::clone(heard);
        client.on(pattern, move |message: &Message<'_>| {
            heard.events.fetch_add(1, Ordering::Relaxed);
            heard.bytes.fetch_add(message.payload().len() as u64, Ordering::Relaxed);
        })?;
    }
    Ok(client)
}

impl Visits {
    /// Makes visits on one thread, each the next that nobody has taken.
    fn run(&self, socket: &Path, plan: &ChurnPlan, course: &Course) {
        let began_ns = course.wait();
        let end_ns = end_ns(&plan.phases);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let since = (number as f64 / plan.connects_per_s * NS_PER_S) as u64;
            if since >= end_ns || !course.sleep_until(began_ns + since) {
                return;
            }
            match visit(socket, plan, &self.heard) {
                Ok(client) => {
                    let latency = clock::now_ns().saturating_sub(began_ns + since);
                    self.times.record(latency, false, is_measured(&plan.phases, since));
                    self.visited.fetch_add(1, Ordering::Relaxed);
                    let leaves_ns = clock::now_ns() + plan.lifetime_ms * NS_PER_MS;
                    course.sleep_until(leaves_ns);
                    if client.disconnect().is_err() {
                        self.failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(_) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Player for Visits {
    fn tick(&self) -> Tick {
        Tick {
            at_ns: clock::now_ns(),
            emitted: self.visited.load(Ordering::Relaxed),
            received: self.heard.events.load(Ordering::Relaxed),
            received_bytes: self.heard.bytes.load(Ordering::Relaxed),
            latency_ns: self.times.tick(),
        }
    }

    fn finish(&self, _: &[Emitted]) -> Note {
        let (near, far) = self.times.totals();
        Note::Heard(Box::new(Heard {
            received: self.heard.events.load(Ordering::Relaxed),
            bytes: self.heard.bytes.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            near,
            far,
            ..Heard::default()
        }))
    }
}
