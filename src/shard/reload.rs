//! Other settings while the broker runs. Nobody is disconnected, and nothing queued is lost.
//!
//! Each shard takes them between two turns' work, when no event is on its way through it;
//! listeners follow the rules of channels in later turns, if they are many ([`Relisten`]).
//! A client keeps the limit of payloads that its welcome named.
//!
//! Decision: `docs/decisions/062-live-reload.md`.

use core::net::SocketAddr;
use std::sync::{Arc, mpsc};

use netcluster_link::crypto::Keys;
use netcluster_platform::Io;

use crate::config::{MIN_MAX_QUEUE_BYTES, ShardConfig};
use crate::connection::Blocker;
use crate::pace::Pace;
use crate::resolver::{self, Addresses, Resolved};

use super::Shard;
use super::relisten::Relisten;

/// Other settings for one shard.
pub struct Reload {
    /// Settings of the shard.
    pub config: Arc<ShardConfig>,
    /// Settings of the link, for the shard that drives it.
    pub link: Option<LinkReload>,
    /// Way to say that they are in force.
    pub done: mpsc::Sender<()>,
}

/// Other settings of a link that is open.
pub struct LinkReload {
    /// Keys, the one that seals first.
    pub keys: Keys,
    /// Names of the brokers that should be peers.
    pub expected_peers: Vec<String>,
    /// Unicast peers, if they are other ones.
    pub peers: Option<PeersReload>,
}

/// Other unicast peers.
pub struct PeersReload {
    /// Addresses that are known already.
    pub addresses: Vec<SocketAddr>,
    /// Number of names that stand for nothing yet.
    pub unresolved: usize,
    /// Source of all addresses, if some have to be looked up.
    pub looked_up: Option<Addresses>,
}

impl PeersReload {
    /// Begins to look up the names of these peers, on threads of their own.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn of(peers: &[String], ipv6: bool) -> Result<PeersReload, String> {
        let resolved = resolver::resolve(peers, ipv6);
        let (known, looked_up) =
            resolved.map_err(|error| format!("cannot start a thread: {error}"))?;
        let Resolved { addresses, unresolved } = known;
        Ok(PeersReload { addresses, unresolved, looked_up })
    }
}

impl<I: Io> Shard<I> {
    /// Adds a source of other settings. The sender wakes the shard.
    pub fn with_reloads(mut self, reloads: mpsc::Receiver<Reload>) -> Shard<I> {
        self.reloads = Some(reloads);
        self
    }

    /// Takes other settings, if there are any.
    pub(super) fn take_reloads(&mut self) {
        // One after the other: those that come wait until all is by the ones before.
        while self.slices.relisten.is_none()
            && let Some(reload) = self.reloads.as_ref().and_then(|it| it.try_recv().ok())
        {
            let before = self.take_config(reload.config);
            if let Some(link) = reload.link {
                self.take_link_settings(link);
            }
            self.begin_relisten(Relisten::new(before, reload.done));
        }
    }

    /// Begins to have clients listen by the new rules of channels.
    fn begin_relisten(&mut self, mut relisten: Relisten) {
        let config = Arc::clone(&self.shared.config);
        for conn in self.connections.places() {
            let connection = self.connections.at(conn);
            if let Some(channel) = connection.channel.filter(|_| !connection.patterns.is_empty()) {
                let target = connection.target;
                relisten.add(target, &self.router.channels.get(channel).name, &config);
            }
        }
        self.slices.relisten = Some(Box::new(relisten));
        // Few are moved at once.
        self.relisten_some();
    }

    /// Takes the settings of the shard, and returns those before.
    fn take_config(&mut self, config: Arc<ShardConfig>) -> Arc<ShardConfig> {
        let before = std::mem::replace(&mut self.shared.config, Arc::clone(&config));
        self.acceptor.limits = config.limits();
        let crossing = self.router.channels.set_rules(&config.channels);
        // The link's books have channels whose clients are all on other shards, too.
        let rules = before.channels.names_with(&config.channels);
        let changed =
            rules.filter(|name| config.channels.crosses(name) != before.channels.crosses(name));
        let changed: Vec<Arc<str>> = changed.cloned().collect();
        debug_assert!(crossing.iter().all(|name| changed.contains(name)));
        self.cross_by_rules(&changed);
        for conn in self.connections.places() {
            self.take_limits(conn);
        }
        before
    }

    /// Gives a client the queue and the pace of the new settings.
    fn take_limits(&mut self, conn: netcluster_platform::Conn) {
        let config = Arc::clone(&self.shared.config);
        let connection = self.connections.at(conn);
        let (target, most) = (connection.target, config.max_queue_bytes);
        let queue_bytes = match connection.wanted_queue_bytes {
            0 => most,
            wanted => wanted.clamp(MIN_MAX_QUEUE_BYTES, most),
        };
        connection.outbound.set_limit_bytes(queue_bytes);
        let Some(channel) = connection.channel else { return };
        let rate = config.channels.rate(&self.router.channels.get(channel).name);
        connection.pace = rate.map(|rate| Box::new(Pace::new(rate, connection.events_in)));
        self.unblock_client(target, Blocker::Rate);
    }

    /// Gives the link other settings.
    pub(super) fn take_link_settings(&mut self, reload: LinkReload) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        if !driver.link.set_keys(self.now, &reload.keys) {
            tracing::warn!("the link is not closed nor opened while it runs: its keys stay");
        }
        driver.link.set_expected_peers(self.now, &reload.expected_peers);
        let Some(peers) = reload.peers else { return };
        driver.link.set_unicast_peers(self.now, peers.addresses, peers.unresolved);
        if let Some(addresses) = &peers.looked_up {
            addresses.wake(self.io.waker());
        }
        driver.addresses = peers.looked_up;
        self.look_outside();
    }
}
