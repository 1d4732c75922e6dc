use super::*;
use netcluster_wire::frame::encode;
use netcluster_wire::header::frame_len;

const SOURCE: Source = Source { node: 1, client: 2 };
const FRAME_BYTES: usize = frame_len(1, 100);

/// Returns `count` events in one slice, numbered from `first`.
fn events(first: u64, count: u64) -> Slice {
    let frames: Vec<u8> = (first..first + count)
        .flat_map(|sequence| encode(Kind::Event, SOURCE, sequence, b"e", &[7; 100]))
        .collect();
    Slice::from(Bytes::from(frames))
}

/// Starts a send; returns what is under way.
fn batch(queue: &mut Outbound) -> Vec<u8> {
    let rest = queue.start_send();
    let mut batch = rest.map(|rest| rest.as_bytes().to_vec()).unwrap_or_default();
    queue.whole_slices().for_each(|slice| batch.extend_from_slice(slice.as_bytes()));
    batch
}

/// Sends all, in steps of at most `step` bytes; returns the bytes.
fn drain(queue: &mut Outbound, step: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while queue.can_send() {
        let batch = batch(queue);
        let take = batch.len().min(step);
        out.extend_from_slice(&batch[..take]);
        queue.sent(take, false);
    }
    assert!(queue.is_empty());
    out
}

fn frames(mut bytes: &[u8]) -> Vec<(Kind, u64)> {
    let mut out = Vec::new();
    while let Some(frame) = netcluster_wire::Frame::read(bytes, 1 << 20).unwrap() {
        out.push((frame.kind(), frame.sequence()));
        bytes = &bytes[frame.as_bytes().len()..];
    }
    assert!(bytes.is_empty());
    out
}

#[test]
fn bytes_come_out_as_they_went_in_whatever_the_socket_takes() {
    for step in [1, 7, 100, 1000, usize::MAX] {
        let mut queue = Outbound::new(1 << 20, &Budget::new(usize::MAX));
        let whole = events(1, 10);
        for at in 0..10 {
            let start = at * FRAME_BYTES;
            queue.push(&Slice::new(whole.chunk().clone(), start, start + FRAME_BYTES));
        }
        assert_eq!(queue.ranges(), 1, "adjacent runs of one chunk are one range");
        queue.push(&events(11, 1));
        assert_eq!(frames(&drain(&mut queue, step)).len(), 11);
    }
}

#[test]
fn a_queue_is_full_from_its_mark_until_it_is_half_empty() {
    let budget = Budget::new(usize::MAX);
    // Two ranges, each with a place in the list.
    let mark = 10 * FRAME_BYTES + 2 * ENTRY_BYTES;
    let mut queue = Outbound::new(mark, &Budget::new(usize::MAX));
    queue.push(&events(1, 9));
    assert!(!queue.fills(&budget));
    queue.push(&events(10, 1));
    assert!(queue.fills(&budget));
    assert!(!queue.fills(&budget), "only once");
    batch(&mut queue);
    queue.sent(4 * FRAME_BYTES, false);
    assert!(!queue.drained());
    assert!(queue.is_full());
    batch(&mut queue);
    queue.sent(2 * FRAME_BYTES, false);
    assert!(queue.drained());
    assert!(!queue.is_full());
}

#[test]
fn latest_loses_the_oldest_whole_frames_and_says_how_many() {
    for half_sent in [0, 1, FRAME_BYTES, FRAME_BYTES + 50] {
        let mut queue = Outbound::new(8 * FRAME_BYTES, &Budget::new(usize::MAX));
        queue.push(&events(1, 4));
        let mut bytes = Vec::new();
        if half_sent > 0 {
            bytes.extend_from_slice(&batch(&mut queue)[..half_sent]);
            queue.sent(half_sent, false);
        }
        queue.push(&events(5, 20));
        let dropped = queue.drop_oldest(queue.limit_bytes());
        assert!(dropped > 0);
        bytes.extend(drain(&mut queue, 64));
        let found = frames(&bytes);
        let told: u64 =
            found.iter().filter(|(kind, _)| *kind == Kind::Lost).map(|(_, count)| count).sum();
        let kept: Vec<u64> = found
            .iter()
            .filter(|(kind, _)| *kind == Kind::Event)
            .map(|(_, sequence)| *sequence)
            .collect();
        assert_eq!(told, dropped);
        assert_eq!(kept.len() as u64 + dropped, 24);
        assert_eq!(*kept.last().unwrap(), 24, "the newest is kept");
        assert!(kept.is_sorted());
    }
}

#[test]
fn repeated_drops_add_up_in_one_notice_and_spare_control_frames() {
    let mut queue = Outbound::new(8 * FRAME_BYTES, &Budget::new(usize::MAX));
    let ack = Slice::from(Bytes::from(encode(Kind::Ack, SOURCE, 77, b"", b"")));
    queue.push(&events(1, 4));
    queue.push(&ack);
    let mut dropped = 0;
    for round in 0..10 {
        queue.push(&events(5 + round * 6, 6));
        dropped += queue.drop_oldest(queue.limit_bytes());
    }
    let found = frames(&drain(&mut queue, usize::MAX));
    let notices: Vec<_> = found.iter().filter(|(kind, _)| *kind == Kind::Lost).collect();
    assert_eq!(notices, [&(Kind::Lost, dropped)]);
    assert!(found.contains(&(Kind::Ack, 77)));
    assert_eq!(queue.dropped, dropped);
}

#[test]
fn a_control_frame_in_pieces_is_spared_whole() {
    let mut queue = Outbound::new(8 * FRAME_BYTES, &Budget::new(usize::MAX));
    let status = Bytes::from(encode(Kind::Stats, SOURCE, 77, b"", &[b' '; 200]));
    queue.push(&events(1, 2));
    queue.push_pieces(&[Slice::from(status.slice(..24)), Slice::from(status.slice(24..))]);
    queue.push(&events(3, 20));
    let dropped = queue.drop_oldest(queue.limit_bytes());
    let found = frames(&drain(&mut queue, 30));
    assert!(found.contains(&(Kind::Stats, 77)));
    let kept = found.iter().filter(|(kind, _)| *kind == Kind::Event).count() as u64;
    assert_eq!(kept + dropped, 22);
}

#[test]
fn a_frame_in_pieces_is_dropped_or_kept_as_a_whole() {
    let budget = Budget::new(usize::MAX);
    for split in [40, 64, 100] {
        let mut queue = Outbound::new(8 * FRAME_BYTES, &Budget::new(usize::MAX));
        let frame = events(1, 1);
        let pieces = [
            Slice::from(frame.chunk().slice(..split)),
            Slice::from(frame.chunk().slice(split..split + 8)),
            Slice::from(frame.chunk().slice(split + 8..)),
        ];
        queue.push_pieces(&pieces);
        queue.push(&events(2, 2));
        batch(&mut queue);
        queue.sent(split + 4, false);
        queue.push_pieces(&pieces);
        queue.push(&events(4, 9));
        assert!(queue.fills(&budget));
        let dropped = queue.drop_oldest(queue.limit_bytes());
        let rest = drain(&mut queue, 50);
        let head = &frame.as_bytes()[..split + 4];
        let found = frames(&[head, &rest].concat());
        let kept = found.iter().filter(|(kind, _)| *kind == Kind::Event).count() as u64;
        assert_eq!(kept + dropped, 13);
    }
}

#[test]
fn truncating_keeps_the_frame_that_is_half_sent() {
    for (sent, kept) in [(0, 0), (1, 1), (FRAME_BYTES, 1), (FRAME_BYTES + 1, 2)] {
        let mut queue = Outbound::new(1 << 20, &Budget::new(usize::MAX));
        queue.push(&events(1, 5));
        let mut bytes = Vec::new();
        if sent > 0 {
            bytes.extend_from_slice(&batch(&mut queue)[..sent]);
            queue.sent(sent, false);
        }
        queue.truncate();
        bytes.extend(drain(&mut queue, usize::MAX));
        assert_eq!(frames(&bytes).len(), kept, "{sent} bytes were sent");
    }
}

#[test]
fn the_newest_frame_is_kept_even_if_it_is_over_the_limit() {
    let mut queue = Outbound::new(50, &Budget::new(usize::MAX));
    queue.push(&events(1, 1));
    assert_eq!(queue.drop_oldest(queue.limit_bytes()), 0);
    queue.push(&events(2, 1));
    assert_eq!(queue.drop_oldest(queue.limit_bytes()), 1);
    let found = frames(&drain(&mut queue, usize::MAX));
    assert_eq!(found, [(Kind::Lost, 1), (Kind::Event, 2)]);
}

#[test]
fn copies_of_one_chunk_are_shared_and_charged_once() {
    let budget = Budget::new(usize::MAX);
    let chunk = events(1, 10).chunk().clone();
    let mut queues = [
        Outbound::new(1 << 20, &Budget::new(usize::MAX)),
        Outbound::new(1 << 20, &Budget::new(usize::MAX)),
    ];
    queues[0].push(&Slice::pooled(chunk.clone(), 0, 3 * FRAME_BYTES));
    queues[1].push(&Slice::pooled(chunk.clone(), 2 * FRAME_BYTES, 4 * FRAME_BYTES));
    let mut copies = Copies::new(budget.clone());
    queues.iter().for_each(|queue| queue.pooled().for_each(|slice| copies.note(slice)));
    queues.iter_mut().for_each(|queue| queue.copy_out(&mut copies));
    assert_eq!(copies.copied_bytes as usize, 4 * FRAME_BYTES);
    drop(copies);
    assert!(chunk.is_unique(), "nothing pins the chunk");
    assert!(budget.used_bytes() >= 4 * FRAME_BYTES);
    assert_eq!(frames(&drain(&mut queues[0], 9)).len(), 3);
    assert_eq!(frames(&drain(&mut queues[1], 9)).len(), 2);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn what_a_full_queue_missed_is_told_before_the_next_event() {
    let budget = Budget::new(1 << 30);
    let mut queue = Outbound::new(FRAME_BYTES * 4, &Budget::new(usize::MAX));
    queue.push(&events(1, 4));
    assert!(queue.fills(&budget));
    queue.miss(&[events(5, 3)]);
    queue.push_lost(SOURCE, Some(2), LossReason::Link);
    queue.push(&events(10, 1));
    let got = frames(&drain(&mut queue, usize::MAX));
    let kinds: Vec<_> = got[3..].to_vec();
    assert_eq!(kinds, [(Kind::Event, 4), (Kind::Lost, 5), (Kind::Event, 10)]);
    assert_eq!(queue.dropped, 3);
}

#[test]
fn what_a_full_queue_missed_is_told_when_it_has_drained() {
    let budget = Budget::new(1 << 30);
    let mut queue = Outbound::new(FRAME_BYTES * 4, &Budget::new(usize::MAX));
    queue.push(&events(1, 4));
    assert!(queue.fills(&budget));
    queue.miss(&[events(5, 1)]);
    queue.push_lost(SOURCE, None, LossReason::Peer);
    let sent = drain(&mut queue, usize::MAX);
    assert_eq!(frames(&sent).len(), 4);
    assert!(queue.drained());
    assert_eq!(frames(&drain(&mut queue, usize::MAX)), [(Kind::Lost, 0)], "an unknown number");
}

/// What broke: a list of many short ranges took many times what they held, and none of
/// it counted.
#[test]
fn the_list_counts_as_its_ranges_do() {
    const LIMIT: usize = 64 << 10;
    let budget = Budget::new(usize::MAX);
    for latest in [false, true] {
        let mut queue = Outbound::new(LIMIT, &budget);
        let mut most = 0;
        for number in 1..10_000 {
            queue.push(&events(number, 1));
            if latest && queue.held_bytes() > LIMIT {
                queue.drop_oldest(LIMIT);
            } else if queue.fills(&budget) {
                break;
            }
            most = most.max(budget.used_bytes());
        }
        assert!(queue.queued_bytes() < LIMIT, "half of it is the list");
        assert!((LIMIT / 4..2 * LIMIT).contains(&most), "{most} bytes of list");
        assert!(budget.used_bytes() >= queue.ranges() * ENTRY_BYTES);
        let mut remains = queue.into_remains();
        let ranges = remains.entries.len();
        assert_eq!(remains.drop_some(10), 10);
        assert!(!remains.is_empty() && budget.used_bytes() > 0);
        assert_eq!(remains.drop_some(usize::MAX), ranges - 10);
        drop(remains);
        assert_eq!(budget.used_bytes(), 0);
    }
}

/// An offer of memory overtook the welcome, of which a client knows whether it may be offered.
#[test]
fn nothing_goes_ahead_of_a_welcome_or_within_a_frame() {
    let mut queue = Outbound::new(1 << 20, &Budget::new(usize::MAX));
    assert!(queue.is_between_frames());
    queue.push(&Slice::from(Bytes::from(encode(Kind::Welcome, SOURCE, 0, b"", b""))));
    queue.push(&events(1, 2));
    assert!(!queue.is_between_frames(), "the welcome is first");
    let welcome_bytes = frame_len(0, 0);
    batch(&mut queue);
    queue.sent(welcome_bytes, false);
    assert!(queue.is_between_frames());
    batch(&mut queue);
    assert!(!queue.is_between_frames(), "a send is under way");
    queue.sent(FRAME_BYTES + 8, false);
    assert!(!queue.is_between_frames(), "a frame is half sent");
    batch(&mut queue);
    queue.sent(FRAME_BYTES - 8, true);
    assert!(!queue.is_between_frames(), "there is no room");
}
