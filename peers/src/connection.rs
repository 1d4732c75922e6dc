//! The part of a peer's client that emitters and listeners need.

use anyhow::Result;

/// Outcome of a wait for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many events, at least one.
    Events(usize),
    /// No event came in time.
    Nothing,
    /// The peer has closed the connection: what follows is lost.
    Closed,
}

/// A connection to a peer. One thread uses it.
pub trait Connection: Sized {
    /// Subscribes; returns once the peer has the subscription.
    fn subscribe(&mut self, topic: &str) -> Result<()>;

    /// Takes an event into the batch; may send a batch that is long.
    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<()>;

    /// Sends the events that were published; does not wait for the peer to read them.
    fn flush(&mut self) -> Result<()>;

    /// Sends the events that were published; returns once the peer has read them.
    fn fence(&mut self) -> Result<()>;

    /// Waits for an event for a while, gives the payloads of all that are there to
    /// `each`.
    fn receive(&mut self, each: impl FnMut(&[u8])) -> Result<Received>;
}
