//! Thread that takes control messages: begins, ticks, ends; the same for every kind of
//! process.

use std::io::BufRead;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::plan::{Control, Note, Tick};
use crate::clock;
use crate::delivery_check::Emitted;
use crate::message::{Report, report};

const NS_PER_MS: u64 = 1_000_000;
/// Time between two ticks before the begin, when there is nothing to tell.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Shortest sleep: a shorter one overshoots, so that the thread spins instead.
const MIN_SLEEP_NS: u64 = 20_000;
/// Longest sleep: an end is noticed that late by a thread that sleeps.
const MAX_SLEEP_NS: u64 = 50 * NS_PER_MS;

/// Course of the run, as all threads of a process know it.
#[derive(Debug, Default)]
pub struct Course {
    began: Mutex<Option<u64>>,
    begin: Condvar,
    began_ns: AtomicU64,
    stop: AtomicBool,
}

/// Event in the life of a process.
#[derive(Debug)]
pub enum Event {
    /// A control message came.
    Control(Control),
    /// A thread of the process is done.
    Done(Done),
}

/// Totals that a thread that emits leaves behind.
#[derive(Debug)]
pub struct Done {
    /// Number of events of each name.
    pub totals: Vec<Emitted>,
    /// Bytes of all payloads.
    pub bytes: u64,
    /// Times the client refused an event.
    pub refused: u64,
}

/// Player of a kind of process.
pub trait Player {
    /// Tells how it goes so far.
    fn tick(&self) -> Tick;
    /// Waits for missing events of those that were emitted, and tells the totals.
    fn finish(&self, totals: &[Emitted]) -> Note;
}

impl Course {
    /// Waits for the begin of the run; returns its time by the machine's clock.
    pub fn wait(&self) -> u64 {
        let mut began = self.began.lock().expect("no thread panics with the lock");
        loop {
            match *began {
                Some(at_ns) => return at_ns,
                None => began = self.begin.wait(began).expect("no thread panics with the lock"),
            }
        }
    }

    /// Returns when the run began; 0 if it has not.
    #[inline]
    pub fn began_ns(&self) -> u64 {
        self.began_ns.load(Ordering::Relaxed)
    }

    /// Returns whether the run is to end.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn begin(&self, at_ns: u64) {
        self.began_ns.store(at_ns, Ordering::Relaxed);
        *self.began.lock().expect("no thread panics with the lock") = Some(at_ns);
        self.begin.notify_all();
    }

    /// Sleeps until that time; returns whether the run is not over.
    pub fn sleep_until(&self, at_ns: u64) -> bool {
        loop {
            if self.is_over() {
                return false;
            }
            let now = clock::now_ns();
            if now >= at_ns {
                return true;
            }
            if at_ns - now > MIN_SLEEP_NS {
                clock::sleep_until(at_ns.min(now + MAX_SLEEP_NS));
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

/// Makes the channel in which threads tell that they are done.
pub fn events() -> (Sender<Event>, Receiver<Event>) {
    mpsc::channel()
}

/// Says that the process is ready and takes control messages until told to quit. Once
/// `emitters` threads have said that they are done, that is told.
pub fn play(
    player: &impl Player,
    course: &Arc<Course>,
    (sender, events): (Sender<Event>, Receiver<Event>),
    emitters: usize,
) {
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let control = serde_json::from_str(&line).unwrap_or(Control::Quit);
            if sender.send(Event::Control(control)).is_err() {
                return;
            }
        }
        // An end of the input is the end of the agent.
        let _ = sender.send(Event::Control(Control::Quit));
    });
    report(&Report::Ready { driver: None });
    let mut interval = PATIENCE;
    let mut all = Done { totals: Vec::new(), bytes: 0, refused: 0 };
    let mut left = emitters;
    loop {
        match events.recv_timeout(interval) {
            Ok(Event::Control(Control::Begin { at_ns, interval_ms })) => {
                course.begin(at_ns);
                interval = Duration::from_millis(interval_ms.max(1));
            }
            Ok(Event::Control(Control::Stop)) => course.stop.store(true, Ordering::Relaxed),
            Ok(Event::Control(Control::Finish(totals))) => {
                let finished = player.finish(&totals);
                note(Note::Tick(player.tick()));
                note(finished);
                interval = PATIENCE;
            }
            // Not by returning: a client that is dropped says goodbye, and waits.
            Ok(Event::Control(Control::Quit)) | Err(RecvTimeoutError::Disconnected) => {
                std::process::exit(0)
            }
            Ok(Event::Done(done)) => {
                all.totals.extend(done.totals);
                all.bytes += done.bytes;
                all.refused += done.refused;
                left -= 1;
                if left == 0 {
                    let totals = std::mem::take(&mut all.totals);
                    note(Note::Tick(player.tick()));
                    note(Note::Emitted { totals, bytes: all.bytes, refused: all.refused });
                }
            }
            Err(RecvTimeoutError::Timeout) => note(Note::Tick(player.tick())),
        }
    }
}

fn note(note: Note) {
    report(&Report::Note(Box::new(note)));
}
