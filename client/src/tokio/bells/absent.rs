//! Systems without shared memory: there are no bells.

use std::io;
use std::time::Duration;

use super::super::stream::Stream;
use crate::core::Outgoing;
use crate::memory::Incoming;

/// The bell for what comes.
pub(in crate::tokio) enum IncomingBell {}

impl IncomingBell {
    pub(in crate::tokio) fn new(incoming: &Incoming) -> io::Result<IncomingBell> {
        match *incoming {}
    }

    pub(in crate::tokio) async fn wait(
        &self,
        _: &mut Incoming,
        _: &Stream,
        _: Duration,
    ) -> io::Result<bool> {
        match *self {}
    }
}

/// The bell for room.
pub(in crate::tokio) enum RoomBell {}

impl RoomBell {
    pub(in crate::tokio) fn new(_: &Outgoing) -> io::Result<Option<RoomBell>> {
        Ok(None)
    }

    pub(in crate::tokio) async fn heard(&self) -> io::Result<()> {
        match *self {}
    }
}
