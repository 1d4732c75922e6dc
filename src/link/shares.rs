//! What each of several senders may have of the way to this machine.
//!
//! ```text
//!   arrives   ████████████ 60   ██████ 30   ██ 10   ▏1     together 101
//!   share     101 / 4 = 25: the last two bring less than half of it
//!             90 / 2 = 45: this is stated to the first two
//! ```
//! Loss alone makes senders on one line equal, but in many steps: who finds the
//! queue full is chance. The receiver sees all of them, and tells each what would
//! be equal; one that must slow down anyway takes no more than that.
//!
//! Invariant: it is stated only to those that bring much of what arrives, and only
//! while they are several.

use crate::link::peer_id::PeerId;

/// How long what arrives is counted.
pub const INTERVAL_NS: u64 = 50_000_000;
/// What was counted over a longer time, for want of traffic, says nothing.
const MAX_INTERVAL_NS: u64 = 4 * INTERVAL_NS;
/// Senders that bring less than this part of a share do not take part.
const LIGHT_PART: u64 = 2;

/// See the module.
#[derive(Debug, Default)]
pub struct Shares {
    begun_ns: u64,
    /// What each sender had brought when the interval began. In no order.
    counted: Vec<(PeerId, u64)>,
    /// Who shares, in bytes per second each. In no order.
    sharing: Vec<PeerId>,
    share: u64,
    /// Memory that is used again.
    rates: Vec<(u64, PeerId)>,
}

impl Shares {
    /// Whether the interval is over: then [`Shares::count`].
    #[inline]
    pub fn is_due(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.begun_ns) >= INTERVAL_NS
    }

    /// How many bytes each sender has ever brought.
    pub fn count(&mut self, now_ns: u64, totals: impl Iterator<Item = (PeerId, u64)> + Clone) {
        let elapsed_ns = now_ns.saturating_sub(self.begun_ns).max(1);
        self.sharing.clear();
        self.share = 0;
        if elapsed_ns <= MAX_INTERVAL_NS {
            self.divide(elapsed_ns, totals.clone());
        }
        self.begun_ns = now_ns;
        self.counted.clear();
        self.counted.extend(totals);
    }

    /// What to state to this sender, in bytes per second; 0 is nothing.
    pub fn of(&self, peer: PeerId) -> u64 {
        if self.sharing.contains(&peer) { self.share } else { 0 }
    }

    fn divide(&mut self, elapsed_ns: u64, totals: impl Iterator<Item = (PeerId, u64)>) {
        self.rates.clear();
        for (peer, total) in totals {
            let before = self.counted.iter().find(|(counted, _)| *counted == peer);
            let bytes = before.map_or(0, |(_, before)| total.saturating_sub(*before));
            let rate = u128::from(bytes) * 1_000_000_000 / u128::from(elapsed_ns);
            self.rates.push((u64::try_from(rate).unwrap_or(u64::MAX), peer));
        }
        self.rates.sort_unstable();
        let mut sum: u64 = self.rates.iter().fold(0, |sum, (rate, _)| sum.saturating_add(*rate));
        let mut rest = &self.rates[..];
        while let [(lightest, _), others @ ..] = rest
            && *lightest < sum / rest.len() as u64 / LIGHT_PART
        {
            sum -= lightest;
            rest = others;
        }
        if rest.len() > 1 {
            self.share = sum / rest.len() as u64;
            self.sharing.extend(rest.iter().map(|(_, peer)| *peer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    /// Each sender brings so many MB in a second, for one interval.
    fn shares(rates: &[u64]) -> Vec<u64> {
        let mut shares = Shares::default();
        let totals = |intervals: u64| {
            let per_interval = rates.iter().map(move |rate| rate * MB / 20 * intervals);
            (0..).map(PeerId).zip(per_interval.collect::<Vec<u64>>())
        };
        let start_ns = 9 * INTERVAL_NS;
        shares.count(start_ns, totals(1));
        assert!(!shares.is_due(start_ns + INTERVAL_NS - 1) && shares.is_due(start_ns + INTERVAL_NS));
        shares.count(start_ns + INTERVAL_NS, totals(2));
        (0..rates.len()).map(|peer| shares.of(PeerId(peer as u32)) / MB).collect()
    }

    #[test]
    fn several_that_bring_much_get_the_same() {
        assert_eq!(shares(&[60, 30]), [45, 45]);
        assert_eq!(shares(&[50, 20, 20]), [30, 30, 30]);
    }

    #[test]
    fn who_brings_little_neither_gets_a_share_nor_takes_one() {
        assert_eq!(shares(&[60, 30, 10, 1]), [45, 45, 0, 0]);
        assert_eq!(shares(&[1, 60, 1, 30]), [0, 45, 0, 45]);
    }

    #[test]
    fn who_is_alone_is_told_nothing() {
        assert_eq!(shares(&[100]), [0]);
        assert_eq!(shares(&[100, 3]), [0, 0]);
        assert_eq!(shares(&[]), [0; 0]);
        assert_eq!(shares(&[0, 0]), [0, 0]);
    }

    #[test]
    fn what_was_counted_too_long_or_since_another_session_says_nothing() {
        let mut shares = Shares::default();
        let totals = [(PeerId(1), 50 * MB), (PeerId(2), 50 * MB)];
        shares.count(0, totals.into_iter());
        shares.count(MAX_INTERVAL_NS + 1, totals.map(|(peer, total)| (peer, 2 * total)).into_iter());
        assert_eq!(shares.of(PeerId(1)), 0);
        // Who is new is not counted before the next interval.
        let next_ns = MAX_INTERVAL_NS + 1 + INTERVAL_NS;
        shares.count(next_ns, [(PeerId(1), 101 * MB), (PeerId(3), 70 * MB)].into_iter());
        assert_eq!((shares.of(PeerId(1)), shares.of(PeerId(3))), (0, 0));
    }
}
