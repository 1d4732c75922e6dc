//! Access of a test to what goes over a simulated network, to look and to interfere.
//!
//! The record is bounded: the oldest datagrams go first. The filter decides about
//! each datagram for each machine that it would reach.

use crate::Instant;

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use super::MachineId;
use super::train::Train;

/// A datagram that was sent, as the record holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tapped {
    /// Time of the sending.
    pub at: Instant,
    /// Address of the sender.
    pub from: SocketAddr,
    /// Address of the receiver, or of the group.
    pub to: SocketAddr,
    /// Bytes of the datagram.
    pub bytes: Bytes,
}

/// A datagram that is about to go to a machine.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// The present time.
    pub at: Instant,
    /// Address of the sender.
    pub from: SocketAddr,
    /// Address of the receiver, or of the group.
    pub to: SocketAddr,
    /// The machine it would reach.
    pub receiver: MachineId,
    /// Bytes of the datagram.
    pub bytes: &'a [u8],
}

/// Whether a datagram passes. It must not call the network.
pub type Filter = Box<dyn FnMut(&Passage<'_>) -> bool>;

/// The record and the filter.
#[derive(Default)]
pub(super) struct Tap {
    limit: usize,
    record: VecDeque<Tapped>,
    pub(super) filter: Option<Filter>,
}

impl Tap {
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.trim();
    }

    pub(super) fn take(&mut self) -> Vec<Tapped> {
        std::mem::take(&mut self.record).into()
    }

    pub(super) fn note(&mut self, at: Instant, train: &Train) {
        if self.limit == 0 {
            return;
        }
        for single in train.singles() {
            self.record.push_back(Tapped {
                at,
                from: train.from,
                to: train.to,
                bytes: single.chunk,
            });
        }
        self.trim();
    }

    fn trim(&mut self) {
        let surplus = self.record.len().saturating_sub(self.limit);
        self.record.drain(..surplus);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tap({} recorded)", self.record.len())
    }
}
