//! Other settings for a broker that runs.
//!
//! Decision: `docs/decisions/062-live-reload.md`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use netcluster_link::options::LinkOptions;
use netcluster_platform::Waker;

use crate::budget::Budget;
use crate::channel_rules::ChannelRules;
use crate::config::ShardConfig;
use crate::options::BrokerOptions;
use crate::shard::{LinkReload, PeersReload, Reload};

/// Time that the shards have to take other settings: a turn of each, as a rule.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Handle that gives a broker other settings, from any thread.
#[derive(Clone)]
pub struct Reloader(Arc<Mutex<State>>);

/// The settings in force, and the ways to the shards.
struct State {
    config: ShardConfig,
    link: Option<LinkOptions>,
    budget: Budget,
    shards: Vec<(mpsc::Sender<Reload>, Waker)>,
}

impl Reloader {
    pub(crate) fn new(
        config: ShardConfig,
        link: Option<LinkOptions>,
        budget: Budget,
        shards: Vec<(mpsc::Sender<Reload>, Waker)>,
    ) -> Reloader {
        Reloader(Arc::new(Mutex::new(State { config, link, budget, shards })))
    }

    /// Gives the broker the settings that can change while it runs: the limits of memory,
    /// queues, connections and patterns, the timeouts, the busy-wait, the rules of channels,
    /// the link's keys and unicast peers. Nobody is disconnected; a client keeps the limit of
    /// payloads that it was welcomed with. All other options stay as they are. Returns once
    /// every shard has them.
    ///
    /// # Errors
    /// Which option is out of range: then nothing is changed.
    pub fn reload(&self, options: &BrokerOptions) -> Result<(), String> {
        options.check()?;
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut link = state.link_reload(options)?;
        let config = ShardConfig {
            max_queue_bytes: options.queue_bytes(),
            max_clients: options.max_clients,
            max_clients_per_user: options.max_clients_per_user,
            max_patterns: options.max_patterns,
            stall_timeout: options.stall_timeout,
            hello_timeout: options.hello_timeout,
            drain_timeout: options.drain_timeout,
            spin: options.spin,
            channels: Arc::new(ChannelRules::new(&options.channels)?),
            ..state.config.clone()
        };
        state.config = config;
        state.budget.set_limit_bytes(options.memory_bytes());
        let config = Arc::new(state.config.clone());
        let (done, finished) = mpsc::channel();
        for (sender, waker) in &state.shards {
            // Shard 0, the first one, drives the link.
            let reload =
                Reload { config: Arc::clone(&config), link: link.take(), done: done.clone() };
            if sender.send(reload).is_ok() {
                waker.wake();
            }
        }
        drop(done);
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match finished.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(()) => {}
                // All have them, or have ended.
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(format!(
                        "not all shards took the settings in {TIMEOUT:?}: those that did have them"
                    ));
                }
            }
        }
    }
}

impl State {
    /// Prepares other settings of the link, whose names of peers need threads.
    fn link_reload(&mut self, options: &BrokerOptions) -> Result<Option<LinkReload>, String> {
        let (Some(before), Some(wanted)) = (&mut self.link, &options.link) else {
            return Ok(None);
        };
        let peers = if before.peers == wanted.peers {
            None
        } else {
            Some(PeersReload::of(&wanted.peers, before.group.is_ipv6())?)
        };
        before.peers.clone_from(&wanted.peers);
        if before.keys.is_open() == wanted.keys.is_open() {
            before.keys = wanted.keys.clone();
        }
        Ok(Some(LinkReload {
            keys: before.keys.clone(),
            expected_peers: wanted.expected_peers.clone(),
            peers,
        }))
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reloader")
    }
}
