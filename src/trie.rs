//! Which targets listen to which patterns: a trie over the tokens of patterns.
//!
//! ```text
//!   a.b.c ─ a ─ b ─ c •          literal children in a map,
//!   a.*.c ─ a ─ * ─ c •          `*` and `**` children beside it
//!   a.**  ─ a ─ **•
//! ```
//! Matching follows every child that a token allows and keeps the set of nodes
//! reached, each once, so that no pattern can make it back-track. Its cost grows
//! with the patterns that match so far, not with all there are.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use netcluster_wire::name::tokens;
use netcluster_wire::pattern::{MANY, ONE, Pattern};

use crate::target::Target;

type NodeId = u32;
const ROOT: NodeId = 0;

type Children = HashMap<Box<[u8]>, NodeId, FixedState>;

#[derive(Default)]
struct Node {
    /// Literal children; most nodes have none, and none costs a pointer.
    children: Option<Box<Children>>,
    one: Option<NodeId>,
    many: Option<NodeId>,
    /// Whether this node is its parent's `**` child.
    is_many: bool,
    /// When it was last reached: see [`Trie::matches`].
    stamp: u64,
    /// Who listens to the pattern that ends here, in no order, each once.
    targets: Vec<Target>,
}

impl Node {
    fn is_unused(&self) -> bool {
        self.children.is_none()
            && self.one.is_none()
            && self.many.is_none()
            && self.targets.is_empty()
    }
}

/// The patterns of one channel.
pub struct Trie {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    patterns: usize,
    hasher: FixedState,
    /// Nodes reached by the tokens so far, and by one more: kept for their memory.
    states: Vec<NodeId>,
    next: Vec<NodeId>,
    /// Counts the sets of nodes reached.
    step: u64,
}

impl Trie {
    /// An empty trie whose maps hash with `seed`.
    pub fn new(seed: u64) -> Trie {
        Trie {
            nodes: vec![Node::default()],
            free: Vec::new(),
            patterns: 0,
            hasher: FixedState::with_seed(seed),
            states: Vec::new(),
            next: Vec::new(),
            step: 0,
        }
    }

    /// How many (pattern, target) pairs there are.
    pub fn len(&self) -> usize {
        self.patterns
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.patterns == 0
    }

    /// Adds a pair; returns whether it is new.
    pub fn insert(&mut self, pattern: &Pattern, target: Target) -> bool {
        let mut node = ROOT;
        for token in tokens(pattern.as_str().as_bytes()) {
            node = match self.child(node, token) {
                Some(child) => child,
                None => self.add_child(node, token),
            };
        }
        let targets = &mut self.nodes[node as usize].targets;
        if targets.contains(&target) {
            return false;
        }
        targets.push(target);
        self.patterns += 1;
        true
    }

    /// Removes a pair; returns whether it was there.
    pub fn remove(&mut self, pattern: &Pattern, target: Target) -> bool {
        let mut path = vec![ROOT];
        let parts: Vec<&[u8]> = tokens(pattern.as_str().as_bytes()).collect();
        for token in &parts {
            match self.child(path[path.len() - 1], token) {
                Some(child) => path.push(child),
                None => return false,
            }
        }
        let targets = &mut self.nodes[path[path.len() - 1] as usize].targets;
        let Some(at) = targets.iter().position(|&other| other == target) else { return false };
        targets.swap_remove(at);
        if targets.is_empty() {
            *targets = Vec::new();
        }
        self.patterns -= 1;
        for (depth, token) in parts.iter().enumerate().rev() {
            let child = path[depth + 1];
            if !self.nodes[child as usize].is_unused() {
                break;
            }
            self.remove_child(path[depth], token);
            self.free.push(child);
        }
        true
    }

    /// Replaces `out` by the targets of every pattern that matches `name`,
    /// sorted, each once.
    pub fn matches(&mut self, name: &[u8], out: &mut Vec<Target>) {
        out.clear();
        let mut states = std::mem::take(&mut self.states);
        let mut next = std::mem::take(&mut self.next);
        states.clear();
        states.push(ROOT);
        self.step += 1;
        self.enter_many(&mut states);
        for token in tokens(name) {
            self.step += 1;
            // Literal and `*` children have one parent, which is in the set once:
            // only `**` nodes, which also stay reached, can come up twice.
            for &id in &states {
                let node = &self.nodes[id as usize];
                if let Some(child) = node.children.as_ref().and_then(|map| map.get(token)) {
                    next.push(*child);
                }
                next.extend(node.one);
            }
            for &id in &states {
                if self.nodes[id as usize].is_many {
                    self.add_many(&mut next, id);
                }
            }
            self.enter_many(&mut next);
            std::mem::swap(&mut states, &mut next);
            next.clear();
        }
        for &id in &states {
            out.extend_from_slice(&self.nodes[id as usize].targets);
        }
        out.sort_unstable();
        out.dedup();
        (self.states, self.next) = (states, next);
    }

    /// `**` matches nothing too: whoever reaches its parent reaches it.
    fn enter_many(&mut self, states: &mut Vec<NodeId>) {
        let mut at = 0;
        while at < states.len() {
            if let Some(many) = self.nodes[states[at] as usize].many {
                self.add_many(states, many);
            }
            at += 1;
        }
    }

    /// Adds a `**` node to the set that this step makes, once.
    fn add_many(&mut self, states: &mut Vec<NodeId>, id: NodeId) {
        let node = &mut self.nodes[id as usize];
        if node.stamp != self.step {
            node.stamp = self.step;
            states.push(id);
        }
    }

    fn child(&self, node: NodeId, token: &[u8]) -> Option<NodeId> {
        let node = &self.nodes[node as usize];
        match token {
            ONE => node.one,
            MANY => node.many,
            _ => node.children.as_ref()?.get(token).copied(),
        }
    }

    fn add_child(&mut self, node: NodeId, token: &[u8]) -> NodeId {
        let child = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            (self.nodes.len() - 1) as NodeId
        });
        let hasher = self.hasher.clone();
        self.nodes[child as usize].is_many = token == MANY;
        let node = &mut self.nodes[node as usize];
        match token {
            ONE => node.one = Some(child),
            MANY => node.many = Some(child),
            _ => {
                node.children
                    .get_or_insert_with(|| Box::new(HashMap::with_hasher(hasher)))
                    .insert(token.into(), child);
            }
        }
        child
    }

    fn remove_child(&mut self, node: NodeId, token: &[u8]) {
        let node = &mut self.nodes[node as usize];
        match token {
            ONE => node.one = None,
            MANY => node.many = None,
            _ => {
                if let Some(map) = &mut node.children {
                    map.remove(token);
                    if map.is_empty() {
                        node.children = None;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(client: u32) -> Target {
        Target { shard: 0, conn: client, client }
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text.as_bytes()).unwrap()
    }

    /// Every name over {a, b} of up to four tokens against every pattern over
    /// {a, *, **} of up to four tokens: the trie and the definition agree.
    #[test]
    fn it_agrees_with_the_definition() {
        let words = |alphabet: &[&str]| {
            let mut all: Vec<String> = alphabet.iter().map(|&w| w.to_owned()).collect();
            let mut last = all.clone();
            for _ in 0..3 {
                last = last
                    .iter()
                    .flat_map(|head| alphabet.iter().map(move |tail| format!("{head}.{tail}")))
                    .collect();
                all.extend(last.clone());
            }
            all
        };
        let patterns: Vec<Pattern> = words(&["a", "*", "**"]).iter().map(|p| pattern(p)).collect();
        let mut trie = Trie::new(1);
        for (client, pattern) in patterns.iter().enumerate() {
            assert!(trie.insert(pattern, target(client as u32)));
        }
        let mut found = Vec::new();
        for name in words(&["a", "b"]) {
            trie.matches(name.as_bytes(), &mut found);
            let found: Vec<u32> = found.iter().map(|target| target.client).collect();
            let expected: Vec<u32> = (0..patterns.len() as u32)
                .filter(|&at| patterns[at as usize].matches(name.as_bytes()))
                .collect();
            assert_eq!(found, expected, "{name}");
        }
        for (client, pattern) in patterns.iter().enumerate() {
            assert!(trie.remove(pattern, target(client as u32)));
            assert!(!trie.remove(pattern, target(client as u32)));
        }
        assert!(trie.is_empty());
        assert_eq!(trie.free.len() + 1, trie.nodes.len(), "every node but the root is free again");
    }

    /// What broke: every step compared each node reached with all others, so that
    /// one client with many matching patterns could hold up a shard for minutes.
    #[test]
    fn many_matching_patterns_cost_no_more_than_their_number() {
        let mut trie = Trie::new(1);
        const TOKENS: u32 = 15;
        for bits in 0..1u32 << TOKENS {
            let word = |at| if bits >> at & 1 == 0 { "*" } else { "a" };
            let text = (0..TOKENS).map(word).collect::<Vec<_>>().join(".");
            trie.insert(&pattern(&text), target(bits));
        }
        let mut found = Vec::new();
        trie.matches(&["a"; TOKENS as usize].join(".").into_bytes(), &mut found);
        assert_eq!(found.len(), 1 << TOKENS);
    }

    #[test]
    fn a_target_is_found_once_however_many_of_its_patterns_match() {
        let mut trie = Trie::new(1);
        for text in ["a.b", "a.*", "a.**", "**"] {
            assert!(trie.insert(&pattern(text), target(7)));
            assert!(!trie.insert(&pattern(text), target(7)));
        }
        let mut found = Vec::new();
        trie.matches(b"a.b", &mut found);
        assert_eq!(found, [target(7)]);
        assert_eq!(trie.len(), 4);
    }
}
