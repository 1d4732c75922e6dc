//! Loop around a link: time, datagrams, events, and what goes out, in the order that the
//! link asks for.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context, Result};
use netcluster_link::channel::ChannelHash;
use netcluster_link::event::Run;
use netcluster_link::{Datagrams, Link, LinkEvent, StreamId};
use netcluster_platform::{Completion, DatagramIo, Instant, Io};
use netcluster_wire::frame::Frame;
use netcluster_wire::limits::DEFAULT_MAX_PAYLOAD_BYTES;
use serde_json::Value;

use super::source::Source;
use super::{Ask, FIRST_NODE, asked};
use crate::clock;
use crate::delivery_check::Emitted;
use crate::link::plan::{CHANNEL, NodePlan, due_ns};
use crate::message::{Report, report};
use crate::meter::Meter;
use crate::stamp;

/// Pieces that are emitted before the sockets are looked at again.
const PIECES_PER_TURN: usize = 4;
const SENDS_PER_TURN: usize = 16;
/// Longest pause between events that is spun away: waking up takes as long as what is
/// measured, and some back ends wait in milliseconds.
const SPIN_NS: u64 = 2_000_000;

/// Phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Everybody gets to know everybody.
    Joining,
    /// The end waits until it is told to go; one that listens stays so.
    Ready,
    /// Events are emitted, since this time.
    Emitting { since_ns: u64 },
    /// Nothing more is emitted.
    Stopped,
}

/// One end of the link.
pub struct Driver<I> {
    plan: NodePlan,
    io: I,
    link: Link,
    meter: Arc<Meter>,
    asks: Receiver<Ask>,
    source: Source,
    channel: ChannelHash,
    /// The interest that peers must know of.
    interest: u64,
    phase: Phase,
    peers: usize,
    /// Stream that had no room for more when it was last emitted to.
    full: Option<StreamId>,
    /// Whether the socket had no room.
    blocked: bool,
    /// Whether more waits to be sent.
    more: bool,
    lost_notices: u64,
    emit_pauses: u64,
    send_errors: u64,
}

impl<I: Io + DatagramIo> Driver<I> {
    /// Makes a driver that has joined nothing yet.
    pub fn new(
        plan: NodePlan,
        mut io: I,
        mut link: Link,
        meter: Arc<Meter>,
        asks: Receiver<Ask>,
    ) -> Result<Driver<I>> {
        // A turn brings what a few trains bring.
        io.set_receive_budget(1 << 20);
        let now = io.now();
        let channel = link.open_channel(now, CHANNEL);
        let interest = if plan.sends { 0 } else { link.set_interest(now, channel, true) };
        let node = FIRST_NODE + u32::from(plan.index);
        let source = Source::new(node, plan.index, plan.size);
        Ok(Driver {
            plan,
            io,
            link,
            meter,
            asks,
            source,
            channel,
            interest,
            phase: Phase::Joining,
            peers: 0,
            full: None,
            blocked: false,
            more: false,
            lost_notices: 0,
            emit_pauses: 0,
            send_errors: 0,
        })
    }

    /// Goes on until the process ends.
    pub fn run(mut self) -> Result<()> {
        let mut completions = Vec::new();
        loop {
            let now = self.io.now();
            if self.link.poll_timeout().is_some_and(|due_at| due_at <= now) {
                self.link.handle_timeout(now);
            }
            self.take_events()?;
            self.look_at_phase();
            let emits_on = self.emit();
            self.transmit(now);
            let timeout = self.timeout(emits_on);
            self.io.wait(&mut completions, timeout)?;
            let now = self.io.now();
            for completion in completions.drain(..) {
                match completion {
                    Completion::Datagrams(datagrams) => {
                        let received = Datagrams {
                            bytes: &datagrams.chunk,
                            segment: datagrams.segment,
                            from: datagrams.from,
                            multicast: datagrams.multicast,
                        };
                        self.link.handle_datagrams(now, &received);
                    }
                    Completion::DatagramsWritable => self.blocked = false,
                    _ => {}
                }
            }
            self.answer()?;
        }
    }

    fn answer(&mut self) -> Result<()> {
        for ask in asked(&self.asks)? {
            match ask {
                Ask::Go => self.phase = Phase::Emitting { since_ns: clock::now_ns() },
                Ask::Stop => {
                    self.phase = Phase::Stopped;
                    let count = self.source.emitted();
                    let emitted = Emitted { emitter: self.plan.index, event: 0, count };
                    report(&Report::Emitted(vec![emitted]));
                }
                Ask::Counters(answer) => drop(answer.send(self.counters())),
            }
        }
        Ok(())
    }

    fn look_at_phase(&mut self) {
        if self.phase != Phase::Joining || self.peers + 1 < self.plan.nodes {
            return;
        }
        if self.plan.sends || self.link.joined(self.interest) {
            self.phase = Phase::Ready;
            report(&Report::Ready { driver: Some(self.io.name().to_owned()) });
        }
    }

    fn take_events(&mut self) -> Result<()> {
        while let Some(event) = self.link.poll_event() {
            match event {
                LinkEvent::Run(run) => self.record(&run)?,
                LinkEvent::Lost(_) => self.lost_notices += 1,
                LinkEvent::JoinGroup(group) => {
                    self.io.join_group(group).with_context(|| format!("cannot join {group}"))?;
                }
                LinkEvent::LeaveGroup(group) => self.io.leave_group(group)?,
                LinkEvent::PeerUp { .. } => self.peers += 1,
                LinkEvent::PeerDown { name, why, .. } => {
                    self.peers -= 1;
                    eprintln!("host-{}: {name} is gone: {why:?}", self.plan.index);
                }
                LinkEvent::Warn(_, text) | LinkEvent::Note(text) => {
                    eprintln!("host-{}: {text}", self.plan.index)
                }
                // Counted by the link; and a node of a load test has no state to tell.
                LinkEvent::Joined(_)
                | LinkEvent::Demoted { .. }
                | LinkEvent::Restored { .. }
                | LinkEvent::SummaryWanted => {}
            }
        }
        Ok(())
    }

    fn record(&self, run: &Run) -> Result<()> {
        if self.meter.is_empty() {
            return Ok(());
        }
        let check = self.meter.check(0);
        let mut rest = run.slice.as_bytes();
        while let Some(frame) = Frame::read(rest, DEFAULT_MAX_PAYLOAD_BYTES)? {
            let is_new = check.record(frame.payload());
            if self.plan.rate.is_some()
                && is_new
                && let Some(at_ns) = stamp::intended_ns(frame.payload())
            {
                self.meter.record_latency(at_ns);
            }
            rest = &rest[frame.as_bytes().len()..];
        }
        Ok(())
    }

    /// Emits what is due; returns whether there is more to emit at once.
    fn emit(&mut self) -> bool {
        let Phase::Emitting { since_ns } = self.phase else { return false };
        match self.plan.rate {
            None => {
                for _ in 0..PIECES_PER_TURN {
                    if self.is_full() {
                        self.emit_pauses += 1;
                        return false;
                    }
                    let frames = self.source.frames_per_piece();
                    let piece = self.source.next(frames, 0);
                    self.full = self.link.emit(self.channel, &[piece], frames);
                }
                true
            }
            Some(rate) => {
                let now_ns = clock::now_ns();
                while !self.is_full() {
                    let intended_ns = since_ns + due_ns(self.source.emitted(), rate);
                    if intended_ns > now_ns {
                        break;
                    }
                    let piece = self.source.next(1, intended_ns);
                    self.full = self.link.emit(self.channel, &[piece], 1);
                }
                false
            }
        }
    }

    fn is_full(&self) -> bool {
        self.full.is_some_and(|stream| self.link.is_blocked(stream))
    }

    fn transmit(&mut self, now: Instant) {
        self.more = false;
        if self.blocked {
            return;
        }
        for _ in 0..SENDS_PER_TURN {
            let Some(transmit) = self.link.poll_transmit(now) else { return };
            let (to, segment) = (transmit.to.address(), transmit.segment);
            match self.io.send_datagrams(to, transmit.bytes, segment, transmit.looped) {
                Ok(taken) if taken == transmit.bytes.len() => {}
                Ok(taken) => self.link.blocked_transmit(taken),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    self.link.blocked_transmit(0);
                    return;
                }
                // Lost like on the way: it is repaired.
                Err(_) => self.send_errors += 1,
            }
        }
        self.more = true;
    }

    /// Returns how long to wait for datagrams.
    fn timeout(&self, emits_on: bool) -> Option<Duration> {
        if emits_on || (self.more && !self.blocked) {
            return Some(Duration::ZERO);
        }
        let now = self.io.now();
        let mut wait_ns = self.link.poll_timeout().map(|due_at| due_at.since(now));
        if let (Phase::Emitting { since_ns }, Some(rate)) = (self.phase, self.plan.rate)
            && !self.is_full()
        {
            let next_ns = since_ns + due_ns(self.source.emitted(), rate);
            let mut left_ns = next_ns.saturating_sub(clock::now_ns());
            if left_ns < SPIN_NS {
                left_ns = 0;
            }
            wait_ns = Some(wait_ns.map_or(left_ns, |wait_ns| wait_ns.min(left_ns)));
        }
        wait_ns.map(Duration::from_nanos)
    }

    /// Returns the counters of the link, of the sockets, and own ones.
    fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        let link = serde_json::to_value(self.link.counters()).unwrap_or_default();
        flatten("", &link, &mut counters);
        let status = self.link.status(self.io.now());
        let sockets = self.io.datagram_stats();
        for (name, value) in [
            // What slows the end down at the end, if anything does.
            ("rate_bytes_per_s", status.rate.unwrap_or(0)),
            ("kernel_drops", sockets.kernel_drops),
            ("datagrams_received", sockets.received),
            ("receives", sockets.receives),
            ("datagrams_sent", sockets.sent),
            ("sends", sockets.sends),
            ("strays", sockets.strays),
            ("truncated", sockets.truncated),
            ("starvations", self.io.stats().starvations),
            ("syscalls", self.io.stats().syscalls),
            ("lost_notices", self.lost_notices),
            ("emit_pauses", self.emit_pauses),
            ("send_errors", self.send_errors),
        ] {
            counters.insert(name.into(), value);
        }
        counters
    }
}

/// Collects all numbers of nested objects, by their names.
fn flatten(prefix: &str, value: &Value, into: &mut BTreeMap<String, u64>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = match prefix {
                    "" => name.clone(),
                    prefix => format!("{prefix}_{name}"),
                };
                flatten(&name, value, into);
            }
        }
        Value::Number(number) => {
            into.insert(prefix.to_owned(), number.as_u64().unwrap_or(0));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_counters_get_the_names_of_all_levels() {
        let value = serde_json::json!({ "sent": 3, "drops": { "own": 4 }, "name": "x" });
        let mut counters = BTreeMap::new();
        flatten("", &value, &mut counters);
        let expected = [("drops_own".to_owned(), 4), ("sent".to_owned(), 3)];
        assert_eq!(counters, BTreeMap::from(expected));
    }
}
