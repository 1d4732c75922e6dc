//! The test's end of a simulated connection.
//!
//! Nothing here blocks: a write takes what the socket has room for, a read gives
//! what is there. A client that does not read is a slow listener.

use super::{SimMemory, SimNet};

/// A client's end. Dropping it closes it.
#[derive(Debug)]
pub struct SimClient {
    net: SimNet,
    socket: u64,
}

impl SimClient {
    pub(super) fn new(net: SimNet, socket: u64) -> SimClient {
        SimClient { net, socket }
    }

    /// Writes the first bytes of `bytes`, as many as the socket takes; returns how
    /// many. 0 also when the connection is closed.
    pub fn write(&self, bytes: &[u8]) -> usize {
        self.net.world().client_write(self.socket, bytes)
    }

    /// Reads all that is there to the end of `bytes`; returns how much.
    pub fn read(&self, bytes: &mut Vec<u8>) -> usize {
        self.read_up_to(bytes, usize::MAX)
    }

    /// Reads at most `limit` bytes to the end of `bytes`; returns how many.
    pub fn read_up_to(&self, bytes: &mut Vec<u8>, limit: usize) -> usize {
        self.net.world().client_read(self.socket, bytes, limit)
    }

    /// Number of bytes that there are to read.
    pub fn readable(&self) -> usize {
        self.net.world().client_readable(self.socket)
    }

    /// Number of the connection, of which a machine has no other.
    pub fn number(&self) -> u64 {
        self.socket
    }

    /// Takes the memory that the broker offered with what was read, if it did.
    pub fn take_memory(&self) -> Option<SimMemory> {
        self.net.world().client_memory(self.socket)
    }

    /// Whether either end closed the connection. What the broker had sent before
    /// can still be read, unless this end closed.
    pub fn is_closed(&self) -> bool {
        self.net.world().client_is_closed(self.socket)
    }

    /// Closes in order: the broker reads what was written, then the end.
    pub fn close(&self) {
        self.net.world().client_close(self.socket);
    }

    /// Dies: a random part of what was written and not received is lost, the
    /// broker's receive fails.
    pub fn reset(&self) {
        self.net.world().client_reset(self.socket);
    }
}

impl Drop for SimClient {
    fn drop(&mut self) {
        self.net.world().client_forget(self.socket);
    }
}
