//! Shared by the tests of all crates and the load test: machines made of network
//! namespaces, directories that are gone with their test, bounded waits, documents that
//! are compared with the code.
//!
//! It knows nothing of netcluster, so every crate may depend on it.

#![forbid(unsafe_code)]

mod directory;
pub mod document;
#[cfg(target_os = "linux")]
pub mod netns;
mod wait;

pub use directory::Directory;
pub use wait::{PATIENCE, wait_for, wait_until};
