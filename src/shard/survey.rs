//! Surveys: a question of a client that every shard answers a part of.
//!
//! ```text
//!   control ─► the client's shard ──Asked──► each other shard
//!                    ▲   collects              │
//!                    └────────Answered─────────┘
//! ```
//! Invariant: an answer is put together once all parts are there, and each shard that is
//! asked answers once.

use std::collections::BTreeMap;

use netcluster_platform::Io;
use netcluster_wire::ErrorCode;

use crate::connection::{Connection, State};
use crate::mesh::Message;
use crate::request::Kick;
use crate::target::Target;

use super::Shard;
use super::control::cut;

/// Text for a client that is disconnected without a reason.
const KICKED: &str = "disconnected by whoever runs the broker";

/// Longest reason that a client is told, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// Question to every shard.
#[derive(Clone, Debug)]
pub enum Inquiry {
    /// Disconnect these clients, and say how many there were.
    Kick(Kick),
}

/// A shard's part of an answer.
#[derive(Debug)]
pub enum Part {
    /// Number of clients that were disconnected.
    Kicked(u64),
}

/// Questions whose answers are being collected.
#[derive(Default)]
pub(super) struct Surveys {
    collecting: BTreeMap<u64, Collecting>,
    next: u64,
}

struct Collecting {
    asker: Target,
    request: u64,
    inquiry: Inquiry,
    waiting: usize,
    parts: Vec<Part>,
}

impl<I: Io> Shard<I> {
    /// Asks every shard on behalf of a client.
    pub(super) fn inquire(&mut self, asker: Target, request: u64, inquiry: Inquiry) {
        let number = self.surveys.next;
        self.surveys.next += 1;
        let others = self.mesh.others();
        let waiting = others.len() + 1;
        for shard in others {
            self.tell(shard, asker, Message::Asked(number, Box::new(inquiry.clone())));
        }
        let collecting =
            Collecting { asker, request, inquiry: inquiry.clone(), waiting, parts: Vec::new() };
        self.surveys.collecting.insert(number, collecting);
        let part = self.part_of(&inquiry);
        self.part_arrived(number, part);
    }

    /// Returns this shard's part of an answer.
    pub(super) fn part_of(&mut self, inquiry: &Inquiry) -> Part {
        match inquiry {
            Inquiry::Kick(kick) => Part::Kicked(self.kick(kick)),
        }
    }

    /// Takes a shard's part of an answer.
    pub(super) fn part_arrived(&mut self, number: u64, part: Part) {
        let Some(collecting) = self.surveys.collecting.get_mut(&number) else { return };
        collecting.parts.push(part);
        collecting.waiting -= 1;
        if collecting.waiting > 0 {
            return;
        }
        if let Some(collected) = self.surveys.collecting.remove(&number) {
            let Collecting { asker, request, inquiry, parts, .. } = collected;
            let answer = put_together(&inquiry, parts);
            self.answer_request(asker, request, answer.as_deref().map_err(String::as_str));
        }
    }

    /// Disconnects clients and tells them why. Returns their number.
    fn kick(&mut self, kick: &Kick) -> u64 {
        let is_meant = |connection: &Connection| {
            matches!(connection.state, State::Open | State::Hello)
                && match kick.client {
                    Some(client) => connection.target.client == client,
                    None => kick.pid == Some(connection.peer.pid),
                }
        };
        let meant = self.connections.iter().filter(|it| is_meant(it)).map(|it| it.target.conn);
        let meant: Vec<_> = meant.collect();
        let reason = kick.reason.as_deref().unwrap_or(KICKED);
        let reason = cut(reason, MAX_REASON_BYTES);
        for &conn in &meant {
            self.totals.kicked += 1;
            self.close_with_error(conn, ErrorCode::Kicked, reason);
        }
        meant.len() as u64
    }
}

/// Makes one answer of the parts of all shards.
fn put_together(inquiry: &Inquiry, parts: Vec<Part>) -> Result<String, String> {
    match inquiry {
        Inquiry::Kick(kick) => {
            let Kick { client, pid, .. } = kick;
            let kicked: u64 = parts.iter().map(|Part::Kicked(clients)| clients).sum();
            match (kicked, client, pid) {
                (0, Some(client), _) => Err(format!("there is no client {client}")),
                (0, _, pid) => Err(format!("process {} has no client here", pid.unwrap_or(0))),
                _ => Ok(format!(r#"{{"kicked":{kicked}}}"#)),
            }
        }
    }
}
