//! Process that emits: a thread for each client, so that a client that has to wait does
//! not hold up the others.
//!
//! With a rate, event n is due when the schedule says so, whatever the system does; a
//! stall is charged to every event that it delays. Events that are still not emitted when
//! the last phase ends never are.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use netcluster_client::{Client, Message};
use netcluster_wire::Pattern;

use super::control::{self, Course, Done, Event, Player};
use super::payload::Payload;
use super::plan::{EmitterPlan, EmittersPlan, Note, SourcePlan, Tick};
use super::times::Times;
use super::track::Track;
use crate::clock;
use crate::delivery_check::Emitted;
use crate::message::{Report, report};
use crate::scenario::assignment::reply_event;
use crate::scenario::numbers::{Arrivals, Rate};
use crate::scenario::schedule::{Random, Schedule, end_ns, is_measured};
use crate::stamp::{self, Stamp, Template};

/// Number of events between two looks at the clock, without a rate.
const BATCH: usize = 64;
/// Time after which an answer is lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Time that brokers of other machines get to learn of a listener.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a refusal, before the next try.
const PAUSE: Duration = Duration::from_millis(1);

/// Emits with all clients until told to quit.
pub fn play(socket: &Path, plan: EmittersPlan) -> Result<()> {
    clock::sharpen_sleeps();
    let plan = Arc::new(plan);
    let course = Arc::new(Course::default());
    let answers = Arc::new(Answers {
        times: Times::new(),
        tracks: Mutex::new(Vec::new()),
        emitted: AtomicU64::new(0),
    });
    let (sender, events) = control::events();
    // Answers come when all is emitted, too: nobody leaves before the end.
    let mut clients = Vec::new();
    for (index, emitter) in plan.emitters.iter().enumerate() {
        let name = format!("{}-{}", plan.name, emitter.id);
        let client = Client::builder().name(name).channel(&emitter.channel).connect(socket)?;
        let client = Arc::new(client);
        clients.push(Arc::clone(&client));
        let answered = if plan.round_trip {
            Some(listen(&client, &plan, emitter, &course, &answers)?)
        } else {
            None
        };
        let (plan, course) = (Arc::clone(&plan), Arc::clone(&course));
        let (sender, answers) = (sender.clone(), Arc::clone(&answers));
        thread::Builder::new().name("emitter".into()).spawn(move || {
            clock::sharpen_sleeps();
            let began_ns = course.wait();
            let emitter = Emitter::new(&plan, index, &client, &course, &answers.emitted, began_ns);
            // The other end lives as long as the process.
            let _ = sender.send(Event::Done(emitter.run(answered.as_ref())));
        })?;
    }
    control::play(&*answers, &course, (sender, events), plan.emitters.len());
    Ok(())
}

/// Answers of round trips, and their latencies.
struct Answers {
    times: Times,
    tracks: Mutex<Vec<Arc<Mutex<Track>>>>,
    emitted: AtomicU64,
}

/// Takes the answers to an emitter; each is also told to the thread that waits for it.
fn listen(
    client: &Client,
    plan: &Arc<EmittersPlan>,
    emitter: &EmitterPlan,
    course: &Arc<Course>,
    answers: &Arc<Answers>,
) -> Result<Receiver<()>> {
    let source = SourcePlan {
        id: emitter.id,
        channel: emitter.channel.clone(),
        events: emitter.events.clone(),
        machine: 0,
        is_remote: false,
        is_timed: true,
        behind_ns: 0,
    };
    // Answers carry the event that they answer, under another name.
    let all = [Pattern::new(b"**").map_err(|error| anyhow::anyhow!("{error}"))?];
    let track = Arc::new(Mutex::new(Track::new(&[source], &emitter.channel, &all)));
    answers.tracks.lock().expect("no thread panics with the lock").push(Arc::clone(&track));
    let (told, answered) = sync_channel(1);
    let reader = Template::new(plan.size.largest());
    let (plan, course, answers) = (Arc::clone(plan), Arc::clone(course), Arc::clone(answers));
    let is_linked = plan.is_linked;
    let wakes = plan.rate == Rate::Max;
    client.on(&reply_event(emitter.id), move |message: &Message<'_>| {
        let payload = message.payload();
        let stamp = reader.read_any(payload, false);
        let mut guard = track.lock().expect("no thread panics with the lock");
        let source = guard.record(stamp, 0, payload.len());
        drop(guard);
        if source.is_some()
            && let Some(due_ns) = stamp::intended_ns(payload)
        {
            let since = due_ns.saturating_sub(course.began_ns());
            let latency = clock::now_ns().saturating_sub(due_ns);
            answers.times.record(latency, false, is_measured(&plan.phases, since));
            if wakes {
                wake(&told);
            }
        }
    })?;
    if is_linked {
        client.wait_for_cluster(CLUSTER_TIMEOUT)?;
    }
    Ok(answered)
}

fn wake(told: &SyncSender<()>) {
    // Who waits has been told already if it is full.
    let _ = told.try_send(());
}

impl Player for Answers {
    fn tick(&self) -> Tick {
        let tracks = self.tracks.lock().expect("no thread panics with the lock");
        let mut tick = Tick {
            at_ns: clock::now_ns(),
            emitted: self.emitted.load(Ordering::Relaxed),
            latency_ns: self.times.tick(),
            ..Tick::default()
        };
        for track in &*tracks {
            let (received, bytes) =
                track.lock().expect("no thread panics with the lock").received();
            tick.received += received;
            tick.received_bytes += bytes;
        }
        tick
    }

    fn finish(&self, totals: &[Emitted]) -> Note {
        let tracks = self.tracks.lock().expect("no thread panics with the lock");
        super::listeners::finish(&tracks, totals, &self.times, 0)
    }
}

/// Client that emits.
struct Emitter<'a> {
    plan: &'a EmittersPlan,
    emitter: &'a EmitterPlan,
    client: &'a Client,
    course: &'a Course,
    all_emitted: &'a AtomicU64,
    began_ns: u64,
    random: Random,
    payload: Payload,
    counts: Vec<u64>,
    turn: usize,
    bytes: u64,
    refused: u64,
}

impl<'a> Emitter<'a> {
    fn new(
        plan: &'a EmittersPlan,
        index: usize,
        client: &'a Client,
        course: &'a Course,
        all_emitted: &'a AtomicU64,
        began_ns: u64,
    ) -> Emitter<'a> {
        let emitter = &plan.emitters[index];
        Emitter {
            plan,
            emitter,
            client,
            course,
            all_emitted,
            began_ns,
            random: Random::new(plan.seed ^ u64::from(emitter.id).rotate_left(32)),
            payload: Payload::new(plan.size.largest()),
            counts: vec![0; emitter.events.len()],
            turn: 0,
            bytes: 0,
            refused: 0,
        }
    }

    /// Emits to the end; events that were emitted count even if the client could not go
    /// on.
    fn run(mut self, answered: Option<&Receiver<()>>) -> Done {
        if self.course.sleep_until(self.began_ns) {
            let emitted = match (self.plan.rate, answered) {
                (Rate::PerS(rate), _) => self.paced(rate),
                (Rate::Max, Some(answered)) => self.trips(answered),
                (Rate::Max, None) => self.flat_out(),
            };
            if let Err(error) = emitted {
                report(&Report::Failed(format!("{error:#}")));
            }
        }
        // A connection that is down has told so by refusing.
        let _ = self.client.flush();
        let total = |(event, &count): (usize, &u64)| Emitted {
            emitter: self.emitter.id,
            event: event as u16,
            count,
        };
        let totals = self.counts.iter().enumerate().map(total).collect();
        Done { totals, bytes: self.bytes, refused: self.refused }
    }

    fn end_ns(&self) -> u64 {
        self.began_ns + end_ns(&self.plan.phases)
    }

    fn paced(&mut self, rate: f64) -> Result<()> {
        let mut schedule = Schedule::new(&self.plan.phases, rate);
        let end_ns = self.end_ns();
        // Emitters of one rate do not all emit at the same moment.
        let mut area = self.random.unit();
        while let Some(due) = schedule.next(area) {
            let due_ns = self.began_ns + due;
            if !self.course.sleep_until(due_ns) || clock::now_ns() >= end_ns {
                break;
            }
            self.emit(due_ns)?;
            area = match self.plan.arrivals {
                Arrivals::Constant => 1.0,
                Arrivals::Poisson => self.random.exponential(),
            };
        }
        Ok(())
    }

    fn flat_out(&mut self) -> Result<()> {
        let end_ns = self.end_ns();
        while !self.course.is_over() && clock::now_ns() < end_ns {
            for _ in 0..BATCH {
                self.emit(0)?;
            }
        }
        Ok(())
    }

    fn trips(&mut self, answered: &Receiver<()>) -> Result<()> {
        let end_ns = self.end_ns();
        while !self.course.is_over() && clock::now_ns() < end_ns {
            // An answer that came after its time.
            let _ = answered.try_recv();
            self.emit(clock::now_ns())?;
            let sent = Instant::now();
            while answered.recv_timeout(PAUSE * 50).is_err() && sent.elapsed() < ANSWER_TIMEOUT {
                if self.course.is_over() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Emits an event; one that the client refuses was not emitted, and its number goes
    /// to the next one.
    #[inline]
    fn emit(&mut self, due_ns: u64) -> Result<()> {
        let size = self.plan.size.draw(&mut self.random);
        let (emitter, event) = (self.emitter.id, self.turn as u16);
        let stamp = Stamp { sequence: self.counts[self.turn], emitter, event };
        let payload = self.payload.write(size, stamp, due_ns);
        if let Err(error) = self.client.emit(&self.emitter.events[self.turn], payload) {
            return self.was_refused(error);
        }
        self.counts[self.turn] += 1;
        self.bytes += payload.len() as u64;
        self.all_emitted.fetch_add(1, Ordering::Relaxed);
        self.turn += 1;
        if self.turn == self.counts.len() {
            self.turn = 0;
        }
        Ok(())
    }

    #[cold]
    fn was_refused(&mut self, error: netcluster_client::Error) -> Result<()> {
        if self.client.is_closed() {
            return Err(error).context("the client has ended");
        }
        if matches!(error, netcluster_client::Error::PayloadTooLarge { .. }) {
            bail!("{error}");
        }
        self.refused += 1;
        thread::sleep(PAUSE);
        Ok(())
    }
}
