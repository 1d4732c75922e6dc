//! Watches over the one rule that the cipher depends on: no key seals twice with
//! one nonce. Only in tests and simulations.
//!
//! While an [`Audit`] is held, everything sealed on its thread is remembered,
//! whoever sealed it, as ranges of nonces by key: a long simulation costs little
//! as long as numbers follow each other. Without one nothing is: tests that run
//! one after the other on a thread, and benches, use the same sessions again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use super::KEY_BYTES;

/// Ranges of nonces: the first nonce of each, and how many follow it.
type Ranges = BTreeMap<u64, u64>;

thread_local! {
    static SEALED: RefCell<Option<BTreeMap<[u8; KEY_BYTES], Ranges>>> =
        const { RefCell::new(None) };
}

/// Audit of nonces: while it lives, a nonce that is used twice with one key on this thread
/// panics.
#[derive(Debug)]
#[must_use = "nothing is watched once it is dropped"]
pub struct Audit(PhantomData<*const ()>);

impl Audit {
    /// Begins an audit that knows nothing yet.
    ///
    /// # Panics
    /// If there is one on this thread.
    pub fn start() -> Audit {
        let running = SEALED.replace(Some(BTreeMap::new()));
        assert!(running.is_none(), "one audit at a time");
        Audit(PhantomData)
    }

    /// Forgets everything: for the next simulation, which may use the same
    /// sessions.
    pub fn reset(&self) {
        SEALED.set(Some(BTreeMap::new()));
    }

    /// Number of keys that have sealed, and of datagrams that were sealed.
    pub fn sealed(&self) -> (usize, u64) {
        SEALED.with_borrow(|sealed| {
            let by_key = sealed.iter().flat_map(BTreeMap::values);
            let datagrams = by_key.clone().flatten().map(|(_, more)| more + 1).sum();
            (by_key.count(), datagrams)
        })
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        SEALED.set(None);
    }
}

/// Records that a datagram is about to be sealed.
///
/// # Panics
/// If this key has sealed with this nonce since the audit began.
pub(super) fn record(key: &[u8; KEY_BYTES], nonce: u64) {
    SEALED.with_borrow_mut(|sealed| {
        let Some(sealed) = sealed else { return };
        let ranges = sealed.entry(*key).or_default();
        assert!(insert(ranges, nonce), "nonce {nonce} was used twice with one key");
    });
}

/// Whether the nonce was not there before.
fn insert(ranges: &mut Ranges, nonce: u64) -> bool {
    let before = ranges.range_mut(..=nonce).next_back();
    let (first, last) = match before {
        Some((first, more)) if nonce - first <= *more => return false,
        Some((first, more)) if nonce - first == *more + 1 => {
            *more += 1;
            (*first, nonce)
        }
        _ => {
            ranges.insert(nonce, 0);
            (nonce, nonce)
        }
    };
    // The gap to the next range may be closed now.
    if let Some(next) = last.checked_add(1)
        && let Some(more) = ranges.remove(&next)
    {
        ranges.insert(first, next + more - first);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_and_join_and_know_each_nonce() {
        let mut ranges = Ranges::new();
        for nonce in [5, 7, 6, 0, 1, 3, 2, 4, u64::MAX, u64::MAX - 1] {
            assert!(insert(&mut ranges, nonce), "{nonce}");
        }
        for nonce in (0..=7).chain([u64::MAX, u64::MAX - 1]) {
            assert!(!insert(&mut ranges, nonce), "{nonce}");
        }
        assert_eq!(ranges, Ranges::from([(0, 7), (u64::MAX - 1, 1)]));
    }

    #[test]
    #[should_panic(expected = "nonce 3 was used twice")]
    fn a_pair_used_twice_panics() {
        let audit = Audit::start();
        record(&[1; KEY_BYTES], 3);
        record(&[2; KEY_BYTES], 3);
        assert_eq!(audit.sealed(), (2, 2));
        record(&[1; KEY_BYTES], 3);
    }

    #[test]
    fn without_an_audit_or_after_a_reset_nothing_is_known() {
        record(&[3; KEY_BYTES], 3);
        record(&[3; KEY_BYTES], 3);
        let audit = Audit::start();
        record(&[3; KEY_BYTES], 3);
        audit.reset();
        assert_eq!(audit.sealed(), (0, 0));
        record(&[3; KEY_BYTES], 3);
        drop(audit);
        record(&[3; KEY_BYTES], 3);
        assert_eq!(Audit::start().sealed(), (0, 0));
    }
}
