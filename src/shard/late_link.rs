//! A link whose sockets come later: the broker whose place this one takes still has its
//! port. What clients emit meanwhile waits in the link's history.

use std::sync::mpsc;

use netcluster_platform::Io;

use crate::status::LinkIo;
use crate::timers::Timer;

use super::Shard;
use super::link::CHECK_EVERY;

/// Sockets of a link.
pub enum LinkSockets<S> {
    /// Sockets that are open.
    Open(S),
    /// Sockets that come, with their description, once the broker whose place this one takes
    /// has left the link; whoever sends them wakes the shard. Until then nothing is sent.
    Later(mpsc::Receiver<(S, LinkIo)>),
}

impl<I: Io> Shard<I> {
    /// Begins to use the sockets.
    pub(super) fn begin_link(&mut self) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        driver.link.begin(self.now);
        driver.link.set_interface_limit(self.now, self.io.max_datagram_bytes());
        self.shared.heir.settle();
        self.timers.set(self.deadline(CHECK_EVERY), Timer::Interface);
        self.look_outside();
    }

    /// Opens the sockets that were waited for, if they are there.
    pub(super) fn take_late_sockets(&mut self) {
        let Some(Ok((sockets, about))) = self.late_sockets.as_ref().map(|it| it.try_recv()) else {
            return;
        };
        self.late_sockets = None;
        if let Err(error) = self.io.open_datagrams(sockets) {
            tracing::error!(%error, "cannot use the sockets of the link: restart this broker");
        }
        if let Some(driver) = self.link.as_deref_mut() {
            driver.about = about;
        }
        self.begin_link();
    }
}
