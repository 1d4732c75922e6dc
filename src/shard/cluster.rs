//! Clients that wait until the brokers of other machines know what they listen to.

use std::time::Duration;

use netcluster_platform::{Conn, Io};
use netcluster_wire::limits::MAX_CONTROL_PAYLOAD_BYTES;
use netcluster_wire::{Kind, frame};

use crate::mesh::Message;
use crate::target::{LINK_HOME, Target};
use crate::timers::Timer;

use super::Shard;
use super::link::Waiting;

/// How often clients that wait are looked at, besides when a peer answers.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl<I: Io> Shard<I> {
    /// A client asks that its subscriptions be known everywhere.
    pub(super) fn wait_for_cluster(&mut self, target: Target, request: u64, wait: Duration) {
        if self.link.is_none() {
            let message = Message::ClusterWanted { target, request, wait };
            self.mesh.send(LINK_HOME, message);
            return;
        }
        let deadline_ns = self.deadline_ns(wait);
        if let Some(driver) = self.link.as_deref_mut() {
            driver.waiting.push(Waiting { target, request, deadline_ns });
        }
        self.look_at_waiting();
    }

    /// Answers clients whose subscriptions every peer knows of, and those that
    /// have waited long enough.
    pub(super) fn look_at_waiting(&mut self) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        if driver.waiting.is_empty() {
            return;
        }
        let mut missing = driver.link.waiting_for();
        if driver.link.is_discovering() {
            missing.push("(brokers are still being looked for)".to_owned());
        }
        let now_ns = self.now_ns;
        let ready = missing.is_empty();
        let (answered, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut driver.waiting)
            .into_iter()
            .partition(|it| ready || it.deadline_ns <= now_ns);
        if !waiting.is_empty() {
            self.timers.set(now_ns + LOOK_EVERY.as_nanos() as u64, Timer::Cluster);
        }
        driver.waiting = waiting;
        for Waiting { target, request, .. } in answered {
            if target.shard == self.id {
                self.cluster_answered(target, request, &missing);
            } else {
                let missing = missing.clone();
                let message = Message::ClusterAnswered { target, request, missing };
                self.mesh.send(target.shard, message);
            }
        }
    }

    /// Tells a client which brokers do not know of its subscriptions yet.
    pub(super) fn cluster_answered(&mut self, target: Target, request: u64, missing: &[String]) {
        let Some(connection) = self.find(target).filter(|it| it.is_open()) else { return };
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
        self.reply(Conn(target.conn), &answer);
    }
}
