//! Fair shares: what each of several senders may have of the way to this machine.
//!
//! ```text
//!   arrives   ████████████ 60   ██████ 30   ██ 10   ▏1     together 101
//!   share     101 / 4 = 25: the last two bring less than half of it
//!             90 / 2 = 45: this is stated to the first two
//! ```
//! What is divided is the most that came together lately, since after a collision all
//! send less than there is room for. Loss alone makes senders on one line equal, but in many steps: who finds the
//! queue full is chance. The receiver sees all of them, and tells each what would
//! be equal; one that must slow down anyway takes no more than that.
//!
//! Invariant: it is stated only to those that bring much of what arrives, only while
//! they are several, and only while something was lost not long ago.
//!
//! Decision: `docs/decisions/018-receiver-states-fair-share.md`.

use netcluster_platform::Instant;

use crate::peer_id::PeerId;

/// Time over which what arrives is counted.
pub const INTERVAL_NS: u64 = 50_000_000;
/// Longest interval that says anything: one that took longer, for want of traffic, does
/// not.
const MAX_INTERVAL_NS: u64 = 4 * INTERVAL_NS;
/// Time without loss after which the way counts as wide enough.
pub const CONTENDED_NS: u64 = 300_000_000;
/// Loss, per mille, below which it is chance.
const LOSS_PERMILLE: u64 = 10;
/// Part of the most that came together which still counts an interval later.
const PEAK_PERCENT: u64 = 95;
/// Part of a share below which a sender does not take part.
const LIGHT_PART: u64 = 2;

/// Totals of one sender since it is a peer.
#[derive(Clone, Copy, Debug)]
pub struct Brought {
    /// The sender.
    pub peer: PeerId,
    /// Number of datagrams that it brought.
    pub datagrams: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Number of datagrams that were noticed missing.
    pub lost: u64,
}

/// State of dividing the way to this machine among those who send.
#[derive(Debug, Default)]
pub struct FairShare {
    begun_at: Instant,
    /// Totals of each sender when the interval began, in no order.
    counted: Vec<Brought>,
    /// Time at which something was last lost.
    lost_at: Option<Instant>,
    /// The most that those who share brought together, in bytes per second.
    peak: u64,
    /// Senders that share, in no order.
    sharing: Vec<PeerId>,
    /// Share of each of them, in bytes per second.
    share: u64,
    /// Memory for rates, which is used again.
    rates: Vec<(u64, PeerId)>,
}

impl FairShare {
    /// Whether the interval is over: then [`FairShare::count`].
    #[inline]
    pub fn is_due(&self, now: Instant) -> bool {
        now.since(self.begun_at) >= INTERVAL_NS
    }

    /// Takes in the totals of all senders, and divides anew.
    pub fn count(&mut self, now: Instant, totals: impl Iterator<Item = Brought> + Clone) {
        let elapsed_ns = now.since(self.begun_at).max(1);
        self.sharing.clear();
        self.share = 0;
        self.rates.clear();
        for total in totals.clone() {
            self.compare(now, elapsed_ns, total);
        }
        let is_contended = self.lost_at.is_some_and(|lost_at| now < lost_at + CONTENDED_NS);
        if !is_contended {
            self.peak = 0;
        } else if elapsed_ns <= MAX_INTERVAL_NS {
            self.divide();
        }
        self.begun_at = now;
        self.counted.clear();
        self.counted.extend(totals);
    }

    /// Share to state to this sender, in bytes per second; 0 is none.
    pub fn of(&self, peer: PeerId) -> u64 {
        if self.sharing.contains(&peer) { self.share } else { 0 }
    }

    /// Compares a sender's totals with those of the interval's beginning. One that was not
    /// there before has brought nothing in it.
    fn compare(&mut self, now: Instant, elapsed_ns: u64, total: Brought) {
        let before = self.counted.iter().find(|counted| counted.peer == total.peer);
        let before = *before.unwrap_or(&total);
        let bytes = total.bytes.saturating_sub(before.bytes);
        let rate = u128::from(bytes) * 1_000_000_000 / u128::from(elapsed_ns);
        self.rates.push((u64::try_from(rate).unwrap_or(u64::MAX), total.peer));
        let lost = total.lost.saturating_sub(before.lost);
        let sent = total.datagrams.saturating_sub(before.datagrams).saturating_add(lost);
        if lost > 0 && lost >= sent / 1000 * LOSS_PERMILLE {
            self.lost_at = Some(now);
        }
    }

    fn divide(&mut self) {
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
            self.peak = sum.max(self.peak / 100 * PEAK_PERCENT);
            self.share = self.peak / rest.len() as u64;
            self.sharing.extend(rest.iter().map(|(_, peer)| *peer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::ns;

    const MB: u64 = 1_000_000;

    fn brought(peer: u32, megabytes: u64, lost: u64) -> Brought {
        let bytes = megabytes * MB;
        Brought { peer: PeerId(peer), datagrams: bytes / 1400, bytes, lost }
    }

    /// Each sender brings so many MB in an interval, and one loses something.
    fn divided(megabytes: &[u64]) -> Vec<u64> {
        let mut shares = FairShare::default();
        for turn in [1, 2] {
            let now = (8 + turn) * INTERVAL_NS;
            let total = |(peer, megabytes)| brought(peer, turn * megabytes, turn * 1000);
            assert!(shares.is_due(ns(now)));
            shares.count(ns(now), (0..).zip(megabytes.iter().copied()).map(total));
            assert!(!shares.is_due(ns(now + INTERVAL_NS - 1)));
        }
        let per_interval = |rate: u64| rate / MB / (1_000_000_000 / INTERVAL_NS);
        (0..megabytes.len() as u32).map(|peer| per_interval(shares.of(PeerId(peer)))).collect()
    }

    #[test]
    fn several_that_bring_much_get_the_same() {
        assert_eq!(divided(&[60, 30]), [45, 45]);
        assert_eq!(divided(&[50, 20, 20]), [30, 30, 30]);
    }

    #[test]
    fn who_brings_little_neither_gets_a_share_nor_takes_one() {
        assert_eq!(divided(&[60, 30, 10, 1]), [45, 45, 0, 0]);
        assert_eq!(divided(&[1, 60, 1, 30]), [0, 45, 0, 45]);
    }

    #[test]
    fn who_is_alone_is_told_nothing() {
        assert_eq!(divided(&[100]), [0]);
        assert_eq!(divided(&[100, 3]), [0, 0]);
        assert_eq!(divided(&[]), [0; 0]);
        assert_eq!(divided(&[0, 0]), [0, 0]);
    }

    #[test]
    fn nothing_is_said_once_nothing_was_lost_for_a_while() {
        let mut shares = FairShare::default();
        let mut stated = Vec::new();
        for turn in 1..=10 {
            let lost = if turn < 3 { 0 } else { 1000 };
            let totals = [brought(1, turn * 50, 0), brought(2, turn * 50, lost)];
            shares.count(ns(turn * INTERVAL_NS), totals.into_iter());
            stated.push(shares.of(PeerId(1)) > 0);
        }
        let expected = [false, false, true, true, true, true, true, true, false, false];
        assert_eq!(stated, expected);
    }

    #[test]
    fn what_was_counted_too_long_or_since_another_session_says_nothing() {
        let mut shares = FairShare::default();
        shares.count(ns(1), [brought(1, 50, 0), brought(2, 50, 0)].into_iter());
        let late = MAX_INTERVAL_NS + 2;
        shares.count(ns(late), [brought(1, 100, 9000), brought(2, 100, 9000)].into_iter());
        assert_eq!(shares.of(PeerId(1)), 0);
        // Who is new is not counted before the next interval.
        let totals = [brought(1, 101, 9000), brought(3, 70, 9000)];
        shares.count(ns(late + INTERVAL_NS), totals.into_iter());
        assert_eq!((shares.of(PeerId(1)), shares.of(PeerId(3))), (0, 0));
    }
}
