//! The client's side of the conversation, without IO, threads or a clock.
//!
//! ```text
//!   emit, subscribe, ping, bye ─► Outbound ─► bytes to write
//!   bytes that were read ─► ReceiveBuffer ─► Inbound ─► SessionEvent
//! ```
//! The two halves share nothing but what the welcome says, so a driver may put
//! them on different threads: it hands [`SessionEvent::Welcome`] to
//! [`Outbound::welcomed`]. The blocking client, the tokio client and load
//! generators with thousands of connections all drive this.
//!
//! ```
//! use netcluster_client::session::{Hello, Outbound, Session, SessionState};
//!
//! let mut out = Vec::new();
//! let session = Session::start(&mut out, "default", &Hello::default())?;
//! assert!(!out.is_empty(), "the hello, to be written");
//! assert_eq!(session.inbound.state(), SessionState::Greeting);
//! // An event that the broker would refuse is refused here.
//! assert!(Outbound::new().emit(&mut out, "a.*", b"").is_err());
//! # Ok::<(), netcluster_client::Error>(())
//! ```
//!
//! Not here: reconnecting (a session is made anew, [`Outbound::reconnect`] keeps
//! the numbering), who listens to what, waiting.

mod event_head;
mod inbound;
mod outbound;
mod receive;

pub(crate) use event_head::is_same;
pub use inbound::{Inbound, SessionEvent, SessionState};
pub use outbound::{Outbound, PING_EVERY_BYTES, unwritten};
pub use receive::{RECEIVE_BUFFER_BYTES, ReceiveBuffer};

pub use netcluster_wire::control::ControlError;
pub use netcluster_wire::{Frame, FrameError, Hello, Kind, Pattern, SharedStep, Welcome};

use crate::error::Error;

/// Both halves, for a driver that has them on one thread.
#[derive(Debug)]
pub struct Session {
    /// The writing half.
    pub outbound: Outbound,
    /// The reading half.
    pub inbound: Inbound,
}

impl Session {
    /// Makes a session that starts with this hello, which is appended to `out`.
    ///
    /// # Errors
    /// If the channel's name is not allowed.
    pub fn start(out: &mut Vec<u8>, channel: &str, hello: &Hello) -> Result<Session, Error> {
        let outbound = Outbound::new();
        outbound.hello(out, channel, hello)?;
        Ok(Session { outbound, inbound: Inbound::new() })
    }

    /// The next whole frame at the front of `bytes` and its length; the welcome
    /// is passed on to the outbound half.
    ///
    /// # Errors
    /// The broker broke the protocol: close the connection.
    pub fn next<'a>(
        &mut self,
        bytes: &'a [u8],
    ) -> Result<Option<(SessionEvent<'a>, usize)>, Error> {
        let next = self.inbound.next(bytes)?;
        if let Some((SessionEvent::Welcome { source, welcome }, _)) = &next {
            self.outbound.welcomed(*source, welcome.max_payload);
        }
        Ok(next)
    }

    /// The halves, to drive them on two threads.
    pub fn split(self) -> (Outbound, Inbound) {
        (self.outbound, self.inbound)
    }
}

#[cfg(test)]
mod tests;
