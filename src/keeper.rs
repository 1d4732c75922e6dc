//! The thread that sees to it that the broker's socket stays where clients look for it, and
//! gives its name away once another broker takes this one's place.
//!
//! An idle shard has no timer, so a thread of its own looks, every other second. A
//! socket that it makes anew goes to the shard that accepts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use netcluster_platform::{LocalListener, SocketKeeper, Waker};

use crate::broker::Shutdown;
use crate::heir::{Heir, Order};

/// Longest time for which a broker cannot be found after its socket was removed.
pub const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Longest wait of a successor for a broker that has just taken another one's place itself.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// Time between two looks whether it has all of it.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Thread that watches the socket; dropping this ends it.
#[derive(Debug)]
pub struct Keeper {
    orders: mpsc::Sender<Order>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Keeper {
    /// Starts to watch, until `shutdown` is set: then the socket is to go. A new
    /// listener is sent to `accepting`, and its shard woken.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        keeper: SocketKeeper,
        accepting: mpsc::Sender<LocalListener>,
        waker: Waker,
        shutdown: &Shutdown,
        heir: &Heir,
    ) -> io::Result<Keeper> {
        let (orders, ordered) = mpsc::channel();
        heir.set_keeper(orders.clone(), shutdown.clone());
        let shutdown = Arc::clone(&shutdown.asked);
        let heir = heir.clone();
        let keeping = Keeping { keeper, accepting, waker, shutdown, heir, told: String::new() };
        let run = move || keeping.run(&ordered);
        let thread = thread::Builder::new().name("socket".into()).spawn(run)?;
        Ok(Keeper { orders, thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            // The thread does nothing that could panic, and then there is nothing left
            // to keep.
            let _ = thread.join();
        }
    }
}

/// State of the thread.
struct Keeping {
    keeper: SocketKeeper,
    accepting: mpsc::Sender<LocalListener>,
    waker: Waker,
    shutdown: Arc<AtomicBool>,
    heir: Heir,
    /// The trouble that was told last: told when it begins, not every other second.
    told: String,
}

impl Keeping {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        loop {
            match orders.recv_timeout(CHECK_EVERY) {
                Ok(Order::HandOver(_, answer)) if self.shutdown.load(Ordering::Relaxed) => {
                    answer(Err("the broker ends already".to_owned()));
                }
                Ok(Order::HandOver(_, answer)) if !self.is_settled() => {
                    answer(Err("the broker has just taken another one's place, and waits for \
                                that one to leave the link"
                        .to_owned()));
                }
                Ok(Order::HandOver(name, answer)) => match self.keeper.hand_over(&name) {
                    Ok(()) => {
                        self.heir.appear();
                        return answer(Ok(()));
                    }
                    Err(error) => answer(Err(error.to_string())),
                },
                // The socket is gone because the broker ends.
                Err(RecvTimeoutError::Timeout) if self.shutdown.load(Ordering::Relaxed) => {}
                Err(RecvTimeoutError::Timeout) => {
                    if !self.look() {
                        return;
                    }
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Waits until this broker has all of the place that it took; whether it has in time.
    fn is_settled(&self) -> bool {
        let start = Instant::now();
        while self.heir.is_settling() && start.elapsed() < SETTLE_TIME {
            thread::sleep(LOOK_AGAIN);
        }
        !self.heir.is_settling()
    }

    /// Looks for the socket; returns whether anybody cares.
    fn look(&mut self) -> bool {
        match self.keeper.check() {
            Ok(None) => self.told.clear(),
            Ok(Some(listener)) => {
                self.told.clear();
                tracing::warn!(
                    socket = %self.keeper.path().display(),
                    "the socket was removed, and is made again: keep cleaners of temporary files \
                     off its directory"
                );
                if self.accepting.send(listener).is_err() {
                    return false;
                }
                self.waker.wake();
            }
            Err(error) => {
                let text = error.to_string();
                if self.told != text {
                    tracing::error!("the socket was removed, and cannot be made again: {text}");
                    self.told = text;
                }
            }
        }
        true
    }
}
