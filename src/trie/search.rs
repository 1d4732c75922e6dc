//! Search for the targets of one name, as far as it has come.
//!
//! ```text
//!   name     a . b . c        at each token: the places in the trie that the tokens
//!   places   ┬   ┬   ┬        before lead to, each once; so no pattern can make it
//!            1   3   2        back-track
//! ```
//! The cost of a search is the number of places. That grows with the patterns that
//! match so far, not with all there are; yet a client can make patterns of which
//! thousands match every name. So [`Search::advance`] stops when an allowance is used
//! up, and goes on there the next time. Between two calls the trie must not change.
//!
//! Decision: `docs/decisions/033-interruptible-search.md`.

use netcluster_wire::pattern::ONE;

use crate::target::Target;

use super::{NONE, NodeId, ROOT, Trie, first_token};

/// Targets by which those found since the last sort may outnumber the sorted ones
/// before all are sorted.
const SORT_TARGETS: usize = 1024;

/// Targets that cost as much to collect as one place to look at.
const TARGETS_PER_STEP: usize = 16;

/// A place in the trie.
#[derive(Clone, Copy)]
struct Place {
    node: NodeId,
    /// Bytes of the node's tokens that are matched already, with a dot for each.
    used: u16,
}

/// A look-up that is under way, or its memory for the next one.
#[derive(Default)]
pub struct Search {
    name: Vec<u8>,
    /// Offset of the next token; behind the name when all are taken.
    at: usize,
    /// Places that the tokens before `at` lead to, and with the next one.
    places: Vec<Place>,
    next: Vec<Place>,
    /// Number of `places` that are done.
    done: usize,
    /// Mark of the `**` nodes that are in `next`.
    stamp: u64,
    /// Targets, and how many of their patterns match.
    found: Vec<(Target, i32)>,
    /// Number of `found` that are sorted, each once.
    sorted: usize,
    targets: Vec<Target>,
}

impl Search {
    /// Begins to look up a name.
    pub fn start(&mut self, trie: &mut Trie, name: &[u8]) {
        self.name.clear();
        self.name.extend_from_slice(name);
        self.at = 0;
        self.next.clear();
        self.done = 0;
        self.found.clear();
        self.sorted = 0;
        self.stamp = trie.next_stamp();
        self.reach(trie, Place { node: ROOT, used: 1 });
        self.take_token(trie);
    }

    /// Returns the name that was looked up last.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Goes on until the targets are found or `steps`, from which the cost is taken, is
    /// used up. Returns whether they are found.
    pub fn advance(&mut self, trie: &mut Trie, steps: &mut usize) -> bool {
        while self.at <= self.name.len() && !self.places.is_empty() {
            let token_bytes = first_token(&self.name[self.at..]).len();
            while let Some(&place) = self.places.get(self.done) {
                if *steps == 0 {
                    return false;
                }
                *steps -= 1;
                self.done += 1;
                self.step(trie, place, token_bytes);
            }
            self.at += token_bytes + 1;
            self.take_token(trie);
        }
        while let Some(&place) = self.places.get(self.done) {
            if *steps == 0 {
                return false;
            }
            self.done += 1;
            let node = &trie.nodes[place.node as usize];
            if usize::from(place.used) > node.label.len() {
                self.found.extend(node.targets.iter().map(|target| (*target, 1)));
                *steps = steps.saturating_sub(1 + node.targets.len() / TARGETS_PER_STEP);
            } else {
                *steps -= 1;
            }
            if self.found.len() > 2 * self.sorted + SORT_TARGETS {
                self.sort();
            }
        }
        self.sort();
        let matching = self.found.iter().filter(|(_, patterns)| *patterns > 0);
        self.targets.clear();
        self.targets.extend(matching.map(|(target, _)| *target));
        true
    }

    /// Looks up a name at once, whatever it costs.
    pub fn run(&mut self, trie: &mut Trie, name: &[u8]) -> &[Target] {
        self.start(trie, name);
        self.advance(trie, &mut { usize::MAX });
        &self.targets
    }

    /// Returns the targets of every pattern that matches, sorted, each once; the search
    /// must have come to its end.
    pub fn found(&self) -> &[Target] {
        &self.targets
    }

    /// Takes note that a matching pattern of this target will be in the trie (1), or will
    /// not be (-1), when the search is over.
    pub fn count(&mut self, target: Target, patterns: i32) {
        self.found.push((target, patterns));
    }

    /// Gives back the memory that large searches took.
    pub fn shrink(&mut self) {
        self.places = Vec::new();
        self.next = Vec::new();
        self.found = Vec::new();
        self.targets = Vec::new();
    }

    fn sort(&mut self) {
        self.found.sort_unstable_by_key(|(target, _)| *target);
        self.found.dedup_by(|(next, more), (target, patterns)| {
            let is_same = next == target;
            if is_same {
                *patterns += *more;
            }
            is_same
        });
        self.sorted = self.found.len();
    }

    fn take_token(&mut self, trie: &mut Trie) {
        std::mem::swap(&mut self.places, &mut self.next);
        self.next.clear();
        self.done = 0;
        self.stamp = trie.next_stamp();
    }

    /// Adds the places to which the token at `at` leads from one place.
    #[inline]
    fn step(&mut self, trie: &mut Trie, place: Place, token_bytes: usize) {
        let token = &self.name[self.at..self.at + token_bytes];
        let node = &trie.nodes[place.node as usize];
        if let Some(rest) = node.label.get(usize::from(place.used)..) {
            let wanted = first_token(rest);
            if wanted == ONE || wanted == token {
                let used = place.used + wanted.len() as u16 + 1;
                self.reach(trie, Place { node: place.node, used });
            }
            return;
        }
        let (one, is_many) = (node.one, node.is_many());
        if let Some(child) = node.children.find(token, &trie.nodes, &trie.hasher) {
            self.reach(trie, Place { node: child, used: token_bytes as u16 + 1 });
        }
        if one != NONE {
            self.reach(trie, Place { node: one, used: ONE.len() as u16 + 1 });
        }
        if is_many {
            self.reach_many(trie, place.node);
        }
    }

    /// Adds a place. It has come up only once, as what leads to it has: one place, and
    /// one token. Only `**` nodes, which also stay, can come up twice.
    #[inline]
    fn reach(&mut self, trie: &mut Trie, place: Place) {
        self.next.push(place);
        let node = &trie.nodes[place.node as usize];
        // `**` matches nothing too: whoever comes to its parent's end comes to it.
        if node.many != NONE && usize::from(place.used) > node.label.len() {
            self.reach_many(trie, node.many);
        }
    }

    fn reach_many(&mut self, trie: &mut Trie, id: NodeId) {
        let node = &mut trie.nodes[id as usize];
        if node.stamp != self.stamp {
            node.stamp = self.stamp;
            let used = node.label.len() as u16 + 1;
            self.reach(trie, Place { node: id, used });
        }
    }
}
