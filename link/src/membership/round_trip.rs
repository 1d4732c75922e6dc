//! Round trips to a peer: how long datagrams take there and back, and retransmissions to
//! come.

use netcluster_platform::Instant;

/// Measured times of one peer.
#[derive(Default)]
pub(crate) struct RoundTrip {
    /// The clock in the peer's last heartbeat, and when that came.
    pub echo: Option<(u64, Instant)>,
    /// Round trip, smoothed; 0 while it was not measured.
    pub round_trip_ns: u64,
    /// Time from a request for a retransmission to its arrival, smoothed; 0 while unknown.
    pub retransmit_ns: u64,
}

impl RoundTrip {
    /// Takes in one measured round trip.
    pub fn measured(&mut self, round_trip_ns: u64) {
        self.round_trip_ns = smoothed(self.round_trip_ns, round_trip_ns);
    }

    /// Takes in how long one retransmission took.
    pub fn retransmitted_in(&mut self, sample_ns: u64) {
        self.retransmit_ns = smoothed(self.retransmit_ns, sample_ns);
    }
}

/// Moves a smoothed value by an eighth of the new sample, as TCP does; 0 is none.
fn smoothed(before: u64, sample: u64) -> u64 {
    match before {
        0 => sample.max(1),
        before => (before - before / 8 + sample / 8).max(1),
    }
}
