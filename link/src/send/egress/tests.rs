//! One stream as a script: what goes in, and what datagrams come out.

mod any_sequence;
mod reader;

use std::sync::Arc;

use bytes::Bytes;
use netcluster_platform::Slice;
use netcluster_wire::link::DataHeader;
use netcluster_wire::{Kind, Source, frame};

use super::history::MAX_BATCH_BYTES;
use super::{Egress, EgressConfig};
use crate::channel::{ChannelHash, LinkChannel};
use crate::crypto::audit::Audit;
use crate::crypto::{Key, Keys};
use crate::stream::{Position, StreamId};
use reader::Sent;

const STREAM: StreamId = StreamId::new(3, 0);
const DATAGRAM_BYTES: usize = 1232;
const SOURCE: Source = Source { node: 1, client: 2 };

fn config(slots: usize) -> EgressConfig {
    EgressConfig {
        datagram_bytes: DATAGRAM_BYTES,
        history_bytes: slots * DATAGRAM_BYTES,
        session: *b"session of tests",
        keys: Keys::open_link(),
    }
}

fn open_stream(slots: usize) -> Egress {
    Egress::new(STREAM, &config(slots))
}

/// A stream that is sealed.
fn sealed_stream(slots: usize) -> Egress {
    Egress::new(STREAM, &EgressConfig { keys: keys(), ..config(slots) })
}

fn keys() -> Keys {
    Keys::new(vec![Key::new([5; 32])])
}

fn channel(name: &str) -> Arc<LinkChannel> {
    Arc::new(LinkChannel { name: name.into(), hash: ChannelHash::of(name), stream: STREAM })
}

/// One event frame of this many bytes.
fn event(bytes: usize, fill: u8) -> Vec<u8> {
    let frame = frame::encode(Kind::Event, SOURCE, 7, b"", &vec![fill; bytes - 24]);
    assert_eq!(frame.len(), bytes);
    frame
}

fn events(count: usize, bytes: usize) -> Slice {
    let all: Vec<u8> = (0..count).flat_map(|at| event(bytes, at as u8)).collect();
    Slice::from(Bytes::from(all))
}

/// Sends all there is and returns the datagrams.
fn drain(egress: &mut Egress) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    while let Some(batch) = egress.next_batch(u64::MAX, usize::MAX) {
        datagrams.extend(batch.bytes.chunks(batch.segment).map(<[u8]>::to_vec));
    }
    datagrams
}

fn header(datagram: &[u8]) -> DataHeader {
    *DataHeader::split(datagram).unwrap().0
}

#[test]
fn small_frames_share_a_datagram_behind_the_name_of_their_channel() {
    let mut egress = open_stream(4);
    egress.emit(&channel("a"), &[events(3, 40)], 3);
    assert_eq!(egress.queued_bytes(), 32 + 3 * 40);
    let datagrams = drain(&mut egress);
    assert_eq!(datagrams.len(), 1);
    let header = header(&datagrams[0]);
    assert_eq!((header.number.get(), header.ordinal.get()), (0, 0));
    assert_eq!((header.boundary.get(), header.channel.get()), (0, 0));
    assert_eq!((header.stream.get(), header.key_id.get()), (STREAM.0, 0));
    let mut body = frame::encode(Kind::Channel, Source::NONE, ChannelHash::of("a").0, b"a", b"");
    body.extend_from_slice(events(3, 40).as_bytes());
    assert_eq!(datagrams[0][44..], body);
    assert_eq!(egress.next(), Position { number: 1, ordinal: 3 });
    assert_eq!(egress.queued_bytes(), 0);
}

#[test]
fn a_channel_is_named_once_until_it_changes() {
    let mut egress = open_stream(4);
    let (one, other) = (channel("one"), channel("other"));
    for channel in [&one, &one, &other, &other, &one] {
        egress.emit(channel, &[events(1, 32)], 1);
    }
    let sent: Sent = drain(&mut egress).into_iter().collect();
    assert_eq!(sent.channels_named(), [one.hash, other.hash, one.hash]);
}

#[test]
fn full_datagrams_are_adjacent_and_only_the_last_is_short() {
    let mut egress = open_stream(100);
    egress.emit(&channel("a"), &[events(1, 70_000)], 1);
    let batch = egress.next_batch(u64::MAX, usize::MAX).unwrap();
    assert_eq!((batch.first, batch.segment), (0, DATAGRAM_BYTES));
    assert_eq!(batch.bytes.len(), batch.datagrams as usize * DATAGRAM_BYTES);
    assert_eq!(batch.bytes.len(), MAX_BATCH_BYTES / DATAGRAM_BYTES * DATAGRAM_BYTES);
    let next = u64::from(batch.datagrams);
    let batch = egress.next_batch(u64::MAX, usize::MAX).unwrap();
    assert_eq!(batch.first, next);
    assert_ne!(batch.bytes.len() % DATAGRAM_BYTES, 0, "the open one goes with it");
    assert!(!egress.unsent());
}

#[test]
fn a_batch_ends_at_the_limit_the_allowance_and_the_end_of_the_ring() {
    let mut egress = open_stream(10);
    egress.emit(&channel("a"), &[events(1, 9_000)], 1);
    assert_eq!(egress.next_batch(2, usize::MAX).unwrap().datagrams, 2);
    assert!(egress.next_batch(2, usize::MAX).is_none(), "the limit");
    let allowance = 3 * DATAGRAM_BYTES + DATAGRAM_BYTES - 1;
    assert_eq!(egress.next_batch(u64::MAX, allowance).unwrap().datagrams, 3);
    assert!(egress.next_batch(u64::MAX, 10).is_none(), "less than a datagram");
    assert_eq!(egress.next_batch(u64::MAX, usize::MAX).unwrap().datagrams, 3);
    egress.set_needed(u64::MAX);
    egress.emit(&channel("a"), &[events(1, 9_000)], 1);
    assert_eq!(egress.next_batch(u64::MAX, usize::MAX).unwrap().datagrams, 3, "up to the wrap");
    assert_eq!(egress.next_batch(u64::MAX, usize::MAX).unwrap().first, 11);
}

#[test]
fn the_open_datagram_waits_for_its_turn_below_the_limit() {
    let mut egress = open_stream(4);
    egress.emit(&channel("a"), &[events(1, 40)], 1);
    assert!(egress.next_batch(0, usize::MAX).is_none());
    egress.emit(&channel("a"), &[events(1, 40)], 1);
    assert_eq!(egress.next_batch(1, usize::MAX).unwrap().bytes.len(), 44 + 32 + 80);
}

#[test]
fn datagrams_change_their_size_and_more_small_ones_are_kept() {
    let large = 3 * DATAGRAM_BYTES;
    let config = EgressConfig { datagram_bytes: large, history_bytes: 4 * large, ..config(0) };
    let mut egress = Egress::new(STREAM, &config);
    let a = channel("a");
    let lengths =
        |egress: &mut Egress| -> Vec<usize> { drain(egress).iter().map(Vec::len).collect() };
    egress.emit(&a, &[events(1, 2 * large)], 1);
    egress.set_datagram_bytes(DATAGRAM_BYTES);
    egress.emit(&a, &[events(1, DATAGRAM_BYTES + 504)], 1);
    let sent = lengths(&mut egress);
    assert_eq!(sent[..2], [large; 2]);
    assert_eq!(sent[3], DATAGRAM_BYTES, "{sent:?}");
    assert!(sent[2] < DATAGRAM_BYTES, "the one that was begun is closed: {sent:?}");
    assert_eq!(sent.len(), 4, "all that is kept");
    // While a large one is kept no more than four are; then more.
    egress.set_needed(u64::MAX);
    egress.emit(&a, &[events(1, 30 * DATAGRAM_BYTES)], 1);
    let sent = lengths(&mut egress);
    assert!(sent[..30].iter().all(|length| *length == DATAGRAM_BYTES), "{sent:?}");
    let next = egress.next().number;
    assert_eq!(egress.tail(), next - 14);
    // And as few as before, once they are large again.
    egress.set_datagram_bytes(large);
    egress.emit(&a, &[events(1, 6 * large)], 1);
    assert!(lengths(&mut egress).contains(&large));
    assert_eq!(egress.tail(), egress.next().number - 4);
}

#[test]
fn a_promised_place_holds_although_the_size_changes() {
    let config = EgressConfig { datagram_bytes: 2 * DATAGRAM_BYTES, ..config(4) };
    let mut egress = Egress::new(STREAM, &config);
    let a = channel("a");
    egress.emit(&a, &[events(1, 20_000)], 1);
    assert!(egress.is_blocked());
    let join = egress.join_point();
    egress.set_datagram_bytes(DATAGRAM_BYTES);
    egress.emit(&a, &[events(1, 4_000)], 1);
    egress.set_needed(u64::MAX);
    let datagrams = drain(&mut egress);
    assert_eq!(datagrams[0].len(), 2 * DATAGRAM_BYTES);
    assert_eq!(datagrams[join.number as usize].len(), DATAGRAM_BYTES);
    let sent: Sent = datagrams.into_iter().collect();
    sent.check_join(join);
}

#[test]
fn a_full_ring_blocks_until_history_is_given_up() {
    let mut egress = open_stream(4);
    let large = events(1, 20_000);
    egress.emit(&channel("a"), std::slice::from_ref(&large), 1);
    assert!(egress.is_blocked());
    let mut sent = Sent::default();
    sent.extend(drain(&mut egress));
    assert_eq!(sent.len(), 4, "all is needed still");
    assert!(egress.is_blocked());
    assert!(!egress.unsent());
    egress.set_needed(3);
    assert!(egress.unsent());
    sent.extend(drain(&mut egress));
    assert_eq!(sent.len(), 7);
    assert_eq!(egress.tail(), 3);
    assert!(egress.datagram(2).is_none(), "overwritten");
    egress.set_needed(u64::MAX);
    sent.extend(drain(&mut egress));
    assert!(!egress.is_blocked());
    assert_eq!(sent.events()[0].bytes, large.as_bytes());
}

#[test]
fn what_waits_pins_no_receive_pool() {
    let mut egress = open_stream(2);
    let chunk = Bytes::from(events(1, 8_000).as_bytes().to_vec());
    egress.emit(&channel("a"), &[Slice::pooled(chunk.clone(), 0, 8_000)], 1);
    assert!(egress.is_blocked());
    assert!(chunk.is_unique());
}

#[test]
fn frames_that_nobody_wants_advance_the_ordinal_alone() {
    let mut egress = open_stream(8);
    let a = channel("a");
    egress.emit(&a, &[events(2, 40)], 2);
    egress.skip(5);
    egress.skip(1);
    assert_eq!(egress.next(), Position { number: 0, ordinal: 0 }, "what is laid out comes first");
    egress.emit(&a, &[events(1, 40)], 1);
    let datagrams = drain(&mut egress);
    let ordinals: Vec<u64> = datagrams.iter().map(|each| header(each).ordinal.get()).collect();
    assert_eq!(ordinals, [0, 8]);
    egress.skip(1);
    assert_eq!(egress.next(), Position { number: 2, ordinal: 10 }, "heartbeats tell");
}

#[test]
fn a_skip_behind_a_waiting_frame_keeps_its_place() {
    let mut egress = open_stream(2);
    let a = channel("a");
    egress.emit(&a, &[events(1, 8_000)], 1);
    egress.skip(3);
    egress.skip(1);
    egress.emit(&a, &[events(1, 40)], 1);
    egress.set_needed(u64::MAX);
    let datagrams = drain(&mut egress);
    assert_eq!(header(datagrams.last().unwrap()).ordinal.get(), 5);
}

#[test]
fn a_join_point_begins_a_datagram_with_the_channel() {
    let mut egress = open_stream(8);
    let a = channel("a");
    egress.emit(&a, &[events(2, 40)], 2);
    let join = egress.join_point();
    assert_eq!(join, Position { number: 1, ordinal: 2 });
    assert_eq!(egress.join_point(), join, "twice is once");
    egress.emit(&a, &[events(1, 40)], 1);
    let sent: Sent = drain(&mut egress).into_iter().collect();
    sent.check_join(join);
    assert_eq!(sent.events()[2].datagram, join.number);
}

#[test]
fn a_join_point_lies_behind_a_frame_that_is_partly_laid_out() {
    // So that the frame ends within a datagram, or with one.
    let body = DATAGRAM_BYTES - 44;
    for bytes in [8_000, 6 * body - 32] {
        let mut egress = open_stream(2);
        let a = channel("a");
        egress.emit(&a, &[events(1, bytes)], 1);
        egress.skip(2);
        egress.emit(&a, &[events(1, 40)], 1);
        let join = egress.join_point();
        assert_eq!(join.ordinal, 3, "what is skipped is not owed");
        assert_eq!(egress.join_point(), join);
        egress.set_needed(u64::MAX);
        let sent: Sent = drain(&mut egress).into_iter().collect();
        sent.check_join(join);
        assert_eq!(sent.events()[1].datagram, join.number);
        assert_eq!(sent.channels_named(), [a.hash; 2]);
    }
}

#[test]
fn a_join_point_behind_a_channel_frame_that_is_cut_names_it_again() {
    let mut egress = open_stream(2);
    let body = DATAGRAM_BYTES - 44;
    let (a, long) = (channel("a"), channel(&"x".repeat(200)));
    // 16 bytes stay free in the last slot.
    egress.emit(&a, &[events(1, 2 * body - 32 - 16)], 1);
    egress.emit(&long, &[events(1, 40)], 1);
    assert!(egress.is_blocked());
    let join = egress.join_point();
    assert_eq!(join, Position { number: 3, ordinal: 1 });
    egress.set_needed(u64::MAX);
    let sent: Sent = drain(&mut egress).into_iter().collect();
    sent.check_join(join);
    assert_eq!(sent.channels_named(), [a.hash, long.hash, long.hash]);
}

#[test]
fn what_the_socket_did_not_take_goes_out_again_unchanged() {
    let _audit = Audit::start();
    let mut egress = sealed_stream(8);
    egress.emit(&channel("a"), &[events(1, 5_000)], 1);
    let queued = egress.queued_bytes();
    let batch = egress.next_batch(u64::MAX, usize::MAX).unwrap();
    let (before, datagrams) = (batch.bytes.to_vec(), batch.datagrams);
    assert_eq!(datagrams, 5);
    egress.unsend(2);
    assert!(egress.datagram(2).is_none());
    assert!(egress.datagram(1).is_some());
    egress.unsend(0);
    assert!(egress.queued_bytes() > queued, "headers and tags count once they are there");
    assert_eq!(egress.next(), Position::default());
    assert_eq!(egress.next_batch(u64::MAX, usize::MAX).unwrap().bytes, before);
}

#[test]
fn a_repair_has_the_bytes_that_were_sent_until_they_are_overwritten() {
    let _audit = Audit::start();
    let mut egress = sealed_stream(4);
    let a = channel("a");
    egress.emit(&a, &[events(1, 3_000)], 1);
    assert!(egress.datagram(0).is_none(), "not sent yet");
    let datagrams = drain(&mut egress);
    for (number, datagram) in datagrams.iter().enumerate() {
        assert_eq!(egress.datagram(number as u64).unwrap(), datagram);
        assert_eq!(header(datagram).key_id.get(), keys().id());
    }
    assert!(egress.datagram(datagrams.len() as u64).is_none());
    egress.set_needed(u64::MAX);
    egress.emit(&a, &[events(1, 4_000)], 1);
    drain(&mut egress);
    assert!(egress.datagram(1).is_none(), "gone");
    assert!(egress.datagram(5).is_some(), "its slot is another's now");
}

#[test]
fn what_is_discarded_leaves_its_numbers_and_ordinals_used() {
    let mut egress = open_stream(4);
    let a = channel("a");
    egress.emit(&a, &[events(2, 40)], 2);
    egress.emit(&a, &[events(1, 20_000)], 1);
    egress.skip(2);
    egress.emit(&a, &[events(4, 40)], 4);
    egress.discard_unsent();
    assert!(!egress.unsent());
    assert!(!egress.is_blocked());
    assert_eq!(egress.queued_bytes(), 0);
    let next = egress.next();
    assert_eq!(next, Position { number: 5, ordinal: 9 }, "one number shows that a frame is cut");
    assert_eq!(egress.tail(), 5);
    egress.discard_unsent();
    assert_eq!(egress.next(), next, "nothing left to forget");
    egress.emit(&a, &[events(1, 40)], 1);
    let datagrams = drain(&mut egress);
    assert_eq!((header(&datagrams[0]).number.get(), header(&datagrams[0]).ordinal.get()), (5, 9));
    assert_eq!(header(&datagrams[0]).channel.get(), a.hash.0, "in force, but named again");
    assert_eq!(header(&datagrams[0]).boundary.get(), 0);
    assert_eq!(datagrams[0].len(), 44 + 32 + 40);
}
