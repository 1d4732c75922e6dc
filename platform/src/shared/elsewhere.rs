//! Shared memory where the system has none.

use std::io;
use std::sync::Arc;

/// Memory of one client: there is none.
#[derive(Debug)]
pub enum ClientMemory {}

impl ClientMemory {
    /// Bytes that are reserved when it is made.
    pub const FIRST_BYTES: usize = 0;

    /// Bytes that are reserved with the largest ring.
    pub const MAX_BYTES: usize = 0;

    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub fn new() -> io::Result<Arc<ClientMemory>> {
        let text = "this system has no memory files that can be sealed";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// Does nothing.
    ///
    /// # Errors
    /// Never.
    pub fn reserve_ring(&self) -> io::Result<()> {
        Ok(())
    }
}
