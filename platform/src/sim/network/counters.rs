//! Counters of a simulated network: for tests that bound traffic, not only
//! outcomes.
//!
//! Invariant: a datagram that is not looped is sent once and then, for each
//! machine it is for, is dropped for one reason or arrives; a copy made on the
//! way counts as one more.

/// Counters of one kind of datagram: of one value of its third byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounters {
    /// Datagrams sent; to a group is once, to whomever.
    pub sent: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Datagrams dropped, for whatever reason, by each receiver that missed it.
    pub dropped: u64,
    /// Bytes of those.
    pub dropped_bytes: u64,
}

/// Counters of a whole network since its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkCounters {
    /// Datagrams that sockets took to send.
    pub sent: u64,
    /// Bytes of those.
    pub sent_bytes: u64,
    /// Datagrams that reached a receive buffer, by each.
    pub delivered: u64,
    /// Bytes of those.
    pub delivered_bytes: u64,
    /// Lost by chance, singly or in bursts.
    pub dropped_loss: u64,
    /// Datagrams for which the queue of a machine's bandwidth had no room.
    pub dropped_queue: u64,
    /// Datagrams for which a receive buffer had no room.
    pub dropped_buffer: u64,
    /// Datagrams that were too large for the path.
    pub dropped_mtu: u64,
    /// Between machines that a partition separates.
    pub dropped_partition: u64,
    /// Refused by the test's filter.
    pub dropped_filter: u64,
    /// Datagrams to an address at which nobody has a socket, or no longer.
    pub dropped_closed: u64,
    /// Copies made on the way.
    pub duplicated: u64,
    /// Made late so that others overtake.
    pub reordered: u64,
    /// Injected by the test.
    pub injected: u64,
    kinds: Vec<KindCounters>,
}

/// Reason for which a datagram does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Loss,
    Queue,
    Buffer,
    Mtu,
    Partition,
    Filter,
    Closed,
}

impl Default for NetworkCounters {
    fn default() -> NetworkCounters {
        NetworkCounters {
            sent: 0,
            sent_bytes: 0,
            delivered: 0,
            delivered_bytes: 0,
            dropped_loss: 0,
            dropped_queue: 0,
            dropped_buffer: 0,
            dropped_mtu: 0,
            dropped_partition: 0,
            dropped_filter: 0,
            dropped_closed: 0,
            duplicated: 0,
            reordered: 0,
            injected: 0,
            kinds: vec![KindCounters::default(); 256],
        }
    }
}

impl NetworkCounters {
    /// The counters of the datagrams whose third byte is `kind`; shorter ones
    /// count as kind 0.
    pub fn kind(&self, kind: u8) -> KindCounters {
        self.kinds[usize::from(kind)]
    }

    /// Number of all datagrams that were dropped, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.dropped).sum()
    }

    pub(super) fn count_sent(&mut self, datagram: &[u8]) {
        let bytes = datagram.len() as u64;
        self.sent += 1;
        self.sent_bytes += bytes;
        let kind = self.kind_of(datagram);
        kind.sent += 1;
        kind.sent_bytes += bytes;
    }

    pub(super) fn count_dropped(&mut self, cause: Cause, datagram: &[u8]) {
        *match cause {
            Cause::Loss => &mut self.dropped_loss,
            Cause::Queue => &mut self.dropped_queue,
            Cause::Buffer => &mut self.dropped_buffer,
            Cause::Mtu => &mut self.dropped_mtu,
            Cause::Partition => &mut self.dropped_partition,
            Cause::Filter => &mut self.dropped_filter,
            Cause::Closed => &mut self.dropped_closed,
        } += 1;
        let kind = self.kind_of(datagram);
        kind.dropped += 1;
        kind.dropped_bytes += datagram.len() as u64;
    }

    fn kind_of(&mut self, datagram: &[u8]) -> &mut KindCounters {
        &mut self.kinds[usize::from(datagram.get(2).copied().unwrap_or(0))]
    }
}
