//! List of one peer's own peers, as it tells it: whom it lacks, and for how long.
//!
//! ```text
//!   part 0, part 1 … ──take──▶ a whole list ──judge──▶ lacking ──4 s──▶ missing
//! ```
//! The list itself is not kept: what matters is who is not in it. One list is no
//! proof, since brokers find and forget each other at different times; two of
//! them that are some time apart are.
//!
//! Invariant: `lacking` is in order and holds none but peers of this broker and
//! itself.

use netcluster_platform::Instant;
use netcluster_wire::link::Neighbours as List;

const MS_NS: u64 = 1_000_000;

/// Time within which the parts of one list come; and no list comes so soon after another.
pub const PARTS_NS: u64 = 500 * MS_NS;

/// Time between two lists without the same broker that together prove something.
pub const SPAN_NS: u64 = 4000 * MS_NS;

/// A broker that the peer does not name.
#[derive(Clone, Copy, Debug)]
struct Lacking {
    node: u32,
    /// Time of the first list without the broker.
    since: Instant,
    is_missing: bool,
}

#[derive(Default)]
pub(crate) struct Heard {
    lacking: Vec<Lacking>,
    /// Nodes of the parts of a list that came so far.
    nodes: Vec<u32>,
    /// Parts that came of how many, a bit each.
    came: u64,
    parts: u16,
    /// Time at which the first of the parts came.
    since: Instant,
    /// Time at which the last whole list came.
    whole_at: Option<Instant>,
}

impl Heard {
    /// Takes one part; the nodes of the whole list in order if it is the last one.
    pub fn take(&mut self, now: Instant, list: &List<'_>) -> Option<Vec<u32>> {
        if self.whole_at.is_some_and(|whole_at| now < whole_at + PARTS_NS) {
            return None;
        }
        let bit = 1 << list.part;
        let is_late = now >= self.since + PARTS_NS;
        if self.came == 0 || self.parts != list.parts || self.came & bit != 0 || is_late {
            self.nodes.clear();
            (self.came, self.parts, self.since) = (0, list.parts, now);
        }
        self.came |= bit;
        self.nodes.extend(list.peers.iter().map(|neighbour| neighbour.node));
        if self.came.count_ones() < u32::from(list.parts) {
            return None;
        }
        self.came = 0;
        self.whole_at = Some(now);
        let mut nodes = std::mem::take(&mut self.nodes);
        nodes.sort_unstable();
        Some(nodes)
    }

    /// Compares a whole list with those that should be in it.
    pub fn judge(&mut self, now: Instant, nodes: &[u32], expected: impl Iterator<Item = u32>) {
        let before = std::mem::take(&mut self.lacking);
        let absent = expected.filter(|node| nodes.binary_search(node).is_err());
        self.lacking = absent
            .map(|node| {
                let known = before.binary_search_by_key(&node, |lacking| lacking.node);
                let since = known.map_or(now, |at| before[at].since);
                Lacking { node, since, is_missing: now >= since + SPAN_NS }
            })
            .collect();
        self.lacking.sort_unstable_by_key(|lacking| lacking.node);
    }

    /// Nodes of the brokers that the peer does not hear.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        self.lacking.iter().filter(|lacking| lacking.is_missing).map(|lacking| lacking.node)
    }

    /// Whether it does not hear this one.
    pub fn is_missing(&self, node: u32) -> bool {
        let at = self.lacking.binary_search_by_key(&node, |lacking| lacking.node);
        at.is_ok_and(|at| self.lacking[at].is_missing)
    }
}

#[cfg(test)]
mod tests {
    use netcluster_wire::link::Neighbour;

    use super::*;
    use crate::tests::time::millis;

    fn take(heard: &mut Heard, ms: u64, part: u16, parts: u16, nodes: &[u32]) -> Option<Vec<u32>> {
        let peers: Vec<Neighbour> = nodes.iter().map(|&node| Neighbour { node }).collect();
        let mut body = Vec::new();
        List::encode(part, parts, &peers, &mut body);
        heard.take(millis(ms), &List::decode(&body).unwrap())
    }

    #[test]
    fn a_list_is_whole_when_all_its_parts_came_in_whatever_order() {
        let mut heard = Heard::default();
        assert_eq!(take(&mut heard, 0, 0, 1, &[3, 1]), Some(vec![1, 3]));
        assert_eq!(take(&mut heard, 5000, 1, 2, &[9]), None);
        assert_eq!(take(&mut heard, 5001, 0, 2, &[4]), Some(vec![4, 9]));
    }

    #[test]
    fn parts_of_different_lists_are_none() {
        let mut heard = Heard::default();
        assert_eq!(take(&mut heard, 0, 0, 2, &[1]), None);
        // The other one was lost, and the first one of the next list.
        assert_eq!(take(&mut heard, 5000, 1, 2, &[9]), None);
        assert_eq!(take(&mut heard, 10_000, 0, 2, &[2]), None);
        assert_eq!(take(&mut heard, 10_001, 0, 2, &[3]), None);
        assert_eq!(take(&mut heard, 10_002, 1, 3, &[7]), None);
        assert_eq!(take(&mut heard, 10_003, 1, 2, &[8]), None);
        assert_eq!(take(&mut heard, 10_004, 0, 2, &[5]), Some(vec![5, 8]));
    }

    #[test]
    fn a_flood_of_lists_is_not_looked_at() {
        let mut heard = Heard::default();
        let looked_at = (0..1000).filter(|&ms| take(&mut heard, ms, 0, 1, &[1]).is_some()).count();
        assert_eq!(looked_at, 2);
    }

    #[test]
    fn who_is_not_in_two_lists_some_time_apart_is_missing_until_it_is_in_one() {
        const NOBODY: [u32; 0] = [];
        let mut heard = Heard::default();
        let mut missing = |ms: u64, nodes: &[u32]| {
            heard.judge(millis(ms), nodes, [5, 3, 4].into_iter());
            assert!([3, 4, 5].iter().all(|node| {
                heard.is_missing(*node) == heard.missing().any(|other| other == *node)
            }));
            heard.missing().collect::<Vec<u32>>()
        };
        assert_eq!(missing(0, &[3, 4, 9]), NOBODY);
        assert_eq!(missing(1000, &[3, 4]), NOBODY);
        assert_eq!(missing(4000, &[3]), [5]);
        assert_eq!(missing(8000, &[3]), [4, 5]);
        assert_eq!(missing(9000, &[3, 4, 5]), NOBODY);
        assert_eq!(missing(14_000, &[3, 4]), NOBODY, "it starts anew");
    }
}
