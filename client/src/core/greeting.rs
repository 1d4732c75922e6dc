//! The first frame of a connection: the welcome, or why there is none.

use netcluster_wire::{ErrorCode, Source, Welcome};

use super::session::{Inbound, ReceiveBuffer, SessionEvent};
use crate::error::Error;

/// The welcome, once it is received.
///
/// # Errors
/// The broker refuses the client, or is none; and whether its successor listens already.
pub(super) fn read(
    inbound: &mut Inbound,
    received: &mut ReceiveBuffer,
) -> Result<Option<(Source, Welcome)>, (Error, bool)> {
    let (lent, range) = received.lend();
    let (greeting, used) = match inbound.next(&lent[range]) {
        Ok(None) => (Ok(None), 0),
        Ok(Some((SessionEvent::Welcome { source, welcome }, used))) => {
            (Ok(Some((source, welcome))), used)
        }
        Ok(Some((SessionEvent::ClosedByBroker { code, text }, _))) => {
            (Err((Error::ClosedByBroker { code, text }, false)), 0)
        }
        Ok(Some((SessionEvent::Bye { has_successor, .. }, _))) => {
            let text = "the broker is shutting down".into();
            (Err((Error::ClosedByBroker { code: ErrorCode::Shutdown, text }, has_successor)), 0)
        }
        Ok(Some((other, _))) => {
            let text = format!("{other:?} instead of a welcome");
            (Err((Error::Protocol(text), false)), 0)
        }
        Err(error) => (Err((error, false)), 0),
    };
    received.give_back(lent, used);
    greeting
}
