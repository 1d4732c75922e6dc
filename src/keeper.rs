//! The thread that sees to it that the broker's socket stays where clients look for it.
//!
//! An idle shard has no timer, so a thread of its own looks, every other second. A
//! socket that it makes anew goes to the shard that accepts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use netcluster_platform::{LocalListener, SocketKeeper, Waker};

/// Longest time for which a broker cannot be found after its socket was removed.
pub const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Thread that watches the socket; dropping this ends it.
#[derive(Debug)]
pub struct Keeper {
    stop: Option<mpsc::Sender<()>>,
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
        shutdown: Arc<AtomicBool>,
    ) -> io::Result<Keeper> {
        let (stop, stopped) = mpsc::channel();
        let run = move || keep(keeper, &stopped, &accepting, &waker, &shutdown);
        let thread = thread::Builder::new().name("socket".into()).spawn(run)?;
        Ok(Keeper { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread does nothing that could panic, and then there is nothing left
            // to keep.
            let _ = thread.join();
        }
    }
}

fn keep(
    mut keeper: SocketKeeper,
    stopped: &mpsc::Receiver<()>,
    accepting: &mpsc::Sender<LocalListener>,
    waker: &Waker,
    shutdown: &AtomicBool,
) {
    // A trouble is told when it begins, not every other second.
    let mut told = String::new();
    while stopped.recv_timeout(CHECK_EVERY) == Err(RecvTimeoutError::Timeout) {
        if shutdown.load(Ordering::Relaxed) {
            return;
        }
        match keeper.check() {
            Ok(None) => told.clear(),
            Ok(Some(listener)) => {
                told.clear();
                tracing::warn!(
                    socket = %keeper.path().display(),
                    "the socket was removed, and is made again: keep cleaners of temporary files \
                     off its directory"
                );
                if accepting.send(listener).is_err() {
                    return;
                }
                waker.wake();
            }
            Err(error) => {
                let text = error.to_string();
                if told != text {
                    tracing::error!("the socket was removed, and cannot be made again: {text}");
                    told = text;
                }
            }
        }
    }
}
