//! Trie of patterns and the targets that listen to them: a radix trie over the tokens
//! of patterns.
//!
//! ```text
//!   a.b.c.d ─ a.b ─ c.d •        a node holds the tokens that its patterns share;
//!   a.b.e   ─ a.b ─ e •          the next token tells its literal children apart,
//!   a.b.*.f ─ a.b ─ *.f •        a `*` and a `**` child stand beside them
//!   a.b.**  ─ a.b ─ ** •         `**` is a node by itself
//! ```
//! A pattern adds two nodes at the most, and one for each `**`: what it costs in
//! memory is little more than its text, however many tokens it has.
//!
//! The trie does not look names up: [`Search`](search::Search) does, and may stop on
//! its way. While one is under way the trie must not change.
//!
//! Invariant: a node other than the root has targets, or more than one child, or is
//! a `**` or has a `**` child: else it is part of its child.
//!
//! Decision: `docs/decisions/034-radix-trie.md`.

mod children;
pub mod search;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use netcluster_wire::name::{SEPARATOR, tokens};
use netcluster_wire::pattern::{MANY, ONE, Pattern};

use crate::target::Target;

use self::children::Children;

/// Place in the table of nodes. The root is nobody's child: 0 says "none".
type NodeId = u32;
const ROOT: NodeId = 0;
const NONE: NodeId = 0;

/// Bytes that a node is estimated to take: itself, its share of the room that the table
/// grows into, its place among its siblings.
const NODE_BYTES: usize = 2 * size_of::<Node>() + 16;

/// Bytes that a target beyond a node's first is estimated to take.
const TARGET_BYTES: usize = 2 * size_of::<Target>();

/// Nodes from which on the table is made smaller when most of it is free.
const COMPACT_NODES: usize = 1024;

/// Nodes between the root and the end of a pattern, as a rule.
type Path = SmallVec<[NodeId; 16]>;

#[derive(Default)]
struct Node {
    /// Tokens with dots between; nothing but `**`, or none of them. The root has none.
    label: Box<[u8]>,
    /// Children whose first token is literal.
    children: Children,
    /// The child whose first token is `*`.
    one: NodeId,
    /// The child that is `**`.
    many: NodeId,
    /// Stamp of the last set of places that has the node in it, if it is `**`.
    stamp: u64,
    /// Targets that listen to the pattern that ends here, sorted, each once.
    targets: SmallVec<[Target; 1]>,
}

impl Node {
    fn is_unused(&self) -> bool {
        self.targets.is_empty() && self.children.is_empty() && self.one == NONE && self.many == NONE
    }

    fn is_many(&self) -> bool {
        &*self.label == MANY
    }

    /// Returns the only child, if it can be one node with this one.
    fn mergeable(&self) -> Option<NodeId> {
        if !self.targets.is_empty() || self.many != NONE || self.is_many() {
            return None;
        }
        match (self.children.only(), self.one) {
            (Some(child), NONE) => Some(child),
            (None, one) if one != NONE && self.children.is_empty() => Some(one),
            _ => None,
        }
    }
}

/// Patterns of one channel and their targets.
pub struct Trie {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    hasher: FixedState,
    bytes: usize,
    /// Number of sets of places that searches have come to.
    stamp: u64,
}

impl Trie {
    /// Returns an empty trie whose maps hash with `seed`.
    pub fn new(seed: u64) -> Trie {
        Trie {
            nodes: vec![Node::default()],
            free: Vec::new(),
            hasher: FixedState::with_seed(seed),
            bytes: 0,
            stamp: 0,
        }
    }

    /// Returns whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.nodes[ROOT as usize].is_unused()
    }

    /// Returns the bytes that the patterns are estimated to take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a pair of pattern and target; returns whether it is new.
    pub fn insert(&mut self, pattern: &Pattern, target: Target) -> bool {
        let mut node = ROOT;
        let mut rest = Some(pattern.as_str().as_bytes());
        while let Some(text) = rest {
            let Some(child) = self.child(node, first_token(text)) else {
                node = self.append(node, text);
                break;
            };
            let common = common_tokens(&self.nodes[child as usize].label, text);
            if common < self.nodes[child as usize].label.len() {
                self.split(child, common);
            }
            node = child;
            rest = text.get(common + 1..);
        }
        let targets = &mut self.nodes[node as usize].targets;
        match targets.binary_search(&target) {
            Ok(_) => false,
            Err(at) => {
                targets.insert(at, target);
                self.bytes += if targets.len() > 1 { TARGET_BYTES } else { 0 };
                true
            }
        }
    }

    /// Removes a pair of pattern and target; returns whether it was there.
    pub fn remove(&mut self, pattern: &Pattern, target: Target) -> bool {
        let mut path = Path::from_slice(&[ROOT]);
        let mut rest = Some(pattern.as_str().as_bytes());
        while let Some(text) = rest {
            let Some(child) = self.child(path[path.len() - 1], first_token(text)) else {
                return false;
            };
            let label = &self.nodes[child as usize].label;
            if common_tokens(label, text) < label.len() {
                return false;
            }
            rest = text.get(label.len() + 1..);
            path.push(child);
        }
        let targets = &mut self.nodes[path[path.len() - 1] as usize].targets;
        let Ok(at) = targets.binary_search(&target) else { return false };
        targets.remove(at);
        self.bytes -= if targets.is_empty() { 0 } else { TARGET_BYTES };
        if targets.spilled() && targets.len() * 4 <= targets.capacity() {
            targets.shrink_to_fit();
        }
        self.prune(&path);
        true
    }

    fn next_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// Takes nodes away that are no longer used, from the end of a path on.
    fn prune(&mut self, path: &[NodeId]) {
        for at in (1..path.len()).rev() {
            let (parent, node) = (path[at - 1], path[at]);
            if let Some(child) = self.nodes[node as usize].mergeable() {
                self.merge(node, child);
            }
            if !self.nodes[node as usize].is_unused() {
                continue;
            }
            let label = std::mem::take(&mut self.nodes[node as usize].label);
            self.detach(parent, node, first_token(&label));
            self.release(node, label.len());
        }
        if self.nodes.len() > COMPACT_NODES && self.free.len() > self.nodes.len() / 2 {
            self.compact();
        }
    }

    /// Adds nodes below `node` for these tokens; returns the last.
    fn append(&mut self, mut node: NodeId, text: &[u8]) -> NodeId {
        let mut rest = Some(text);
        while let Some(text) = rest {
            let label = &text[..label_bytes(text)];
            let child = self.add_node(label);
            self.attach(node, child);
            node = child;
            rest = text.get(label.len() + 1..);
        }
        node
    }

    fn add_node(&mut self, label: &[u8]) -> NodeId {
        self.bytes += NODE_BYTES + label.len();
        let node = Node { label: label.into(), ..Node::default() };
        match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as NodeId
            }
        }
    }

    fn release(&mut self, id: NodeId, label_bytes: usize) {
        self.bytes -= NODE_BYTES + label_bytes;
        self.nodes[id as usize] = Node::default();
        self.free.push(id);
    }

    /// Cuts a node's tokens in two: those behind the first `at` bytes become a child,
    /// with all that hung on the node.
    fn split(&mut self, id: NodeId, at: usize) {
        let upper: Box<[u8]> = self.nodes[id as usize].label[..at].into();
        let whole = std::mem::take(&mut self.nodes[id as usize]);
        let lower = self.add_node(&whole.label[at + 1..]);
        // The dot between them.
        self.bytes -= whole.label.len() - upper.len();
        let label = std::mem::take(&mut self.nodes[lower as usize].label);
        self.nodes[lower as usize] = Node { label, ..whole };
        self.nodes[id as usize].label = upper;
        self.attach(id, lower);
    }

    /// Makes a node and its only child one.
    fn merge(&mut self, id: NodeId, child: NodeId) {
        let upper = std::mem::take(&mut self.nodes[id as usize].label);
        let lower = std::mem::take(&mut self.nodes[child as usize]);
        let label = [&upper, &[SEPARATOR][..], &lower.label].concat().into_boxed_slice();
        self.release(child, lower.label.len());
        self.bytes += label.len() - upper.len();
        self.nodes[id as usize] = Node { label, ..lower };
    }

    fn child(&self, node: NodeId, token: &[u8]) -> Option<NodeId> {
        let node = &self.nodes[node as usize];
        let child = match token {
            ONE => node.one,
            MANY => node.many,
            _ => return node.children.find(token, &self.nodes, &self.hasher),
        };
        (child != NONE).then_some(child)
    }

    fn attach(&mut self, parent: NodeId, child: NodeId) {
        let mut children = std::mem::take(&mut self.nodes[parent as usize].children);
        match first_token(&self.nodes[child as usize].label) {
            ONE => self.nodes[parent as usize].one = child,
            MANY => self.nodes[parent as usize].many = child,
            _ => children.insert(child, &self.nodes, &self.hasher),
        }
        self.nodes[parent as usize].children = children;
    }

    fn detach(&mut self, parent: NodeId, child: NodeId, token: &[u8]) {
        let mut children = std::mem::take(&mut self.nodes[parent as usize].children);
        match token {
            ONE => self.nodes[parent as usize].one = NONE,
            MANY => self.nodes[parent as usize].many = NONE,
            _ => children.remove(child, token, &self.nodes, &self.hasher),
        }
        self.nodes[parent as usize].children = children;
    }

    /// Moves all nodes into a table of their number, in an order of its own.
    fn compact(&mut self) {
        let mut nodes = Vec::with_capacity(self.nodes.len() - self.free.len());
        nodes.push(std::mem::take(&mut self.nodes[ROOT as usize]));
        let mut at = 0;
        while at < nodes.len() {
            let mut node: Node = std::mem::take(&mut nodes[at]);
            let mut moved = |child: &mut NodeId| {
                if *child != NONE {
                    nodes.push(std::mem::take(&mut self.nodes[*child as usize]));
                    *child = (nodes.len() - 1) as NodeId;
                }
            };
            moved(&mut node.one);
            moved(&mut node.many);
            node.children.for_each(moved);
            nodes[at] = node;
            at += 1;
        }
        self.nodes = nodes;
        self.free = Vec::new();
    }
}

/// Returns the first token of a text that is not at its end.
fn first_token(text: &[u8]) -> &[u8] {
    tokens(text).next().unwrap_or_default()
}

/// Returns the bytes of the tokens that one node can hold: those before the first `**`,
/// or that.
fn label_bytes(text: &[u8]) -> usize {
    let mut end = None;
    for token in tokens(text) {
        if token == MANY {
            return end.unwrap_or(token.len());
        }
        end = Some(end.map_or(token.len(), |end| end + 1 + token.len()));
    }
    end.unwrap_or_default()
}

/// Returns the bytes of the tokens that both begin with. They begin with the same
/// token.
fn common_tokens(one: &[u8], other: &[u8]) -> usize {
    let common = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let ends = |text: &[u8]| text.get(common).is_none_or(|&byte| byte == SEPARATOR);
    if ends(one) && ends(other) {
        return common;
    }
    one[..common].iter().rposition(|&byte| byte == SEPARATOR).unwrap_or(common)
}

#[cfg(test)]
mod tests;
