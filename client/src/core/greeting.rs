//! The first frame of a connection: the welcome, or why there is none.

use netcluster_wire::{ErrorCode, Source, Welcome};

use super::session::{Inbound, ReceiveBuffer, SessionEvent};
use crate::error::Error;

/// The welcome, once it is received.
///
/// # Errors
/// The broker refuses the client, or is none.
pub(super) fn read(
    inbound: &mut Inbound,
    received: &mut ReceiveBuffer,
) -> Result<Option<(Source, Welcome)>, Error> {
    let (lent, range) = received.lend();
    let (greeting, used) = match inbound.next(&lent[range]) {
        Ok(None) => (Ok(None), 0),
        Ok(Some((SessionEvent::Welcome { source, welcome }, used))) => {
            (Ok(Some((source, welcome))), used)
        }
        Ok(Some((SessionEvent::ClosedByBroker { code, text }, _))) => {
            (Err(Error::ClosedByBroker { code, text }), 0)
        }
        Ok(Some((SessionEvent::Bye { .. }, _))) => {
            let text = "the broker is shutting down".into();
            (Err(Error::ClosedByBroker { code: ErrorCode::Shutdown, text }), 0)
        }
        Ok(Some((other, _))) => {
            (Err(Error::Protocol(format!("{other:?} instead of a welcome"))), 0)
        }
        Err(error) => (Err(error), 0),
    };
    received.give_back(lent, used);
    greeting
}
