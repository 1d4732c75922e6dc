//! Waking the shard from other threads, one system call per batch of wakes.
//!
//! ```text
//!   other thread:  woken ← true; if !swap(pending, true): write the event
//!   the shard:     event → pending ← false; if swap(woken, false): `Woken`
//! ```
//! Invariant: whenever `woken` is set there is an event that the shard has not
//! taken yet, or a thread about to write one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::io::WakeTarget;

/// State that both kinds of wakers share with the shard.
#[derive(Debug)]
pub(super) struct WakeState {
    waker: mio::Waker,
    /// An event is under way.
    pending: AtomicBool,
    /// The shard is to be told.
    woken: AtomicBool,
}

impl WakeState {
    pub(super) fn new(waker: mio::Waker) -> WakeState {
        WakeState { waker, pending: AtomicBool::new(false), woken: AtomicBool::new(false) }
    }

    /// Takes the event; whether the shard is to be told.
    pub(super) fn take(&self) -> bool {
        // In this order: a wake that comes between writes an event of its own.
        self.pending.store(false, Ordering::SeqCst);
        self.woken.swap(false, Ordering::SeqCst)
    }

    fn kick(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // It fails only when the event counter is full, and then the event
            // is there.
            let _ = self.waker.wake();
        }
    }
}

/// Target of the shard's [`Waker`](crate::Waker): reported as `Woken`.
pub(super) struct ShardWake(pub(super) Arc<WakeState>);

impl WakeTarget for ShardWake {
    fn wake(&self) {
        self.0.woken.store(true, Ordering::SeqCst);
        self.0.kick();
    }
}

/// Target of the pool's waker: a buffer came back, which is no news to the shard.
pub(super) struct PoolWake(pub(super) Arc<WakeState>);

impl WakeTarget for PoolWake {
    fn wake(&self) {
        self.0.kick();
    }
}
