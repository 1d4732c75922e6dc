//! Tests of who is waited for, and how long.

use netcluster_platform::Conn;

use super::*;
use crate::target::ShardId;

fn ns(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn source(client: u32) -> Source {
    Source { node: 7, client }
}

fn listening(source: Source) -> Listening {
    Listening {
        channel: "a".into(),
        source,
        before: source,
        patterns: 2,
        absent: Duration::ZERO,
        has_missed: false,
    }
}

fn record_of_two() -> Record {
    let mut record = Record::of(7);
    record.add(&[listening(source(1)), listening(source(2))]);
    record
}

#[test]
fn a_record_survives_its_bytes_and_anything_else_is_none() {
    assert_eq!(Record::decode(&record_of_two().encode()), record_of_two());
    assert_eq!(Record::decode(b""), Record::default());
    assert_eq!(Record::decode(b"{\"nodes\":[1]}"), Record::default());
    assert_eq!(record_of_two().patterns_of("a", source(2)), 2);
    assert_eq!(
        record_of_two().patterns_of("a", Source { node: 8, client: 2 }),
        0,
        "of another broker"
    );
    assert_eq!(record_of_two().patterns_of("b", source(2)), 0, "of another channel");
    assert!(record_of_two().knows(7) && !record_of_two().knows(8) && !Record::default().knows(0));
}

#[test]
fn a_channel_is_held_until_all_are_back() {
    let mut returning = Returning::new(&record_of_two(), ns(0), MAX_HOLD);
    assert!(returning.holds("a", ns(0)) && !returning.holds("b", ns(0)));
    assert!(!returning.is_back("a", source(1)));
    assert!(!returning.is_back("a", source(1)), "the same one again");
    assert!(returning.is_back("a", source(2)));
    returning.release("a");
    assert!(!returning.is_awaiting(ns(1)));
}

/// Leaves the record of a broker that found one, and so much later heard of these.
fn passed_on(found: &Record, node: u32, after: Duration, heard: &[Listening]) -> Record {
    let returning = Returning::new(found, ns(0), MAX_HOLD);
    let mut left = Record::of(node);
    left.add_nodes(found);
    // As shards happen to end.
    let absent = returning.absent(ns(after.as_nanos() as u64));
    let parts = if node.is_multiple_of(2) { [heard, &absent] } else { [&absent, heard] };
    parts.iter().for_each(|part| left.add(part));
    Record::decode(&left.encode())
}

#[test]
fn whoever_is_not_back_stands_in_the_next_record_for_a_bounded_time() {
    let run = Duration::from_millis(2400);
    let mut record = record_of_two();
    let mut absent = Duration::ZERO;
    for node in 8.. {
        record = passed_on(&record, node, run, &[]);
        absent += run;
        assert_eq!(record.node(), node);
        assert!(record.knows(7) && record.knows(node));
        if absent > MAX_ABSENCE {
            break;
        }
        assert_eq!((record.len(), record.patterns_of("a", source(1))), (2, 2));
        assert!(Returning::new(&record, ns(0), MAX_HOLD).holds("a", ns(1)));
    }
    assert!(record.is_empty());
    let late = passed_on(&record_of_two(), 8, HOLD_WINDOW, &[]);
    assert!(late.is_empty() && late.knows(7), "it waited for its whole window");
}

/// Events that one broker let go on the next one cannot have kept.
#[test]
fn whoever_was_waited_for_no_longer_is_waited_for_again_but_promised_nothing() {
    let mut returning = Returning::new(&record_of_two(), ns(0), MAX_HOLD);
    let passed_on = |returning: &Returning| {
        let mut left = Record::of(8);
        left.add(&returning.absent(ns(10)));
        Record::decode(&left.encode())
    };
    assert!(passed_on(&returning).has_kept_all_for("a", source(1)));
    returning.release("a");
    let record = passed_on(&returning);
    assert_eq!(record.patterns_of("a", source(1)), 2);
    assert!(!record.has_kept_all_for("a", source(1)));
    assert!(!record.has_kept_all_for("a", source(3)), "nobody knows it");
}

#[test]
fn whoever_is_back_in_part_is_waited_for_as_what_it_is_now() {
    for node in [8, 9] {
        let now = Source { node, client: 40 };
        let back = Listening { before: source(1), ..listening(now) };
        let record = passed_on(&record_of_two(), node, Duration::from_millis(30), &[back]);
        assert_eq!(record.len(), 2);
        assert_eq!(record.patterns_of("a", now), 2);
        assert_eq!(record.patterns_of("a", source(1)), 0);
        assert_eq!(record.patterns_of("a", source(2)), 2);
    }
}

#[test]
fn a_record_has_a_bounded_number_of_clients() {
    let mut record = Record::of(7);
    let many: Vec<_> = (1..70_000).map(|client| listening(source(client))).collect();
    record.add(&many);
    assert_eq!(record.len(), 65_536);
    // Whoever is in it can take the place of what it was.
    let before = Listening { absent: Duration::from_secs(1), ..listening(source(1)) };
    let mut record = Record::of(8);
    record.add(&[before]);
    record.add(&many);
    assert_eq!(record.len(), 65_536);
}

/// Nobody knows who was there when a broker crashed: its successor's successor waits as the
/// successor did.
#[test]
fn a_hold_without_a_record_is_passed_on() {
    let mut returning = Returning::new(&Record::default(), ns(0), MAX_HOLD);
    assert!(!returning.is_awaiting(ns(0)));
    returning.begin(&"a".into(), ns(5)).expect("it is soon enough");
    let mut left = Record::of(8);
    left.add(&returning.absent(ns(10)));
    let next = Returning::new(&Record::decode(&left.encode()), ns(0), MAX_HOLD);
    assert!(next.holds("a", ns(1)));
}

#[test]
fn an_event_waits_for_its_longest_time_and_the_window_ends() {
    let emitter = Target { shard: ShardId(0), conn: Conn(0), client: 9 };
    let mut returning = Returning::new(&record_of_two(), ns(0), MAX_HOLD);
    let late = ns(HOLD_WINDOW.as_nanos() as u64 - 1);
    let until = returning.wait("a", emitter, late).unwrap();
    assert_eq!(until, late + MAX_HOLD.as_nanos() as u64);
    assert_eq!(returning.wait("a", emitter, late + 1), None);
    assert!(returning.holds("a", until.saturating_sub(1)), "what waits is not let go early");
    assert_eq!(returning.overdue(until), [Arc::from("a")]);
    assert_eq!(returning.release("a"), [emitter]);
    let idle = Returning::new(&record_of_two(), ns(0), MAX_HOLD);
    assert!(!idle.holds("a", late + 1), "nobody emitted in time");
    assert_eq!(idle.overdue(late), [], "not before");
    assert_eq!(idle.overdue(idle.window_end().unwrap()), [Arc::from("a")]);
}

#[test]
fn without_a_record_a_channel_is_held_once_and_only_soon_after_the_start() {
    let mut returning = Returning::new(&Record::default(), ns(0), MAX_HOLD);
    let channel: Arc<str> = "a".into();
    assert_eq!(returning.begin(&channel, ns(5)), Some(ns(5) + MAX_HOLD.as_nanos() as u64));
    assert!(returning.holds("a", ns(6)));
    returning.release("a");
    assert_eq!(returning.begin(&channel, ns(7)), None);
    let late = ns(HOLD_WINDOW.as_nanos() as u64);
    assert_eq!(Returning::new(&Record::default(), ns(0), MAX_HOLD).begin(&channel, late), None);
}
