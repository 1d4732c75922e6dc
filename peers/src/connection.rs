//! What emitters and listeners need of a peer's client.

use anyhow::Result;

/// What a wait for events came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many events, at least one.
    Events(usize),
    /// None came in time.
    Nothing,
    /// The peer has closed the connection: what follows is lost.
    Closed,
}

/// A connection to a peer. One thread uses it.
pub trait Connection: Sized {
    /// Subscribes; returns once the peer has it.
    fn subscribe(&mut self, topic: &str) -> Result<()>;

    /// Takes an event into the batch; may send the batch if it is long.
    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<()>;

    /// Sends what was published; does not wait for the peer to read it.
    fn flush(&mut self) -> Result<()>;

    /// Sends what was published; returns once the peer has read it.
    fn fence(&mut self) -> Result<()>;

    /// Waits for an event for a while, gives all that are there to `each`.
    fn receive(&mut self, each: impl FnMut(&[u8])) -> Result<Received>;
}
