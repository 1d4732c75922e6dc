//! Faults between simulated machines, and how often they happen.
//!
//! ```text
//!   machine ─▶ send buffer ─▶ uplink ══▶ path ══▶ downlink ─▶ receive buffer
//!              └──────── PortFaults ───┘ PathFaults └──── PortFaults ──────┘
//! ```
//! A path is directed: each pair of machines has two. Everything is off in the
//! defaults: datagrams arrive at once and whole.

/// The faults of a [`SimNetwork`](super::SimNetwork), for all machines that have
/// none of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkFaults {
    /// Faults of every directed pair of machines.
    pub path: PathFaults,
    /// Faults of every machine.
    pub port: PortFaults,
}

/// Faults on the way from one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathFaults {
    /// A datagram is lost: chance per million, for each by itself.
    pub loss_per_million: u32,
    /// A burst of loss starts: chance per million datagrams.
    pub burst_per_million: u32,
    /// Average number of datagrams in a row that a burst takes.
    pub burst_datagrams: u32,
    /// A datagram arrives twice: chance per million.
    pub duplicate_per_million: u32,
    /// A datagram is overtaken by later ones: chance per million.
    pub reorder_per_million: u32,
    /// Longest delay of such a datagram.
    pub max_reorder_ns: u64,
    /// Time that everything takes.
    pub delay_ns: u64,
    /// Longest additional time of a train. Nothing overtakes by this.
    pub max_jitter_ns: u64,
    /// Larger datagrams vanish on the way.
    pub mtu_bytes: usize,
}

/// Faults where a machine meets the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFaults {
    /// Bandwidth of what the machine sends; `None` is without limit.
    pub send_bytes_per_s: Option<u64>,
    /// Largest amount that waits for that bandwidth; the rest is dropped.
    pub send_queue_bytes: u64,
    /// Amount waiting for that bandwidth above which a send would block.
    pub send_buffer_bytes: u64,
    /// Bandwidth of what the machine receives; `None` is without limit.
    pub receive_bytes_per_s: Option<u64>,
    /// Largest amount that waits for that bandwidth; the rest is dropped.
    pub receive_queue_bytes: u64,
    /// A send would block though there was room: chance per thousand.
    pub blocked_send_permille: u32,
    /// Longest time that it stays so.
    pub max_blocked_ns: u64,
    /// A send takes a part of its datagrams: chance per thousand.
    pub short_send_permille: u32,
    /// Larger datagrams are refused with "message too long".
    pub mtu_bytes: usize,
    /// Part of a receive buffer that a datagram takes besides its bytes.
    pub datagram_overhead_bytes: usize,
    /// An arriving train is cut into single datagrams: chance per thousand.
    pub cut_permille: u32,
    /// Chance that what arrives is joined to what its sender sent before and nobody has
    /// read
    /// yet: chance per thousand.
    pub join_permille: u32,
}

impl Default for PathFaults {
    fn default() -> PathFaults {
        PathFaults {
            loss_per_million: 0,
            burst_per_million: 0,
            burst_datagrams: 0,
            duplicate_per_million: 0,
            reorder_per_million: 0,
            max_reorder_ns: 0,
            delay_ns: 0,
            max_jitter_ns: 0,
            mtu_bytes: usize::MAX,
        }
    }
}

impl Default for PortFaults {
    fn default() -> PortFaults {
        PortFaults {
            send_bytes_per_s: None,
            send_queue_bytes: u64::MAX,
            send_buffer_bytes: u64::MAX,
            receive_bytes_per_s: None,
            receive_queue_bytes: u64::MAX,
            blocked_send_permille: 0,
            max_blocked_ns: 0,
            short_send_permille: 0,
            mtu_bytes: usize::MAX,
            // A datagram of 1400 bytes takes about 2300.
            datagram_overhead_bytes: 900,
            cut_permille: 0,
            join_permille: 0,
        }
    }
}

impl NetworkFaults {
    /// A quiet local network of 10 Gbit/s: nothing is lost but by overflow.
    pub fn lan() -> NetworkFaults {
        let path = PathFaults { delay_ns: 50_000, max_jitter_ns: 20_000, ..PathFaults::default() };
        let port = PortFaults {
            send_bytes_per_s: Some(1_250_000_000),
            send_buffer_bytes: 4 << 20,
            receive_bytes_per_s: Some(1_250_000_000),
            receive_queue_bytes: 1 << 20,
            mtu_bytes: 8972,
            ..PortFaults::default()
        };
        NetworkFaults { path, port }
    }

    /// Makes every fault happen, moderately.
    pub fn rough() -> NetworkFaults {
        let path = PathFaults {
            loss_per_million: 20_000,
            burst_per_million: 1_000,
            burst_datagrams: 20,
            duplicate_per_million: 10_000,
            reorder_per_million: 10_000,
            max_reorder_ns: 2_000_000,
            delay_ns: 100_000,
            max_jitter_ns: 100_000,
            ..PathFaults::default()
        };
        let port = PortFaults {
            blocked_send_permille: 20,
            max_blocked_ns: 500_000,
            short_send_permille: 50,
            cut_permille: 300,
            join_permille: 300,
            ..NetworkFaults::lan().port
        };
        NetworkFaults { path, port }
    }
}

impl PathFaults {
    /// Whether the fate of a datagram is drawn for each of a train.
    pub(super) fn single_out(&self) -> bool {
        let sum = u64::from(self.loss_per_million)
            + u64::from(self.burst_per_million)
            + u64::from(self.duplicate_per_million)
            + u64::from(self.reorder_per_million);
        sum > 0
    }
}
