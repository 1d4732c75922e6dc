//! Listeners in routes, and what the link is told of them: which channels clients here use,
//! and which they want to hear.
//!
//! A listener stands in the routes of its channel, and of each whose events are copied into
//! that.
//!
//! Decision: `docs/decisions/061-forwarding-by-routes.md`.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use netcluster_platform::Io;
use netcluster_wire::Pattern;

use crate::channel_rules::ChannelRules;
use crate::mesh::Message;
use crate::target::{LINK_HOME, Target};
use netcluster_link::channel::ChannelHash;

use super::Shard;

/// Channels in whose routes a listener stands: as a rule its own alone.
pub(super) type Heard = SmallVec<[Arc<str>; 1]>;

impl<I: Io> Shard<I> {
    /// Returns the channels whose events a listener of this one gets, its own first.
    pub(super) fn heard_in(&self, channel: &Arc<str>) -> Heard {
        heard_by(&self.shared.config.channels, channel)
    }

    /// Adds a listener to this shard's routes.
    pub(super) fn route(&mut self, channel: &Arc<str>, pattern: &Pattern, target: Target) {
        self.router.channels.subscribe(channel, pattern, target);
        self.update_interest(channel);
    }

    /// Adds a listener of this shard to every shard's routes.
    pub(super) fn route_everywhere(
        &mut self,
        channels: &[Arc<str>],
        pattern: &Pattern,
        target: Target,
    ) {
        for channel in channels {
            self.route(channel, pattern, target);
            for shard in self.mesh.others() {
                let (channel, pattern) = (channel.clone(), pattern.clone());
                self.tell(shard, target, Message::Subscribe { channel, pattern, target });
            }
        }
    }

    /// Takes listeners out of this shard's routes.
    pub(super) fn unroute_here(&mut self, channel: &str, patterns: &[Pattern], target: Target) {
        for pattern in patterns {
            self.router.channels.unsubscribe(channel, pattern, target);
        }
        self.update_interest(channel);
    }

    /// Takes patterns of a client of this shard out of every shard's routes.
    pub(super) fn unroute_everywhere(
        &mut self,
        channels: &[Arc<str>],
        target: Target,
        patterns: &[Pattern],
    ) {
        for channel in channels {
            self.unroute_here(channel, patterns, target);
            for shard in self.mesh.others() {
                let (channel, patterns) = (channel.clone(), patterns.to_vec());
                self.tell(shard, target, Message::Unsubscribe { channel, patterns, target });
            }
        }
    }

    /// Tells the link whether anybody here listens to a channel.
    pub(super) fn update_interest(&mut self, name: &str) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        let hash = ChannelHash::of(name);
        let crosses = self.shared.config.channels.crosses(name);
        let channel = self.router.channels.find(name).map(|id| self.router.channels.get(id));
        let is_wanted = crosses && channel.is_some_and(|channel| !channel.routes.is_empty());
        if is_wanted {
            // Its listeners may be those of other channels, and nobody be on it.
            driver.link.open_channel(self.now, name);
        }
        driver.link.set_interest(self.now, hash, is_wanted);
        let is_used = driver.used.contains_key(&hash);
        if !crosses || !is_wanted && !is_used {
            driver.link.close_channel(self.now, hash);
        }
    }

    /// Notes that a client of any shard is on this channel now; called before the
    /// client emits.
    pub(super) fn channel_used(&mut self, name: &Arc<str>) {
        match self.link.as_deref_mut() {
            Some(driver) => {
                let users = driver.used.entry(ChannelHash::of(name)).or_default();
                *users += 1;
                if *users == 1 {
                    self.open_on_link(name);
                }
            }
            None if self.router.channels.is_linked() => {
                self.mesh.send(LINK_HOME, Message::ChannelUsed(Arc::clone(name)));
            }
            None => {}
        }
    }

    /// Has the link know a channel that is used here, if its events cross.
    fn open_on_link(&mut self, name: &Arc<str>) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        if self.shared.config.channels.crosses(name) {
            driver.link.open_channel(self.now, name);
            // There may be listeners from before the link was opened.
            self.update_interest(name);
        }
    }

    /// Notes that a client of any shard is no longer on this channel.
    pub(super) fn channel_unused(&mut self, name: &Arc<str>) {
        match self.link.as_deref_mut() {
            Some(driver) => {
                let hash = ChannelHash::of(name);
                let Some(users) = driver.used.get_mut(&hash) else { return };
                *users -= 1;
                if *users == 0 {
                    driver.used.remove(&hash);
                    self.update_interest(name);
                }
            }
            // Or the link's session went to an heir.
            None if self.id != LINK_HOME && self.router.channels.is_linked() => {
                self.mesh.send(LINK_HOME, Message::ChannelUnused(Arc::clone(name)));
            }
            None => {}
        }
    }

    /// Has the link know which channels cross it by new rules.
    pub(super) fn cross_by_rules(&mut self, channels: &[Arc<str>]) {
        for name in channels {
            let is_used = |hash| self.link.as_deref().is_some_and(|it| it.used.contains_key(&hash));
            if is_used(ChannelHash::of(name)) {
                self.open_on_link(name);
            }
            self.update_interest(name);
        }
    }
}

/// Returns the channels whose events a listener of this one gets by these rules, its own
/// first.
pub(super) fn heard_by(rules: &ChannelRules, channel: &Arc<str>) -> Heard {
    let mut heard: Heard = smallvec![Arc::clone(channel)];
    heard.extend(rules.sources_of(channel));
    heard
}
