//! A node's literal children, by the first token of each: none or one as a rule.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::{Node, NodeId, first_token};

/// Table of literal children by their first tokens, which are in the children
/// themselves.
#[derive(Default)]
pub(super) enum Children {
    #[default]
    None,
    One(NodeId),
    Many(Box<HashTable<NodeId>>),
}

impl Children {
    pub fn is_empty(&self) -> bool {
        matches!(self, Children::None)
    }

    /// Returns the child, if there is exactly one.
    pub fn only(&self) -> Option<NodeId> {
        match self {
            Children::One(id) => Some(*id),
            _ => None,
        }
    }

    /// Returns the child that begins with this token.
    #[inline]
    pub fn find(&self, token: &[u8], nodes: &[Node], hasher: &FixedState) -> Option<NodeId> {
        let is_it = |id: &NodeId| token_of(nodes, *id) == token;
        match self {
            Children::None => None,
            Children::One(id) => is_it(id).then_some(*id),
            Children::Many(table) => table.find(hasher.hash_one(token), is_it).copied(),
        }
    }

    /// Adds a child whose first token no other has.
    pub fn insert(&mut self, child: NodeId, nodes: &[Node], hasher: &FixedState) {
        let hash = |id: &NodeId| hasher.hash_one(token_of(nodes, *id));
        match self {
            Children::None => *self = Children::One(child),
            Children::One(other) => {
                let mut table = Box::new(HashTable::with_capacity(2));
                table.insert_unique(hash(other), *other, hash);
                table.insert_unique(hash(&child), child, hash);
                *self = Children::Many(table);
            }
            Children::Many(table) => {
                table.insert_unique(hash(&child), child, hash);
            }
        }
    }

    /// Takes out a child that begins, or began, with this token.
    pub fn remove(&mut self, child: NodeId, token: &[u8], nodes: &[Node], hasher: &FixedState) {
        let Children::Many(table) = self else {
            *self = Children::None;
            return;
        };
        if let Ok(entry) = table.find_entry(hasher.hash_one(token), |id| *id == child) {
            entry.remove();
        }
        if let (1, Some(last)) = (table.len(), table.iter().next()) {
            *self = Children::One(*last);
        } else if table.len() * 8 < table.capacity() {
            table.shrink_to_fit(|id| hasher.hash_one(token_of(nodes, *id)));
        }
    }

    pub fn for_each(&mut self, mut change: impl FnMut(&mut NodeId)) {
        match self {
            Children::None => {}
            Children::One(id) => change(id),
            Children::Many(table) => table.iter_mut().for_each(change),
        }
    }
}

#[inline]
fn token_of(nodes: &[Node], id: NodeId) -> &[u8] {
    first_token(&nodes[id as usize].label)
}
