//! Patterns that one client listens to, as the shard that owns its connection keeps
//! them.

use std::collections::BTreeSet;
use std::ops::Bound;

use netcluster_wire::Pattern;

use crate::budget::{Budget, Charge, Purpose};

/// Bytes that a pattern is estimated to take here besides its text: its place in the
/// set.
const PATTERN_BYTES: usize = 64;

/// Bytes that a pattern is estimated to take in the routes of one shard besides its
/// text, at the most: see [`Trie`](crate::trie::Trie).
const ROUTED_BYTES: usize = 512;

/// The patterns of one client, charged to the memory budget.
#[derive(Debug)]
pub struct PatternSet {
    patterns: BTreeSet<Pattern>,
    charge: Charge,
}

impl PatternSet {
    /// Returns an empty set.
    pub fn new(budget: &Budget) -> PatternSet {
        PatternSet { patterns: BTreeSet::new(), charge: budget.charge_for(Purpose::Patterns, 0) }
    }

    /// Returns the bytes that one pattern more would take, here and in the routes of so
    /// many shards.
    pub fn cost_bytes(pattern: &Pattern, shards: u16) -> usize {
        bytes_of(pattern) + usize::from(shards) * (ROUTED_BYTES + pattern.as_str().len())
    }

    /// Adds a pattern; returns whether it is new.
    pub fn insert(&mut self, pattern: &Pattern) -> bool {
        let is_new = self.patterns.insert(pattern.clone());
        if is_new {
            self.charge.set(self.charge.bytes() + bytes_of(pattern));
        }
        is_new
    }

    /// Removes a pattern; returns whether it was there.
    pub fn remove(&mut self, pattern: &Pattern) -> bool {
        let was_there = self.patterns.remove(pattern);
        if was_there {
            self.charge.set(self.charge.bytes() - bytes_of(pattern));
        }
        was_there
    }

    /// Returns whether the client listens to this pattern.
    pub fn contains(&self, pattern: &Pattern) -> bool {
        self.patterns.contains(pattern)
    }

    /// Takes out so many patterns, or all if there are fewer.
    pub fn take(&mut self, count: usize) -> Vec<Pattern> {
        let mut taken = Vec::new();
        let mut bytes = self.charge.bytes();
        while taken.len() < count
            && let Some(pattern) = self.patterns.pop_first()
        {
            bytes -= bytes_of(&pattern);
            taken.push(pattern);
        }
        self.charge.set(bytes);
        taken
    }

    /// Takes out the patterns that are behind this one.
    pub fn split_behind(&mut self, last: &Pattern, budget: &Budget) -> PatternSet {
        let mut behind = PatternSet::new(budget);
        let first = self.behind(Some(last)).next().cloned();
        if let Some(first) = first {
            behind.patterns = self.patterns.split_off(&first);
        }
        let bytes = behind.patterns.iter().map(bytes_of).sum();
        behind.charge.set(bytes);
        self.charge.set(self.charge.bytes() - bytes);
        behind
    }

    /// Returns the patterns behind this one, or all, in order.
    pub fn behind(&self, last: Option<&Pattern>) -> impl Iterator<Item = &Pattern> {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.patterns.range((start, Bound::Unbounded))
    }

    /// Returns the number of patterns.
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Returns whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

fn bytes_of(pattern: &Pattern) -> usize {
    PATTERN_BYTES + pattern.as_str().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listened_to_is_charged_until_it_is_taken() {
        let budget = Budget::new(1 << 20);
        let mut listening = PatternSet::new(&budget);
        let patterns = ["a", "b.*", "c"].map(|text| Pattern::new(text.as_bytes()).unwrap());
        for pattern in &patterns {
            assert!(listening.insert(pattern));
            assert!(!listening.insert(pattern));
        }
        let charged = budget.used_for(Purpose::Patterns);
        assert_eq!(charged, 3 * PATTERN_BYTES + 5);
        assert!(listening.remove(&patterns[1]) && !listening.remove(&patterns[1]));
        assert_eq!(listening.take(1), [patterns[0].clone()]);
        assert_eq!(budget.used_for(Purpose::Patterns), PATTERN_BYTES + 1);
        assert_eq!(listening.take(9).len(), 1);
        assert_eq!((listening.len(), budget.used_bytes()), (0, 0));
        for pattern in &patterns {
            listening.insert(pattern);
        }
        let behind = listening.split_behind(&patterns[1], &budget);
        assert_eq!(behind.behind(None).collect::<Vec<_>>(), [&patterns[2]]);
        assert_eq!(listening.behind(None).count(), 2);
        assert_eq!(budget.used_for(Purpose::Patterns), charged);
        drop(listening);
        assert_eq!(budget.used_for(Purpose::Patterns), PATTERN_BYTES + 1);
        assert_eq!(behind.behind(Some(&patterns[2])).count(), 0);
    }
}
