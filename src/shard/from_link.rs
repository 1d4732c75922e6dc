//! Events of other brokers: they go onto the queues of their listeners, on whichever
//! shard, and their loss is told.
//!
//! The link waits for nobody here: a listener that is behind misses events and is told.
//! Only a pressured stream is held, until the queues that it fills have room.

use std::sync::Arc;

use smallvec::SmallVec;

use netcluster_platform::{Io, Slice};
use netcluster_wire::limits::{HARD_MAX_PAYLOAD_BYTES, HEADER_BYTES};
use netcluster_wire::{Header, LossReason, Source};

use crate::channels::Channel;
use crate::connection::Blocker;
use crate::inbound::Pieces;
use crate::mesh::Message;
use crate::routes::Route;
use crate::target::{Emitter, ShardId};
use netcluster_link::channel::ChannelHash;
use netcluster_link::event::{LinkEvent, Lost, Run};
use netcluster_link::peer_id::PeerId;
use netcluster_link::stream::StreamId;

use super::Shard;
use super::link::LinkDriver;

/// Messages that may wait for room towards another shard before events from the
/// link are no longer added to them: each pins a chunk at the most.
const MAX_SHARD_OVERFLOW: usize = 1024;

impl LinkDriver {
    /// Notes events that are not sent to this shard: it is told later, in one sum for
    /// each broker and stream.
    fn miss(&mut self, shard: ShardId, node: u32, stream: StreamId, frames: u64) {
        let same = |(to, lost): &&mut (ShardId, Lost)| {
            *to == shard && lost.node == node && lost.stream == stream
        };
        match self.missed.iter_mut().find(same) {
            Some((_, lost)) => lost.count = lost.count.map(|count| count + frames),
            None => {
                let (count, reason) = (Some(frames), LossReason::Slow);
                self.missed.push((shard, Lost { node, stream, channel: None, count, reason }));
            }
        }
    }
}

impl<I: Io> Shard<I> {
    /// Takes events of another broker for listeners here, or a gap among them: behind
    /// those that wait for a route, if any do.
    pub(super) fn take_from_link(&mut self, event: LinkEvent) {
        let postpones = |driver: &LinkDriver| !driver.postponed.is_empty();
        let waits = self.link.as_deref().is_some_and(postpones);
        if waits || !self.deliver_from_link(&event) {
            self.postpone_from_link(event);
        }
    }

    /// Delivers events of the link; returns false if their route is not found yet.
    fn deliver_from_link(&mut self, event: &LinkEvent) -> bool {
        match event {
            LinkEvent::Run(run) => return self.deliver_run(run),
            LinkEvent::Lost(lost) => {
                for shard in self.mesh.others() {
                    self.mesh.send(shard, Message::LinkLost(*lost));
                }
                self.tell_lost(*lost);
            }
            _ => {}
        }
        true
    }

    /// Keeps events until their route is found. Their stream is held, so that they do
    /// not become many.
    #[cold]
    fn postpone_from_link(&mut self, event: LinkEvent) {
        if let LinkEvent::Run(run) = &event {
            self.hold_stream(run.peer, run.stream, Blocker::Routes);
        }
        if let Some(driver) = self.link.as_deref_mut() {
            driver.postponed.push_back(event);
        }
    }

    /// Goes on with events from the link that wait for routes, as far as this turn's
    /// effort reaches.
    pub(super) fn resume_from_link(&mut self) {
        loop {
            let next = self.link.as_deref_mut().and_then(|driver| driver.postponed.pop_front());
            let Some(event) = next else { break };
            if !self.deliver_from_link(&event) {
                let Some(driver) = self.link.as_deref_mut() else { return };
                driver.postponed.push_front(event);
                return;
            }
        }
        let Some(driver) = self.link.as_deref_mut() else { return };
        let is_waiting =
            |(_, blockers): &(_, &SmallVec<[Blocker; 1]>)| blockers.contains(&Blocker::Routes);
        let held: Vec<_> =
            driver.held.iter().filter(is_waiting).map(|(&stream, _)| stream).collect();
        for (peer, stream) in held {
            self.release_stream(peer, stream, Blocker::Routes);
        }
    }

    /// Delivers events of another broker to listeners here; returns false if their
    /// route is not found yet.
    fn deliver_run(&mut self, run: &Run) -> bool {
        let &Run { peer, stream, channel: hash, ref slice, frames, name_len, source } = run;
        let Some(channel) = self.router.channels.find_by_hash(hash) else {
            self.totals.link_events_in += frames as u64;
            return true;
        };
        self.router.make_room(channel);
        let name = &slice.as_bytes()[HEADER_BYTES..][..name_len];
        let route = match self.router.find(channel, name) {
            Ok(Some(id)) => Arc::clone(self.router.channels.get(channel).routes.get(id)),
            Ok(None) => return false,
            Err(error) => {
                // The event's broker should not have let it pass.
                tracing::debug!(%error, "an event from the link has no name");
                self.totals.protocol_errors += 1;
                return true;
            }
        };
        self.totals.link_events_in += frames as u64;
        let emitter = Emitter::Stream(peer, stream);
        let most = self.router.channels.get(channel).max_payload_bytes;
        if slice.len() <= most {
            self.queue_from_link(&route, emitter, source.node, stream, slice, frames);
            return true;
        }
        let (parts, too_large) = fitting(slice, most);
        for (part, frames) in &parts {
            self.queue_from_link(&route, emitter, source.node, stream, part, *frames);
        }
        if too_large > 0 {
            let (node, count, reason) = (source.node, Some(too_large), LossReason::Large);
            let lost = Lost { node, stream, channel: Some(hash), count, reason };
            self.deliver_from_link(&LinkEvent::Lost(lost));
        }
        true
    }

    /// Queues events of another broker to the listeners of a route, on whichever shard.
    #[inline]
    fn queue_from_link(
        &mut self,
        route: &Arc<Route>,
        emitter: Emitter,
        node: u32,
        stream: StreamId,
        slice: &Slice,
        frames: usize,
    ) {
        let pieces = std::slice::from_ref(slice);
        self.queue_here(route, emitter, None, pieces, frames);
        for shard in route.other_shards(self.id) {
            if !emitter.yields() && self.mesh.overflow(shard) >= MAX_SHARD_OVERFLOW {
                // That shard is behind, and the link waits for nobody here.
                self.totals.dropped += frames as u64;
                if let Some(driver) = self.link.as_deref_mut() {
                    driver.miss(shard, node, stream, frames as u64);
                }
                continue;
            }
            self.tell_missed(shard);
            let (route, pieces) = (Arc::clone(route), Pieces::from(pieces));
            let message = Message::Run { route, emitter, pieces, frames };
            if self.mesh.send(shard, message)
                && emitter.yields()
                && self.block(emitter, Blocker::Shard(shard))
            {
                self.mesh.wait_for(shard, emitter);
            }
        }
    }

    /// Tells a shard which events it was not sent while it was behind.
    fn tell_missed(&mut self, shard: ShardId) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        if driver.missed.is_empty() {
            return;
        }
        let missed = std::mem::take(&mut driver.missed);
        for (to, lost) in missed {
            if to == shard {
                self.mesh.send(to, Message::LinkLost(lost));
            } else {
                driver.missed.push((to, lost))
            }
        }
    }

    /// Tells every shard that has caught up which events it was not sent.
    pub(super) fn tell_all_missed(&mut self) {
        let Some(driver) = self.link.as_deref() else { return };
        let shards: SmallVec<[ShardId; 4]> =
            driver.missed.iter().map(|(shard, _)| *shard).collect();
        for shard in shards {
            if self.mesh.overflow(shard) == 0 {
                self.tell_missed(shard);
            }
        }
    }

    /// Tells listeners of this shard which events are missing.
    pub(super) fn tell_lost(&mut self, lost: Lost) {
        let source = Source { node: lost.node, client: 0 };
        let channels = &self.router.channels;
        let is_in = |channel: &Channel| {
            channel.hash != ChannelHash::NONE
                && channel.stream == lost.stream
                && lost.channel.is_none_or(|hash| hash == channel.hash)
        };
        let rules = Arc::clone(&self.shared.config.channels);
        for connection in self.connections.iter_mut() {
            let Some(channel) = connection.channel else { continue };
            let channel = channels.get(channel);
            // Or it would have been copied into its channel.
            let is_concerned = is_in(channel)
                || rules.sources_of(&channel.name).iter().any(|source| {
                    channels.find(source).is_some_and(|source| is_in(channels.get(source)))
                });
            if is_concerned && connection.is_open() && !connection.patterns.is_empty() {
                connection.outbound.push_lost(source, lost.count, lost.reason);
                // Many notices are a queue like any other.
                if connection.latest {
                    self.totals.dropped += connection.trim_latest(&self.shared.budget);
                } else if connection.outbound.fills(&self.shared.budget) {
                    let stall = self.shared.config.stall_timeout;
                    self.timers.watch_full(connection, self.now, stall);
                }
                self.fan_out.mark_dirty(connection);
            }
        }
    }

    /// Holds a pressured stream for a reason, such as a full queue here. Returns
    /// whether the reason is new.
    pub(super) fn hold_stream(&mut self, peer: PeerId, stream: StreamId, by: Blocker) -> bool {
        let Some(driver) = self.link.as_deref_mut() else { return false };
        let blockers = driver.held.entry((peer, stream)).or_default();
        if blockers.contains(&by) {
            return false;
        }
        blockers.push(by);
        // Told each time: the peer may have begun the stream anew.
        driver.link.set_held(self.now, peer, stream, true);
        true
    }

    /// Removes a reason to hold a pressured stream, which goes on after the last.
    pub(super) fn release_stream(&mut self, peer: PeerId, stream: StreamId, by: Blocker) {
        let Some(driver) = self.link.as_deref_mut() else { return };
        let Some(blockers) = driver.held.get_mut(&(peer, stream)) else { return };
        blockers.retain(|other| *other != by);
        if blockers.is_empty() {
            driver.held.remove(&(peer, stream));
            driver.link.set_held(self.now, peer, stream, false);
        }
    }
}

/// Parts a run at events with payloads of more bytes than these. Returns the others, with
/// their numbers, and how many were too large.
#[cold]
fn fitting(slice: &Slice, most: usize) -> (Vec<(Slice, usize)>, u64) {
    let (mut parts, mut frames, mut too_large) = (Vec::new(), 0, 0);
    let (mut start, mut at) = (slice.start(), slice.start());
    let bytes = slice.chunk();
    let part = |start, end| Slice::new(bytes.clone(), start, end);
    while at < slice.end() {
        // The link has checked it.
        let layout =
            Header::read(&bytes[at..]).and_then(|it| it.check(HARD_MAX_PAYLOAD_BYTES).ok());
        let Some(layout) = layout else { break };
        let end = at + layout.frame_len;
        if layout.payload_len > most {
            if frames > 0 {
                parts.push((part(start, at), frames));
            }
            (start, frames) = (end, 0);
            too_large += 1;
        } else {
            frames += 1;
        }
        at = end;
    }
    if frames > 0 {
        parts.push((part(start, at), frames));
    }
    (parts, too_large)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use netcluster_wire::{Kind, frame};

    use super::*;

    #[test]
    fn a_run_is_parted_where_an_event_is_too_large() {
        let mut bytes = vec![0; 7];
        for (sequence, length) in [5, 9, 10, 20, 1, 30].into_iter().enumerate() {
            let payload = vec![b'x'; length];
            bytes.extend(frame::encode(Kind::Event, Source::NONE, sequence as u64, b"n", &payload));
        }
        let end = bytes.len();
        let run = Slice::new(Bytes::from(bytes), 7, end);
        let (parts, too_large) = fitting(&run, 10);
        assert_eq!(too_large, 2);
        assert_eq!(parts.iter().map(|(_, frames)| *frames).collect::<Vec<_>>(), [3, 1]);
        let frame_bytes = |payload: usize| {
            frame::encode(Kind::Event, Source::NONE, 0, b"n", &vec![0; payload]).len()
        };
        let lengths: Vec<usize> = parts.iter().map(|(part, _)| part.len()).collect();
        assert_eq!(lengths, [frame_bytes(5) + frame_bytes(9) + frame_bytes(10), frame_bytes(1)]);
        assert_eq!(fitting(&run, 30).0.len(), 1);
        let (parts, too_large) = fitting(&run, 0);
        assert_eq!((parts.len(), too_large), (0, 6));
    }
}
