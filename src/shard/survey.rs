//! Surveys: a question of a client that every shard answers a part of.
//!
//! ```text
//!   stats, control ─► the client's shard ──Asked──► each other shard
//!                          ▲   collects              │ counts, a part in each turn
//!                          └────────Answered─────────┘
//! ```
//! A question that is being answered already, or was in this turn, has the same answer for
//! all who ask it: asking often costs the broker no more than asking once. Questions that
//! differ are bounded.
//!
//! Invariant: an answer is put together once all parts are there, and each shard that is
//! asked answers once.
//!
//! Decision: `docs/decisions/071-status-in-parts.md`.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use netcluster_platform::{Instant, Io, Slice};
use netcluster_wire::{ErrorCode, Kind, frame};

use crate::connection::{Connection, State};
use crate::mesh::Message;
use crate::request::{ChannelsWanted, ClientsWanted, Kick};
use crate::status::{self, ShardStatus};
use crate::target::{ShardId, Target};

use super::Shard;
use super::control::cut;

/// Questions that one shard has asked the others at a time.
const MAX_SURVEYS: usize = 64;

/// Those of them that only root and the broker's own user may ask, whatever others do.
const KEPT_SURVEYS: usize = 16;

/// Text for a client that is disconnected without a reason.
const KICKED: &str = "disconnected by whoever runs the broker";

/// Longest reason that a client is told, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// Question to every shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inquiry {
    /// All that `stats` has.
    Status,
    /// Counters, and no lists of clients and channels.
    Totals,
    /// Clients, so many of them.
    Clients(ClientsWanted),
    /// Channels, so many of them.
    Channels(ChannelsWanted),
    /// The link and its peers.
    Peers,
    /// Counters for the brokers of other machines.
    Summary,
    /// Disconnect these clients, and say how many there were.
    Kick(Kick),
}

/// A shard's part of an answer.
#[derive(Debug)]
pub enum Part {
    /// Counts and lists.
    Counted(Box<ShardStatus>),
    /// Number of clients that were disconnected.
    Kicked(u64),
}

/// Client that waits for an answer.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    /// The client.
    pub target: Target,
    /// The number of its request.
    pub request: u64,
    /// Kind of the frame that it asked by.
    pub kind: Kind,
}

/// An answer in JSON, padded as a payload is; shared by all who asked for it.
#[derive(Clone)]
struct Answer {
    json_bytes: usize,
    padded: Bytes,
}

/// Questions whose answers are being collected.
#[derive(Default)]
pub(super) struct Surveys {
    collecting: BTreeMap<u64, Collecting>,
    next: u64,
    /// Latest answer and when it was made, for clients that ask in the same turn.
    latest: Option<(Instant, Inquiry, Answer)>,
}

impl Surveys {
    /// Ends a turn: its answer is no longer the latest.
    #[inline]
    pub fn end_turn(&mut self) {
        self.latest = None;
    }
}

struct Collecting {
    askers: Vec<Asker>,
    inquiry: Inquiry,
    waiting: usize,
    parts: Vec<Part>,
}

impl<I: Io> Shard<I> {
    /// Asks every shard on behalf of a client.
    pub(super) fn inquire(&mut self, asker: Asker, inquiry: Inquiry) {
        if let Some((at, asked, answer)) = &self.surveys.latest
            && (*at, asked) == (self.now, &inquiry)
        {
            let answer = answer.clone();
            return self.answer_one(asker, &answer);
        }
        let is_shared = !matches!(inquiry, Inquiry::Kick(_));
        let mut collecting = self.surveys.collecting.values_mut();
        if let Some(same) = collecting.find(|it| is_shared && it.inquiry == inquiry) {
            return same.askers.push(asker);
        }
        let kept = if self.is_of_owner(asker.target.conn) { 0 } else { KEPT_SURVEYS };
        if self.surveys.collecting.len() >= MAX_SURVEYS - kept {
            return self.refuse_one(asker, "too many ask at a time: try again");
        }
        let number = self.collect(vec![asker], inquiry.clone());
        for shard in self.mesh.others() {
            self.tell(shard, asker.target, Message::Asked(number, Box::new(inquiry.clone())));
        }
        self.asked(self.id, number, inquiry);
    }

    /// Asks every shard for what the brokers of other machines are told, unless they are
    /// still asked, or are asked too much.
    pub(super) fn begin_summary(&mut self) {
        let mut collecting = self.surveys.collecting.values();
        let is_under_way = collecting.any(|it| it.inquiry == Inquiry::Summary);
        if is_under_way || self.surveys.collecting.len() == MAX_SURVEYS {
            return;
        }
        let number = self.collect(Vec::new(), Inquiry::Summary);
        for shard in self.mesh.others() {
            self.mesh.send(shard, Message::Asked(number, Box::new(Inquiry::Summary)));
        }
        self.asked(self.id, number, Inquiry::Summary);
    }

    /// Begins to collect the parts of an answer. Returns the number of the question.
    fn collect(&mut self, askers: Vec<Asker>, inquiry: Inquiry) -> u64 {
        let number = self.surveys.next;
        self.surveys.next += 1;
        let waiting = self.mesh.others().len() + 1;
        let collecting = Collecting { askers, inquiry, waiting, parts: Vec::new() };
        self.surveys.collecting.insert(number, collecting);
        number
    }

    /// Begins this shard's part of an answer, for the shard that asks.
    pub(super) fn asked(&mut self, from: ShardId, number: u64, inquiry: Inquiry) {
        match inquiry {
            Inquiry::Kick(kick) => {
                let part = Part::Kicked(self.kick(&kick));
                self.give_part(from, number, part);
            }
            inquiry => self.begin_count(from, number, inquiry),
        }
    }

    /// Hands this shard's part of an answer to the shard that asked.
    pub(super) fn give_part(&mut self, to: ShardId, number: u64, part: Part) {
        if to == self.id {
            self.part_arrived(number, part);
        } else {
            self.mesh.send(to, Message::Answered(number, Box::new(part)));
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
        let Some(collected) = self.surveys.collecting.remove(&number) else { return };
        let Collecting { askers, inquiry, parts, .. } = collected;
        if inquiry == Inquiry::Summary {
            return self.tell_summary(parts);
        }
        match self.put_together(&inquiry, parts) {
            Err(text) => askers.into_iter().for_each(|asker| self.refuse_one(asker, &text)),
            Ok(json) => {
                let mut padded = BytesMut::from(&json[..]);
                padded.extend_from_slice(frame::padding_of(json.len()));
                let padded = self.shared.budget.own(padded);
                let answer = Answer { json_bytes: json.len(), padded };
                askers.into_iter().for_each(|asker| self.answer_one(asker, &answer));
                // Who is to be disconnected is so each time.
                if !matches!(inquiry, Inquiry::Kick(_)) {
                    self.surveys.latest = Some((self.now, inquiry, answer));
                }
            }
        }
    }

    fn answer_one(&mut self, asker: Asker, answer: &Answer) {
        let Some(connection) = self.connections.find_open(asker.target) else { return };
        let (source, conn) = (connection.source, asker.target.conn);
        let mut head = Vec::new();
        frame::append_head(&mut head, asker.kind, source, asker.request, b"", answer.json_bytes);
        let pieces = [Slice::from(Bytes::from(head)), Slice::from(answer.padded.clone())];
        self.reply_pieces(conn, &pieces);
    }

    fn refuse_one(&mut self, asker: Asker, text: &str) {
        if self.connections.find_open(asker.target).is_some() {
            self.reply_error(asker.target.conn, ErrorCode::Refused, asker.request, text);
        }
    }

    /// Makes one answer of the parts of all shards, as JSON.
    fn put_together(&mut self, inquiry: &Inquiry, parts: Vec<Part>) -> Result<Vec<u8>, String> {
        let (mut counted, mut kicked) = (Vec::new(), 0);
        for part in parts {
            match part {
                Part::Counted(part) => counted.push(*part),
                Part::Kicked(clients) => kicked += clients,
            }
        }
        match inquiry {
            Inquiry::Kick(Kick { client, pid, .. }) => match (kicked, client, pid) {
                (0, Some(client), _) => Err(format!("there is no client {client}")),
                (0, _, pid) => Err(format!("process {} has no client here", pid.unwrap_or(0))),
                _ => Ok(format!(r#"{{"kicked":{kicked}}}"#).into_bytes()),
            },
            Inquiry::Status => Ok(status::merge(self.about_now(), counted).into_json()),
            Inquiry::Summary | Inquiry::Totals => {
                Ok(status::merge(self.about_now(), counted).into_totals())
            }
            Inquiry::Clients(wanted) => Ok(status::clients_page(wanted, counted)),
            Inquiry::Channels(wanted) => Ok(status::channels_page(wanted, counted)),
            Inquiry::Peers => Ok(status::merge(self.about_now(), counted).into_peers()),
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
