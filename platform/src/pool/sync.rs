//! The atomics of the pool, exchanged for loom's when it checks the model
//! (`RUSTFLAGS="--cfg loom" cargo test -p netcluster-platform -p netcluster-shm --lib loom`).

// `cfg(loom)` is set by whoever checks the model and unknown to Cargo.
#![allow(unexpected_cfgs)]

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
