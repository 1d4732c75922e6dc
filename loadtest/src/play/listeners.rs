//! Process that listens: clients with an `on` for each pattern, which checks, counts,
//! answers, and takes its time where the listener is to be slow.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use netcluster_client::{Client, Message, QueuePolicy};
use netcluster_wire::Pattern;

use super::control::{self, Course, Player};
use super::plan::{Heard, ListenerPlan, ListenersPlan, Note, Tick};
use super::times::Times;
use super::track::{Source, Track};
use crate::clock;
use crate::delivery_check::Emitted;
use crate::scenario::assignment::reply_event;
use crate::scenario::schedule::is_measured;
use crate::stamp::{self, Template};

/// Time that brokers of other machines get to learn of the listeners.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time without a new event after which missing events are lost.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for a slow listener.
const MAX_DRAIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// Listens with all clients until told to quit.
pub fn play(socket: &Path, plan: ListenersPlan) -> Result<()> {
    clock::sharpen_sleeps();
    let plan = Arc::new(plan);
    let course = Arc::new(Course::default());
    let shared = Arc::new(Shared {
        times: Times::new(),
        failed: AtomicU64::new(0),
        reader: Template::new(plan.max_size),
    });
    let mut listeners = Listeners { tracks: Vec::new(), shared: Arc::clone(&shared) };
    let mut clients = Vec::new();
    for listener in &plan.listeners {
        let client = connect(socket, &plan, listener)?;
        let patterns = listener
            .patterns
            .iter()
            .map(|text| Pattern::new(text.as_bytes()).map_err(|error| anyhow!("{text}: {error}")));
        let patterns = patterns.collect::<Result<Vec<Pattern>>>()?;
        let track = Arc::new(Mutex::new(Track::new(&plan.sources, &listener.channel, &patterns)));
        for (index, text) in listener.patterns.iter().enumerate() {
            let listener = Listener {
                index,
                plan: Arc::clone(&plan),
                course: Arc::clone(&course),
                shared: Arc::clone(&shared),
                track: Arc::clone(&track),
                // Names of answers are made before they are needed.
                answers: plan.replies.then(|| Answers::new(&client, &track)),
            };
            client.on(text, move |message: &Message<'_>| listener.heard(message))?;
        }
        listeners.tracks.push(track);
        clients.push(client);
    }
    // Asked once all listeners are there: the brokers tell each other in the
    // meantime.
    for client in clients.iter().filter(|_| plan.is_linked) {
        client.wait_for_cluster(CLUSTER_TIMEOUT)?;
    }
    control::play(&listeners, &course, control::events(), 0);
    Ok(())
}

fn connect(socket: &Path, plan: &ListenersPlan, listener: &ListenerPlan) -> Result<Arc<Client>> {
    let queue = if plan.latest { QueuePolicy::Latest } else { QueuePolicy::Backpressure };
    let builder = Client::builder().name(format!("{}-{}", plan.name, listener.client));
    let client = builder.channel(&listener.channel).queue(queue).connect(socket);
    client.map(Arc::new).with_context(|| format!("client {}", listener.client))
}

/// State that all listeners of a process share.
struct Shared {
    times: Times,
    failed: AtomicU64,
    reader: Template,
}

/// Listener of one pattern of one client.
struct Listener {
    index: usize,
    plan: Arc<ListenersPlan>,
    course: Arc<Course>,
    shared: Arc<Shared>,
    track: Arc<Mutex<Track>>,
    answers: Option<Answers>,
}

/// Outlet of answers.
struct Answers {
    client: std::sync::Weak<Client>,
    names: Vec<(u16, String)>,
}

impl Answers {
    fn new(client: &Arc<Client>, track: &Mutex<Track>) -> Answers {
        let track = track.lock().expect("no thread panics with the lock");
        let names = track.emitters().map(|id| (id, reply_event(id))).collect();
        // Not a strong one: the client holds the listener.
        Answers { client: Arc::downgrade(client), names }
    }

    fn answer(&self, emitter: u16, payload: &[u8]) -> bool {
        let place = self.names.binary_search_by_key(&emitter, |(id, _)| *id);
        let (Ok(place), Some(client)) = (place, self.client.upgrade()) else { return false };
        client.emit(&self.names[place].1, payload).is_ok()
    }
}

impl Listener {
    fn heard(&self, message: &Message<'_>) {
        let payload = message.payload();
        let stamp = self.shared.reader.read_any(payload, self.plan.verify_full);
        let mut track = self.track.lock().expect("no thread panics with the lock");
        let source = track.record(stamp, self.index, payload.len());
        drop(track);
        let Some(source) = source else { return };
        if source.is_timed
            && let Some(due_ns) = stamp::intended_ns(payload)
        {
            self.record_latency(source, due_ns);
        }
        if let (Some(answers), Some(stamp)) = (&self.answers, stamp)
            && !answers.answer(stamp.emitter, payload)
        {
            self.shared.failed.fetch_add(1, Ordering::Relaxed);
        }
        if self.plan.delay_us > 0 {
            thread::sleep(Duration::from_micros(self.plan.delay_us));
        }
    }

    fn record_latency(&self, source: Source, due_ns: u64) {
        let due_ns = due_ns.saturating_add_signed(source.behind_ns);
        let latency = clock::now_ns().saturating_sub(due_ns);
        let since = due_ns.saturating_sub(self.course.began_ns());
        let is_measured = is_measured(&self.plan.phases, since);
        self.shared.times.record(latency, source.is_remote, is_measured);
    }
}

/// Clients of the process.
struct Listeners {
    tracks: Vec<Arc<Mutex<Track>>>,
    shared: Arc<Shared>,
}

impl Player for Listeners {
    fn tick(&self) -> Tick {
        let at_ns = clock::now_ns();
        let latency_ns = self.shared.times.tick();
        let mut tick = Tick { at_ns, latency_ns, ..Tick::default() };
        for track in &self.tracks {
            let (received, bytes) = lock(track).received();
            tick.received += received;
            tick.received_bytes += bytes;
        }
        tick
    }

    fn finish(&self, totals: &[Emitted]) -> Note {
        let failed = self.shared.failed.load(Ordering::Relaxed);
        finish(&self.tracks, totals, &self.shared.times, failed)
    }
}

fn lock(track: &Mutex<Track>) -> std::sync::MutexGuard<'_, Track> {
    track.lock().expect("no thread panics with the lock")
}

/// Waits until all events that were emitted have come, or none comes any more; returns
/// the counts.
pub fn finish(
    tracks: &[Arc<Mutex<Track>>],
    totals: &[Emitted],
    times: &Times,
    failed: u64,
) -> Note {
    let began = Instant::now();
    let mut last = (u64::MAX, Instant::now());
    while tracks.iter().any(|track| lock(track).missing(totals) > 0) {
        let received = tracks.iter().map(|track| lock(track).received().0).sum();
        if received != last.0 {
            last = (received, Instant::now());
        } else if last.1.elapsed() > DRAIN_TIMEOUT {
            break;
        }
        if began.elapsed() > MAX_DRAIN {
            break;
        }
        thread::sleep(POLL);
    }
    let (near, far) = times.totals();
    let mut heard = Heard { failed, near, far, ..Heard::default() };
    for track in tracks {
        let counts = lock(track).counts(totals);
        heard.received += counts.received;
        heard.bytes += counts.bytes;
        heard.lost += counts.lost;
        heard.duplicated += counts.duplicated;
        heard.disordered += counts.disordered;
        heard.corrupt += counts.corrupt;
    }
    Note::Heard(Box::new(heard))
}
