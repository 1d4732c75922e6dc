//! The datagrams of one shard: the link's sockets, opened on its simulated back
//! end.
//!
//! Invariant: as elsewhere in the simulator, completions come out of
//! [`Io::wait`](crate::Io::wait) alone.

use core::net::{IpAddr, SocketAddr};
use std::io;

use super::{SimIo, SimSockets};
use crate::{DatagramIo, DatagramPlace, DatagramStats};

impl SimIo {
    /// The open sockets.
    ///
    /// # Panics
    /// If there are none: the shard's mistake.
    fn datagrams(&self) -> &SimSockets {
        self.datagrams.as_ref().expect("the sockets of the link are open")
    }
}

impl DatagramIo for SimIo {
    type Sockets = SimSockets;

    fn open_datagrams(&mut self, sockets: SimSockets) -> io::Result<()> {
        assert!(self.datagrams.is_none(), "the shard has sockets of a link already");
        assert!(self.is_on(sockets.network()), "the sockets are of another network");
        sockets.open();
        self.datagrams = Some(sockets);
        Ok(())
    }

    fn close_datagrams(&mut self) {
        self.datagrams = None;
    }

    fn send_datagrams(
        &mut self,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
        looped: bool,
    ) -> io::Result<usize> {
        self.datagrams().send(to, bytes, segment, looped)
    }

    fn join_group(&mut self, group: IpAddr) -> io::Result<()> {
        self.datagrams().join(group)
    }

    fn leave_group(&mut self, group: IpAddr) -> io::Result<()> {
        self.datagrams().leave(group);
        Ok(())
    }

    /// The simulated interface never changes.
    fn check_interface(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn datagram_place(&self) -> Option<DatagramPlace<'_>> {
        None
    }

    fn max_datagram_bytes(&self) -> Option<usize> {
        self.datagrams.as_ref().map(SimSockets::max_datagram_bytes)
    }

    fn datagram_stats(&self) -> DatagramStats {
        self.datagrams.as_ref().map_or_else(DatagramStats::default, SimSockets::stats)
    }
}
