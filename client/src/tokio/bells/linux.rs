//! Bells on Linux: ends of socket pairs.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netcluster_shm::Doorbell;
use tokio::net::unix::pipe::Receiver;

use super::super::stream::Stream;
use crate::core::Outgoing;
use crate::memory::Incoming;

/// Bytes that silencing reads at a time.
const SILENCE_BYTES: usize = 256;

/// Makes the runtime wait for a bell. It reads an end of a pair as it reads a pipe.
fn register(bell: &Doorbell) -> io::Result<Receiver> {
    Receiver::from_owned_fd_unchecked(bell.as_fd().try_clone_to_owned()?)
}

/// Waits until a bell was rung, and silences it; whether the broker's end is closed.
async fn hear(bell: &Receiver) -> io::Result<bool> {
    loop {
        bell.readable().await?;
        match bell.try_read(&mut [0; SILENCE_BYTES]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            heard => return heard.map(|bytes| bytes == 0),
        }
    }
}

/// The bell for what comes.
pub(in crate::tokio) struct IncomingBell(Receiver);

impl IncomingBell {
    /// Makes the bell of this memory.
    ///
    /// # Errors
    /// The runtime cannot wait for it.
    pub(in crate::tokio) fn new(incoming: &Incoming) -> io::Result<IncomingBell> {
        Ok(IncomingBell(register(&incoming.bells().client)?))
    }

    /// Waits until there is something, at first by looking for it, so long; whether the
    /// connection is gone.
    ///
    /// # Errors
    /// The system's.
    pub(in crate::tokio) async fn wait(
        &self,
        incoming: &mut Incoming,
        stream: &Stream,
        spin: Duration,
    ) -> io::Result<bool> {
        if !spin.is_zero() {
            let start = Instant::now();
            while start.elapsed() < spin {
                if incoming.is_there() {
                    return Ok(false);
                }
                // Other tasks, and other processes on this core, go on meanwhile.
                tokio::task::yield_now().await;
                std::thread::yield_now();
            }
        }
        if !incoming.want() {
            return Ok(false);
        }
        tokio::select! {
            heard = hear(&self.0) => heard,
            gone = stream.gone() => gone.map(|()| true),
        }
    }
}

/// The bell for room.
pub(in crate::tokio) struct RoomBell(Receiver);

impl RoomBell {
    /// Makes the bell of the ring that is in use.
    ///
    /// # Errors
    /// The runtime cannot wait for it.
    pub(in crate::tokio) fn new(outgoing: &Outgoing) -> io::Result<Option<RoomBell>> {
        let bell = outgoing.ring.as_ref().map(|ring| register(&ring.bells().room));
        Ok(bell.transpose()?.map(RoomBell))
    }

    /// Waits until it was rung.
    ///
    /// # Errors
    /// The broker is gone, or the runtime about to end.
    pub(in crate::tokio) async fn heard(&self) -> io::Result<()> {
        if hear(&self.0).await? { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}
