//! The thread that makes memory for clients, so that no shard waits for the system.
//!
//! ```text
//!   shard ── order: new, or a larger ring ──▶ maker thread
//!     ▲                                          │ memory files, bells, pages reserved
//!     └──────── made, or why not; waker ─────────┘
//! ```
//! Making takes tens of microseconds, and much longer while the system looks for pages.
//!
//! Invariants: each order is answered, as long as the maker lives. A client has one order
//! under way at the most, so the queue is bounded by the number of clients.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use netcluster_platform::{ClientMemory, Waker, memory_available_bytes};

use crate::target::Target;

/// Bytes that a container must have left besides, so that nothing ends for want of memory
/// because of this: 16 MiB.
const SPARE_BYTES: u64 = 16 << 20;

/// Thing to be made.
#[derive(Debug)]
pub enum Job {
    /// Memory for a client.
    New,
    /// The largest ring in this memory.
    LargestRing(Arc<ClientMemory>),
}

/// Thing that was made.
#[derive(Debug)]
pub enum Made {
    /// Memory for a client.
    New(Arc<ClientMemory>),
    /// The largest ring, reserved.
    LargestRing,
}

/// Client for whom something was made, and what, or the reason why not.
pub type Answer = (Target, Result<Made, String>);

/// Order for a client, with the way to its shard.
pub struct Order {
    target: Target,
    job: Job,
    answers: Sender<Answer>,
    waker: Waker,
}

/// Handle of the maker, one for each shard.
#[derive(Clone, Debug)]
pub struct MemoryMaker(Sender<Order>);

impl std::fmt::Debug for Order {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Order").field("target", &self.target).finish_non_exhaustive()
    }
}

impl MemoryMaker {
    /// Starts the thread, which ends with the last handle.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start() -> io::Result<MemoryMaker> {
        let (orders, inbox) = mpsc::channel();
        thread::Builder::new().name("memory".into()).spawn(move || run(&inbox))?;
        Ok(MemoryMaker(orders))
    }

    /// Returns a maker without a thread: whoever has the inbox answers, when he likes.
    #[cfg(feature = "sim")]
    pub fn by_hand() -> (MemoryMaker, Receiver<Order>) {
        let (orders, inbox) = mpsc::channel();
        (MemoryMaker(orders), inbox)
    }
}

impl Order {
    /// Answers by what came of making.
    pub fn answer(self, make: impl FnOnce(Job) -> Result<Made, String>) {
        let Order { target, job, answers, waker } = self;
        // The shard may have ended.
        let _ = answers.send((target, make(job)));
        waker.wake();
    }
}

fn run(inbox: &Receiver<Order>) {
    for order in inbox {
        order.answer(make);
    }
}

fn make(job: Job) -> Result<Made, String> {
    let bytes = match job {
        Job::New => ClientMemory::FIRST_BYTES,
        Job::LargestRing(_) => ClientMemory::MAX_BYTES,
    };
    if let Some(left) = memory_available_bytes()
        && left < bytes as u64 + SPARE_BYTES
    {
        return Err(format!("the memory limit of this container leaves {} KiB", left >> 10));
    }
    let made = match job {
        Job::New => ClientMemory::new().map(Made::New),
        Job::LargestRing(memory) => memory.reserve_ring().map(|()| Made::LargestRing),
    };
    made.map_err(|error| error.to_string())
}

/// A shard's end: orders, and what was made.
#[derive(Debug)]
pub struct MemoryOrders {
    maker: MemoryMaker,
    answers: Sender<Answer>,
    inbox: Receiver<Answer>,
    waker: Waker,
}

impl MemoryOrders {
    /// Returns the end of a shard that this waker wakes.
    pub fn new(maker: MemoryMaker, waker: Waker) -> MemoryOrders {
        let (answers, inbox) = mpsc::channel();
        MemoryOrders { maker, answers, inbox, waker }
    }

    /// Orders memory for a client.
    pub fn order_new(&self, target: Target) {
        self.order(target, Job::New);
    }

    /// Orders the largest ring for a client that has memory.
    pub fn order_largest_ring(&self, target: Target, memory: Arc<ClientMemory>) {
        self.order(target, Job::LargestRing(memory));
    }

    fn order(&self, target: Target, job: Job) {
        let order = Order { target, job, answers: self.answers.clone(), waker: self.waker.clone() };
        if let Err(mpsc::SendError(order)) = self.maker.0.send(order) {
            order.answer(|_| Err("the thread that makes memory is gone".to_owned()));
        }
    }

    /// Takes the next answer that has come.
    pub fn take(&self) -> Option<Answer> {
        self.inbox.try_recv().ok()
    }
}
