//! Thread that opens the sockets of a link while the broker runs: that takes the system
//! longer than a shard may wait.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;

use netcluster_link::options::LinkOptions;
use netcluster_platform::Waker;

use crate::apart;
use crate::shard::LinkStart;
use crate::target::Target;

/// Way to open the sockets of a link, on any thread.
pub type OpenLink<S> = Arc<dyn Fn(&LinkOptions) -> Result<LinkStart<S>, String> + Send + Sync>;

/// Link whose sockets are opened, or the reason why not; for who asked.
pub struct Opened<S> {
    /// The client that asked.
    pub target: Target,
    /// The number of its request.
    pub request: u64,
    /// The options.
    pub options: Box<LinkOptions>,
    /// The sockets, or the reason.
    pub start: Result<LinkStart<S>, String>,
}

/// Wish of a client that the link be opened.
pub struct Wish {
    /// The client that asks.
    pub target: Target,
    /// The number of its request.
    pub request: u64,
    /// Options of the link.
    pub options: Box<LinkOptions>,
}

/// Opener of the link, on the shard that will drive it.
pub struct Opener<S> {
    /// Starts a thread that opens the sockets.
    start: Box<dyn Fn(Wish) -> io::Result<()> + Send>,
    opened: mpsc::Receiver<Opened<S>>,
    is_opening: bool,
}

impl<S> Opener<S> {
    /// Returns an opener whose shard is woken by this.
    pub fn new(open: OpenLink<S>, waker: Waker) -> Opener<S>
    where
        S: Send + 'static,
    {
        let (sender, opened) = mpsc::channel();
        let start = move |wish: Wish| {
            let (open, waker, sender) = (Arc::clone(&open), waker.clone(), sender.clone());
            let run = move || {
                let Wish { target, request, options } = wish;
                let start = apart::answer_of(|| open(&options));
                // A shard that is gone needs none.
                let _ = sender.send(Opened { target, request, options, start });
                waker.wake();
            };
            thread::Builder::new().name("open-link".into()).spawn(run).map(drop)
        };
        Opener { start: Box::new(start), opened, is_opening: false }
    }

    /// Begins to open.
    ///
    /// # Errors
    /// Reason why not.
    pub fn begin(&mut self, wish: Wish) -> Result<(), String> {
        if self.is_opening {
            return Err("the link is being opened already".to_owned());
        }
        (self.start)(wish).map_err(|error| format!("cannot start a thread: {error}"))?;
        self.is_opening = true;
        Ok(())
    }

    /// Takes the sockets, once they were opened or could not be.
    pub fn take_opened(&mut self) -> Option<Opened<S>> {
        let opened = self.opened.try_recv().ok()?;
        self.is_opening = false;
        Some(opened)
    }
}
