//! Requests of clients: hello, subscriptions, pings, an orderly end, status.
//!
//! Acks, pongs and byes are answered behind a barrier: every other shard has
//! then done all that this one sent it before. With one shard that is at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;

use netcluster_platform::{Conn, Io, Slice};
use netcluster_wire::control::{ControlError, decode_cluster, encode_error, encode_pong};
use netcluster_wire::limits::{HARD_MAX_PAYLOAD_BYTES, MAX_CONTROL_PAYLOAD_BYTES};
use netcluster_wire::{
    ErrorCode, Frame, Hello, Kind, Pattern, Source, Welcome, check_channel, frame,
};

use crate::budget::Purpose;
use crate::config::MIN_MAX_QUEUE_BYTES;
use crate::connection::State;
use crate::mesh::Message;
use crate::pace::Pace;
use crate::pattern_set::PatternSet;
use crate::target::{Emitter, Target};

use super::Shard;
use super::survey::{Asker, Inquiry};

/// Longest text of an error, in bytes.
const MAX_ERROR_TEXT_BYTES: usize = 2048;

const _: () = assert!(MAX_ERROR_TEXT_BYTES + 8 <= MAX_CONTROL_PAYLOAD_BYTES);

/// Step that follows once a barrier is passed.
#[derive(Clone, Copy, Debug)]
pub(super) enum After {
    /// The subscription is in force on every shard.
    Ack(Target, u64),
    /// Subscriptions are in force on every shard; now other machines are waited for,
    /// this long.
    Cluster(Target, u64, Duration),
    /// Every earlier event is queued at every target.
    Pong(Target, u64, u64),
    /// Every earlier event is queued at every target, and the connection ends.
    Bye(Target, u64),
    /// Routes are by the new settings on every shard.
    Reloaded,
}

impl After {
    fn target(self) -> Option<Target> {
        match self {
            After::Ack(target, _)
            | After::Cluster(target, ..)
            | After::Pong(target, ..)
            | After::Bye(target, _) => Some(target),
            After::Reloaded => None,
        }
    }
}

/// Barriers that other shards have not passed yet, and the step that follows each.
#[derive(Default)]
pub(super) struct Barriers {
    /// Barriers by number, with the number of shards that have not passed them yet.
    waiting: BTreeMap<u64, (usize, After)>,
    next: u64,
    /// Ways to say that new settings are in force, those that came first in front.
    pub reloads: VecDeque<mpsc::Sender<()>>,
}

impl Barriers {
    /// Begins a barrier that so many shards are to pass. Returns its number.
    fn begin(&mut self, shards: usize, after: After) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, (shards, after));
        number
    }

    /// Notes that a shard has passed a barrier. Returns the step that follows if it was
    /// the last one.
    pub fn passed(&mut self, number: u64) -> Option<After> {
        let (waiting, after) = self.waiting.get_mut(&number)?;
        *waiting -= 1;
        let after = (*waiting == 0).then_some(*after)?;
        self.waiting.remove(&number);
        Some(after)
    }
}

impl<I: Io> Shard<I> {
    /// Handles the first frame of a connection. Returns whether the connection is open
    /// now; if it goes to another shard, `rest` goes with it.
    pub(super) fn hello(&mut self, conn: Conn, bytes: &Bytes, rest: &[u8]) -> bool {
        let frame = checked(bytes);
        if frame.kind() != Kind::Hello {
            self.refuse(conn, ErrorCode::Protocol, "the first frame must be a hello");
            return false;
        }
        let hello = match Hello::decode(frame.payload()) {
            Ok(hello) => hello,
            Err(error) => {
                let code = match error {
                    ControlError::Version(_) => ErrorCode::Version,
                    _ => ErrorCode::Protocol,
                };
                self.refuse(conn, code, &error.to_string());
                return false;
            }
        };
        match check_channel(frame.name()) {
            Ok(channel) => self.place(conn, hello, channel.into(), rest),
            Err(error) => {
                self.refuse(conn, ErrorCode::Name, &format!("channel: {error}"));
                false
            }
        }
    }

    pub(super) fn refuse(&mut self, conn: Conn, code: ErrorCode, text: &str) {
        self.totals.protocol_errors += 1;
        self.close_with_error(conn, code, text);
    }

    /// Opens a connection that this shard keeps, and welcomes it.
    pub(super) fn open(
        &mut self,
        conn: Conn,
        hello: Hello,
        channel: &Arc<str>,
        reason: Option<(ErrorCode, String)>,
    ) {
        let config = Arc::clone(&self.shared.config);
        let awaited = config.awaited.patterns_of(channel, hello.previous);
        let rules = &config.channels;
        let max_payload_bytes = rules.max_payload_bytes(channel, config.max_payload_bytes);
        let rate = rules.rate(channel);
        // What other machines emitted meanwhile waits only if the link's session goes on.
        let held = config.awaited.has_kept_all_for(channel, hello.previous)
            && (config.is_heir_of_link || !self.router.channels.is_linked())
            && self.returning.holds(channel, self.now);
        let guard = self.first_guard(conn, channel);
        self.channel_used(channel);
        let channel = self.router.channels.join(channel);
        let sharing = self.first_sharing(hello.shared && guard.is_none());
        let connection = self.connections.at(conn);
        connection.sharing = sharing;
        connection.guard = guard;
        let source = Source { node: config.node, client: connection.target.client };
        connection.state = State::Open;
        connection.source = source;
        connection.channel = Some(channel);
        connection.echo = hello.echo;
        connection.latest = hello.latest;
        connection.leaves = hello.leaves;
        connection.is_promised = held;
        connection.awaited = awaited;
        connection.previous = hello.previous;
        connection.max_payload_bytes = max_payload_bytes;
        connection.pace = rate.map(|rate| Box::new(Pace::new(rate, 0)));
        if hello.max_queue != 0 {
            let wanted = usize::try_from(hello.max_queue).unwrap_or(usize::MAX);
            connection.wanted_queue_bytes = wanted;
            connection
                .outbound
                .set_limit_bytes(wanted.clamp(MIN_MAX_QUEUE_BYTES, config.max_queue_bytes));
        }
        connection.name = hello.client_name.into();
        let max_payload = max_payload_bytes as u64;
        let welcome = Welcome { max_payload, run: config.run, reason, held };
        self.reply(conn, &frame::encode(Kind::Welcome, source, 0, b"", &welcome.encode()));
        self.totals.clients += 1;
        self.clients_changed();
    }

    /// Handles a control frame of an open connection. Returns false if it asks for a
    /// route that is not found yet: then it is to be taken again.
    pub(super) fn control(&mut self, conn: Conn, bytes: &Bytes) -> bool {
        let frame = checked(bytes);
        let connection = self.connections.at(conn);
        let target = connection.target;
        if frame.source() != connection.source {
            self.refuse(
                conn,
                ErrorCode::Source,
                "a frame carries another source than the welcome gave",
            );
            return true;
        }
        let sequence = frame.sequence();
        let confirmed = connection.last_sequence;
        if matches!(frame.kind(), Kind::Ping | Kind::Bye) {
            // Whoever waits for the answer knows by then what was refused before it.
            self.tell_refused(conn);
        }
        match frame.kind() {
            Kind::Subscribe => self.subscribe(conn, sequence, frame.name()),
            Kind::Unsubscribe => self.unsubscribe(conn, sequence, frame.name()),
            Kind::Ping => self.after_barrier(After::Pong(target, sequence, confirmed)),
            Kind::Bye => self.after_barrier(After::Bye(target, sequence)),
            Kind::Stats => {
                let asker = Asker { target, request: sequence, kind: Kind::Stats };
                self.inquire(asker, Inquiry::Status);
            }
            Kind::Audience => return self.count_audience(conn, sequence, frame.name()),
            Kind::Cluster => match decode_cluster(frame.payload()) {
                Ok(wait) => self.after_barrier(After::Cluster(target, sequence, wait)),
                Err(error) => self.refuse(conn, ErrorCode::Protocol, &error.to_string()),
            },
            Kind::Pong => {}
            Kind::Control => self.requested(conn, sequence, frame.payload()),
            Kind::Shared => self.sharing_answered(conn, frame.payload()),
            Kind::Event
            | Kind::Hello
            | Kind::Welcome
            | Kind::Ack
            | Kind::Error
            | Kind::Lost
            | Kind::Channel => {
                let text = format!("a client may not send {:?} here", frame.kind());
                self.refuse(conn, ErrorCode::Protocol, &text);
            }
        }
        true
    }

    fn subscribe(&mut self, conn: Conn, request: u64, name: &[u8]) {
        let pattern = match self.admit(conn, name) {
            Ok(pattern) => pattern,
            Err((code, text)) => return self.reply_error(conn, code, request, &text),
        };
        let connection = self.connections.at(conn);
        let target = connection.target;
        if connection.patterns.insert(&pattern) {
            let channel = connection.channel.expect("an open connection has a channel");
            let channel = Arc::clone(&self.router.channels.get(channel).name);
            let heard = self.heard_for(target, &channel, &pattern);
            self.route_everywhere(&heard, &pattern, target);
            self.totals.listeners += 1;
        }
        self.after_barrier(After::Ack(target, request));
    }

    /// Returns the pattern that a client wants to listen to, or the reason why it may
    /// not: a bad pattern, one that access rules do not allow, or one too many.
    fn admit(&mut self, conn: Conn, name: &[u8]) -> Result<Pattern, (ErrorCode, String)> {
        let pattern =
            Pattern::new(name).map_err(|error| (ErrorCode::Pattern, error.to_string()))?;
        if let Some(text) = self.forbids_listening(conn, &pattern) {
            self.suspend_if_back(conn, &pattern);
            // Nobody waits for what does not come.
            self.subscribed_again(conn);
            return Err((ErrorCode::Forbidden, text));
        }
        let most = self.shared.config.max_patterns;
        let cost_bytes = PatternSet::cost_bytes(&pattern, self.mesh.shards());
        let has_room = self.shared.budget.has_room_to_keep(Purpose::Patterns, cost_bytes);
        let patterns = &self.connections.at(conn).patterns;
        if patterns.contains(&pattern) || patterns.len() < most && has_room {
            return Ok(pattern);
        }
        let text = if has_room {
            format!(
                "a client can listen to at most {most} patterns (--max-patterns): use wildcards, \
                 or several clients"
            )
        } else {
            format!(
                "the broker's memory for patterns is used up, of {} bytes for all it keeps: \
                 listen to fewer patterns, or raise --max-memory",
                self.shared.budget.limit_bytes()
            )
        };
        Err((ErrorCode::Pattern, text))
    }

    fn unsubscribe(&mut self, conn: Conn, request: u64, name: &[u8]) {
        let connection = self.connections.at(conn);
        let target = connection.target;
        if let Ok(pattern) = Pattern::new(name)
            && !connection.guard.as_mut().is_some_and(|guard| guard.suspended.remove(&pattern))
            && connection.patterns.remove(&pattern)
        {
            let channel = connection.channel.expect("an open connection has a channel");
            let channel = Arc::clone(&self.router.channels.get(channel).name);
            let heard = self.heard_for(target, &channel, &pattern);
            self.unroute(&heard, target, &[pattern]);
        }
        self.after_barrier(After::Ack(target, request));
    }

    /// Takes patterns of a client out of every shard's routes.
    pub(super) fn unroute(&mut self, channels: &[Arc<str>], target: Target, patterns: &[Pattern]) {
        self.unroute_everywhere(channels, target, patterns);
        self.totals.listeners -= patterns.len() as u64;
    }

    /// Does the step that follows once all other shards have done what they were sent.
    pub(super) fn after_barrier(&mut self, after: After) {
        let target = after.target();
        let others = self.mesh.others();
        if others.len() == 0 {
            return self.passed(after);
        }
        let number = self.barriers.begin(others.len(), after);
        for shard in others {
            match target {
                Some(target) => self.tell(shard, target, Message::Barrier(number)),
                None => drop(self.mesh.send(shard, Message::Barrier(number))),
            }
        }
    }

    /// Does the step that follows a barrier that is passed.
    pub(super) fn passed(&mut self, after: After) {
        let Some(target) = after.target() else { return self.reloaded() };
        let Some(connection) = self.connections.find(target) else { return };
        if !connection.is_open() {
            return;
        }
        let (conn, source) = (target.conn, connection.source);
        match after {
            After::Ack(_, request) => {
                self.reply(conn, &frame::encode(Kind::Ack, source, request, b"", b""));
                self.subscribed_again(conn);
            }
            After::Pong(_, token, confirmed) => {
                let pong = encode_pong(confirmed);
                self.reply(conn, &frame::encode(Kind::Pong, source, token, b"", &pong));
            }
            After::Cluster(_, request, wait) if self.router.channels.is_linked() => {
                self.wait_for_cluster(target, request, wait);
            }
            After::Cluster(_, request, _) => self.cluster_answered(target, request, &[]),
            After::Reloaded => {}
            After::Bye(_, token) => {
                self.reply(conn, &frame::encode(Kind::Bye, source, token, b"", b""));
                let linger = self.shared.config.drain_timeout;
                self.finish(conn, linger);
            }
        }
    }

    /// Queues a frame of the broker itself to a client. A client that asks more
    /// than it reads is paused like any emitter.
    pub(super) fn reply(&mut self, conn: Conn, frame: &[u8]) {
        let frame = self.shared.budget.own(frame.into());
        self.reply_pieces(conn, &[Slice::from(frame)]);
    }

    /// Queues a frame of the broker itself to a client, in pieces.
    pub(super) fn reply_pieces(&mut self, conn: Conn, pieces: &[Slice]) {
        let stall = self.shared.config.stall_timeout;
        let connection = self.connections.at(conn);
        let target = connection.target;
        connection.outbound.push_pieces(pieces);
        let mark = connection.outbound.mark_bytes(&self.shared.budget);
        if connection.latest && connection.outbound.held_bytes() >= mark {
            // The reply must not be held up by events that the client would rather
            // lose.
            self.totals.dropped += connection.outbound.drop_oldest_to(mark / 2);
        }
        if connection.outbound.fills(&self.shared.budget) {
            self.timers.watch_full(connection, self.now, stall);
        }
        if connection.outbound.is_full() && connection.is_open() {
            self.pause_for(Emitter::Client(target), target);
        }
        self.mark_dirty(conn);
    }

    pub(super) fn reply_error(&mut self, conn: Conn, code: ErrorCode, request: u64, text: &str) {
        let source = self.connections.at(conn).source;
        let text = cut(text, MAX_ERROR_TEXT_BYTES);
        let payload = encode_error(code, text);
        self.reply(conn, &frame::encode(Kind::Error, source, request, b"", &payload));
    }
}

/// Returns the beginning of a text, so many bytes at the most.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns a control frame that the framer has already checked.
fn checked(bytes: &Bytes) -> Frame<'_> {
    Frame::read(bytes, HARD_MAX_PAYLOAD_BYTES).ok().flatten().expect("the framer checked it")
}
