//! Clients that wait until the brokers of other machines know what they listen to.
//!
//! Decision: `docs/decisions/024-question-cluster.md`.

use std::time::Duration;

use netcluster_platform::Io;
use netcluster_wire::limits::MAX_CONTROL_PAYLOAD_BYTES;
use netcluster_wire::{Kind, frame};

use crate::mesh::Message;
use crate::target::{LINK_HOME, Target};
use crate::timers::Timer;

use super::Shard;
use super::link::Waiting;

/// Time between two looks at clients that wait, besides when a peer answers.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Longest wait: a client that asks for more gets this.
const MAX_WAIT: Duration = Duration::from_secs(3600);

impl<I: Io> Shard<I> {
    /// Has a client wait until its subscriptions are known everywhere.
    pub(super) fn wait_for_cluster(&mut self, target: Target, request: u64, wait: Duration) {
        if self.link.is_none() {
            let message = Message::ClusterWanted { target, request, wait };
            self.mesh.send(LINK_HOME, message);
            return;
        }
        let deadline = self.deadline(wait.min(MAX_WAIT));
        let now = self.now;
        let Some(driver) = self.link.as_deref_mut() else { return };
        let version = driver.link.ask_interest(now);
        // Who asks again need not be answered before: one entry for each client.
        let mut earlier = None;
        if let Some(at) = driver.waiting.iter().position(|it| it.target == target) {
            earlier = Some(driver.waiting.swap_remove(at).request);
        }
        driver.waiting.push(Waiting { target, request, version, deadline });
        if let Some(earlier) = earlier {
            self.answer_cluster(target, earlier, vec!["(asked again meanwhile)".to_owned()]);
        }
        self.look_at_waiting();
    }

    /// Looks again at clients that wait.
    pub(super) fn cluster_timed_out(&mut self) {
        if let Some(driver) = self.link.as_deref_mut() {
            driver.is_look_set = false;
        }
        self.look_at_waiting();
    }

    /// Answers clients whose subscriptions every peer knows of, and those that
    /// have waited long enough.
    pub(super) fn look_at_waiting(&mut self) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        let now = self.now;
        let mut answered = Vec::new();
        for waiting in std::mem::take(&mut driver.waiting) {
            if driver.link.joined(waiting.version) {
                answered.push((waiting, Vec::new()));
            } else if waiting.deadline <= now {
                let mut missing = driver.link.waiting_for(waiting.version);
                if driver.link.is_discovering() {
                    missing.push("(brokers are still being looked for)".to_owned());
                }
                answered.push((waiting, missing));
            } else {
                driver.waiting.push(waiting);
            }
        }
        if !driver.waiting.is_empty() && !driver.is_look_set {
            driver.is_look_set = true;
            self.timers.set(now + LOOK_EVERY.as_nanos() as u64, Timer::Cluster);
        }
        for (waiting, missing) in answered {
            self.answer_cluster(waiting.target, waiting.request, missing);
        }
    }

    fn answer_cluster(&mut self, target: Target, request: u64, missing: Vec<String>) {
        if target.shard == self.id {
            self.cluster_answered(target, request, &missing);
        } else {
            let message = Message::ClusterAnswered { target, request, missing };
            self.mesh.send(target.shard, message);
        }
    }

    /// Tells a client which brokers do not know of its subscriptions yet.
    pub(super) fn cluster_answered(&mut self, target: Target, request: u64, missing: &[String]) {
        let Some(connection) = self.connections.find_open(target) else { return };
        let source = connection.source;
        let mut names = String::new();
        for name in missing {
            if names.len() + 1 + name.len() > MAX_CONTROL_PAYLOAD_BYTES {
                break;
            }
            if !names.is_empty() {
                names.push('\n');
            }
            names.push_str(name);
        }
        let answer = frame::encode(Kind::Cluster, source, request, b"", names.as_bytes());
        self.reply(target.conn, &answer);
    }
}
