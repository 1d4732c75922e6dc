//! Listeners in the routes that other rules of channels want, a bounded part of them in each
//! turn: thousands of patterns take longer than others may wait.
//!
//! Invariant: each pattern of a client stands in the routes of those channels that the old
//! rules name, or of those that the new ones do; [`Relisten`] tells which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};

use netcluster_platform::Io;
use netcluster_wire::Pattern;

use crate::config::ShardConfig;
use crate::pattern_set::PatternSet;
use crate::target::Target;

use super::Shard;
use super::interest::{Heard, heard_by};

/// Places in routes that a turn changes.
const CHANGES_PER_TURN: usize = 1024;

/// Clients on their way from the old rules to the new ones.
pub(super) struct Relisten {
    before: Arc<ShardConfig>,
    /// Channels that their clients no longer hear and hear now, of those that have any.
    moves: BTreeMap<Arc<str>, Move>,
    /// Clients whose patterns all stand by the old rules.
    left: BTreeSet<Target>,
    /// Client of whose patterns those behind this one do.
    begun: Option<(Target, Pattern)>,
    done: mpsc::Sender<()>,
}

/// Channels in whose routes the clients of one no longer stand, and stand now.
#[derive(Clone)]
struct Move {
    gone: Heard,
    new: Heard,
}

impl Relisten {
    /// Clients of a shard whose settings were these; who waits for it is told of the end.
    pub fn new(before: Arc<ShardConfig>, done: mpsc::Sender<()>) -> Relisten {
        Relisten { before, moves: BTreeMap::new(), left: BTreeSet::new(), begun: None, done }
    }

    /// Adds a client of this channel, if it hears others by the new rules.
    pub fn add(&mut self, target: Target, channel: &Arc<str>, now: &ShardConfig) {
        let before = &self.before.channels;
        let moves = self.moves.entry(Arc::clone(channel)).or_insert_with(|| {
            let (old, new) = (heard_by(before, channel), heard_by(&now.channels, channel));
            let without = |all: &Heard, others: &Heard| -> Heard {
                all.iter().filter(|it| !others.contains(it)).cloned().collect()
            };
            Move { gone: without(&old, &new), new: without(&new, &old) }
        });
        if !moves.gone.is_empty() || !moves.new.is_empty() {
            self.left.insert(target);
        }
    }

    /// Returns whether a pattern of a client stands by the old rules.
    fn is_old(&self, target: Target, pattern: &Pattern) -> bool {
        let is_behind =
            self.begun.as_ref().is_some_and(|(begun, last)| *begun == target && pattern > last);
        is_behind || self.left.contains(&target)
    }

    /// Returns the client that is next, and the pattern behind which it goes on.
    fn next(&mut self) -> Option<(Target, Option<Pattern>)> {
        let begun = self.begun.take().map(|(target, last)| (target, Some(last)));
        begun.or_else(|| self.left.pop_first().map(|target| (target, None)))
    }
}

impl<I: Io> Shard<I> {
    /// Returns the channels in whose routes a pattern of a client of this shard stands, or is
    /// to stand.
    pub(super) fn heard_for(&self, target: Target, channel: &Arc<str>, pattern: &Pattern) -> Heard {
        match &self.slices.relisten {
            Some(it) if it.is_old(target, pattern) => heard_by(&it.before.channels, channel),
            _ => self.heard_in(channel),
        }
    }

    /// Divides the patterns of a client that is gone by the rules by which they stand in
    /// routes.
    pub(super) fn departing(
        &mut self,
        target: Target,
        channel: &Arc<str>,
        mut patterns: PatternSet,
    ) -> Vec<(Heard, PatternSet)> {
        let now = self.heard_in(channel);
        let Some(relisten) = &mut self.slices.relisten else { return vec![(now, patterns)] };
        let before = heard_by(&relisten.before.channels, channel);
        if relisten.left.remove(&target) {
            return vec![(before, patterns)];
        }
        match relisten.begun.take_if(|(begun, _)| *begun == target) {
            None => vec![(now, patterns)],
            Some((_, last)) => {
                let behind = patterns.split_behind(&last, &self.shared.budget);
                vec![(now, patterns), (before, behind)]
            }
        }
    }

    /// Moves a turn's part of the clients to the new rules.
    pub(super) fn relisten_some(&mut self) {
        let Some(mut relisten) = self.slices.relisten.take() else { return };
        let mut effort = CHANGES_PER_TURN;
        while effort > 0 {
            let Some((target, from)) = relisten.next() else {
                // Who waits for it may have given up.
                let _ = relisten.done.send(());
                // Others may have come meanwhile.
                return self.take_reloads();
            };
            let Some(connection) = self.connections.find(target) else { continue };
            let Some(channel) = connection.channel else { continue };
            let channel = &self.router.channels.get(channel).name;
            let Some(Move { gone, new }) = relisten.moves.get(channel).cloned() else { continue };
            let each = gone.len() + new.len();
            let most = (effort / each.max(1)).max(1);
            let behind = connection.patterns.behind(from.as_ref());
            let patterns: Vec<Pattern> = behind.take(most).cloned().collect();
            let Some(last) = patterns.last().cloned() else { continue };
            self.unroute_everywhere(&gone, target, &patterns);
            for pattern in &patterns {
                self.route_everywhere(&new, pattern, target);
            }
            effort = effort.saturating_sub(patterns.len() * each);
            relisten.begun = Some((target, last));
        }
        self.slices.relisten = Some(relisten);
    }
}
