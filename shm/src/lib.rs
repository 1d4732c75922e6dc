//! Shared memory between a broker and its local clients. Only Linux has the files that two
//! processes share; within one process, for simulations, both ends are everywhere.
//!
//! ```text
//!   emitter                       broker                        listener
//!   RingWriter ──▶ ring ──▶ RingReader ─ copies once ─▶ Arena ──▶ ArenaView
//!                                        DescriptorWriter ──▶ DescriptorReader
//!        └──────────── one Region per connection ─────────────────┘
//! ```
//! - `layout`: the control page to the byte, and all sizes
//! - `memory`: memory files, their seals and mappings
//! - `heap`: memory of one process, for both ends within it
//! - `arena`: memory of the broker that clients read in place
//! - `region`: memory of one connection; `region/files.rs`: as files, with its doorbells
//! - `ring`: bytes from the client to the broker
//! - `descriptors`: ranges of the arena (or of the socket) from the broker to the client
//! - `doorbell`: waking the other side, from empty to non-empty only
//! - `fork_guard`: whether this is still the process that mapped the memory
//!
//! It makes no decision: when memory is offered, what is copied and who may wait are the
//! broker's and the client's.
//!
//! Invariants: the broker trusts no word that a client can write: it reads each once,
//! checks it against what it keeps itself, and copies bytes before it looks at them. It
//! never makes a reference to bytes that a client can write. All files are sealed
//! against a change of their size, so no access ends in a signal.
//!
//! Decision: `docs/decisions/049-shared-memory.md`.

// `cfg(loom)` is set by whoever checks the model and unknown to Cargo.
#![allow(unexpected_cfgs)]

#[cfg(not(all(loom, test)))]
mod arena;
mod descriptors;
#[cfg(not(all(loom, test)))]
mod doorbell;
#[cfg(all(target_os = "linux", not(all(loom, test))))]
mod fork_guard;
#[cfg(not(all(loom, test)))]
mod heap;
pub mod layout;
#[cfg(all(target_os = "linux", not(all(loom, test))))]
mod memory;
mod region;
mod ring;
mod sync;

#[cfg(all(loom, test))]
mod loom_tests;
#[cfg(all(test, target_os = "linux", not(loom)))]
mod tests;

#[cfg(not(all(loom, test)))]
pub use arena::{Arena, ArenaView};
pub use descriptors::{Descriptor, DescriptorReader, DescriptorWriter, ReleaseFault};
#[cfg(not(all(loom, test)))]
pub use doorbell::{Bells, Doorbell};
#[cfg(all(target_os = "linux", not(all(loom, test))))]
pub use fork_guard::ForkGuard;
pub use region::Region;
#[cfg(all(target_os = "linux", not(all(loom, test))))]
pub use region::{ClientRegion, RegionFiles};
pub use ring::{RingFault, RingReader, RingWriter};
