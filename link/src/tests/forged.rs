//! Datagrams in the name of a peer, on an open link: what they say is not true, and what is
//! lost by it is told.

use core::net::SocketAddr;

use netcluster_wire::link::{Beat, ControlKind, Heartbeat, Interest, Joined, Leave, Place};

use super::addresses::sealed;
use super::mesh::*;
use crate::crypto::{ControlSealer, Keys};
use crate::event::Gone;
use crate::stream::Position;

const FAR: u64 = 1 << 40;

/// Places in the header of a data datagram.
const NUMBER: core::ops::Range<usize> = 16..24;

fn stranger() -> SocketAddr {
    SocketAddr::from(([10, 9, 9, 9], 999))
}

/// A control datagram in the name of a node.
fn of(mesh: &Mesh, node: usize, kind: ControlKind, encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let session = mesh.nodes[node].link.local.session;
    sealed(&mut ControlSealer::new(&Keys::open_link(), &session), &session, kind, encode)
}

fn stream(mesh: &Mesh) -> u16 {
    mesh.nodes[0].link.local.stream_map.stream_of(CHANNEL).0
}

/// Position of node 0's stream.
fn position(mesh: &Mesh) -> Position {
    let stream = mesh.nodes[0].link.local.stream_map.stream_of(CHANNEL);
    mesh.nodes[0].link.outbound.get(stream).map_or(Position::default(), |it| it.egress.next())
}

/// Tells node 1 that node 0's stream is elsewhere than it is.
fn forge_heartbeat(mesh: &mut Mesh, change: impl FnOnce(&mut Beat)) {
    let Position { number, ordinal } = position(mesh);
    let mut beat = Beat { stream: stream(mesh), poll: false, next: number, tail: 0, ordinal };
    change(&mut beat);
    let bytes = of(mesh, 0, ControlKind::Heartbeat, |out| Heartbeat::encode(1, &[beat], out));
    mesh.inject(1, stranger(), true, &bytes);
}

/// Brings node 1 a datagram of node 0 once more, with another number.
fn forge_data(mesh: &mut Mesh, ahead: u64) {
    mesh.recorded = Some(Vec::new());
    mesh.emit(0, CHANNEL, 1);
    mesh.run_ms(5);
    let recorded = mesh.recorded.take().expect("recorded");
    let (_, _, mut bytes) = recorded.into_iter().find(|(_, _, bytes)| bytes[2] == 1).expect("data");
    let number = u64::from_le_bytes(bytes[NUMBER].try_into().expect("8 bytes"));
    bytes[NUMBER].copy_from_slice(&(number + ahead).to_le_bytes());
    mesh.inject(1, stranger(), true, &bytes);
}

/// Every event of node 0 came to node 1 or was told as lost, and the newest ones came.
fn assert_told(mesh: &Mesh, newest: u64) {
    let (events, losses) = mesh.seen(1, 0, CHANNEL);
    let sent = mesh.nodes[0].sequence;
    assert!(events.is_sorted_by(|a, b| a < b));
    assert!(events.ends_with(&(sent - newest + 1..=sent).collect::<Vec<_>>()), "{events:?}");
    let missed = sent - events.len() as u64;
    let told: u64 = losses.iter().map(|count| count.unwrap_or(u64::MAX / 2)).sum();
    assert!(told >= missed, "{missed} missed, told {losses:?}");
}

/// Regression: the stream was deaf for good, since what it skipped nobody had sent yet.
#[test]
fn a_heartbeat_far_ahead_loses_nothing() {
    for (next, tail) in [(FAR, FAR), (FAR, 0), (1_000_000, 1_000_000), (2000, 2000), (2000, 0)] {
        for loss_permille in [0, 50] {
            let mut mesh = Mesh::with_listener(1, 2);
            mesh.loss_permille = loss_permille;
            for round in 0..2000 {
                if round % 400 == 100 {
                    forge_heartbeat(&mut mesh, |beat| {
                        (beat.next, beat.tail) = (beat.next + next, tail);
                    });
                }
                // From time to time nothing is sent for so long that nothing is under way.
                mesh.emit(0, CHANNEL, u64::from(round % 500 > 20));
                mesh.run_ms(3);
            }
            mesh.run_ms(1000);
            mesh.assert_seen(1, 0, CHANNEL, 1..=mesh.nodes[0].sequence);
            assert_eq!(mesh.nodes[1].link.counters().given_up, 0);
            assert_eq!(mesh.nodes[1].peers()[0].streams[0].missing, 0);
        }
    }
}

#[test]
fn an_ordinal_far_ahead_hides_no_loss_behind_it() {
    let mut mesh = Mesh::new(1);
    for index in 0..2 {
        mesh.start_listening(crate::LinkConfig { history_bytes: 100_000, ..config(index) });
    }
    mesh.run_ms(300);
    mesh.emit(0, CHANNEL, 10);
    mesh.run_ms(100);
    forge_heartbeat(&mut mesh, |beat| beat.ordinal += FAR);
    mesh.run_ms(100);
    assert_eq!(mesh.seen(1, 0, CHANNEL).1, [None], "it is believed, as a loss");
    for _ in 0..10 {
        mesh.emit(0, CHANNEL, 1);
        mesh.run_ms(5);
    }
    mesh.reaches = |from, to, _| from == to;
    for _ in 0..100 {
        mesh.emit(0, CHANNEL, 100);
        mesh.run_ms(10);
    }
    mesh.reaches = |_, _, _| true;
    mesh.run_ms(1000);
    mesh.emit(0, CHANNEL, 10);
    mesh.run_ms(1000);
    let (events, losses) = mesh.seen(1, 0, CHANNEL);
    let missed = mesh.nodes[0].sequence - events.len() as u64;
    assert!(missed > 0);
    // Once more unknown when it turns out to be wrong; then counted.
    assert!(losses[2..].iter().all(Option::is_some), "{losses:?}");
    assert!(losses[2..].iter().flatten().sum::<u64>() >= missed, "{losses:?}");
}

/// A datagram far ahead, kept or not, gives nothing up that was not sent yet.
#[test]
fn data_far_ahead_gives_up_nothing() {
    for ahead in [50, 2000, FAR] {
        let mut mesh = Mesh::with_listener(1, 2);
        mesh.emit(0, CHANNEL, 10);
        mesh.run_ms(100);
        forge_data(&mut mesh, ahead);
        for _ in 0..1000 {
            mesh.emit(0, CHANNEL, 1);
            mesh.run_ms(5);
        }
        mesh.run_ms(500);
        let (events, losses) = mesh.seen(1, 0, CHANNEL);
        // The one whose number was taken, at most.
        assert!(events.len() as u64 + 1 >= mesh.nodes[0].sequence, "{} events", events.len());
        assert!(losses.len() <= 1);
        assert_eq!(mesh.nodes[1].link.counters().given_up, 0);
    }
}

/// Forgeries that go on are believed. Once they are over, all is well soon.
#[test]
fn what_was_forged_for_long_is_told_and_over_soon() {
    for is_idle in [false, true] {
        let mut mesh = Mesh::with_listener(1, 2);
        mesh.emit(0, CHANNEL, 10);
        mesh.run_ms(100);
        for _ in 0..20 {
            forge_data(&mut mesh, FAR);
            for _ in 0..3 {
                forge_heartbeat(&mut mesh, |beat| (beat.next, beat.tail) = (FAR / 2, FAR / 2));
            }
        }
        for _ in 0..300 {
            if !is_idle {
                mesh.emit(0, CHANNEL, 1);
            }
            mesh.run_ms(10);
        }
        mesh.emit(0, CHANNEL, 1);
        mesh.run_ms(2500);
        mesh.emit(0, CHANNEL, 10);
        mesh.run_ms(100);
        assert_told(&mesh, 10);
        assert_eq!(mesh.nodes[1].downs, [Gone::Contradicted]);
        assert_eq!(mesh.nodes[1].link.counters().contradicted, 1);
        assert!(mesh.nodes[0].downs.is_empty());
    }
}

/// A peer that is broken, whatever key it has: its stream goes on where it is not.
#[test]
fn a_stream_that_goes_back_is_told_and_met_anew() {
    for keys in [Keys::open_link(), key(1)] {
        let mut mesh = Mesh::new(1);
        for index in 0..2 {
            mesh.start_listening(crate::LinkConfig { keys: keys.clone(), ..config(index) });
        }
        mesh.run_ms(300);
        mesh.emit(0, CHANNEL, 10);
        mesh.run_ms(100);
        let Position { number, ordinal } = position(&mesh);
        let far = number + FAR;
        let beat = Beat { stream: stream(&mesh), poll: false, next: far, tail: far, ordinal };
        for _ in 0..2 {
            mesh.nodes[0].link.control.send_to(ControlKind::Heartbeat, address(1), |out| {
                Heartbeat::encode(1, &[beat], out);
            });
            mesh.run_ms(1);
        }
        for _ in 0..200 {
            mesh.emit(0, CHANNEL, 1);
            mesh.run_ms(10);
        }
        assert_told(&mesh, 20);
        assert_eq!(mesh.nodes[1].downs, [Gone::Contradicted]);
    }
}

/// Regression: the peer came back within a second, and nobody was told what it had emitted meanwhile.
#[test]
fn a_goodbye_of_one_that_is_still_there_is_told() {
    for far in [0, FAR] {
        let mut mesh = Mesh::with_listener(1, 2);
        mesh.emit(0, CHANNEL, 10);
        mesh.run_ms(100);
        let Position { number, ordinal } = position(&mesh);
        let place = Place { stream: stream(&mesh), number: number + far, ordinal };
        let bytes = of(&mesh, 0, ControlKind::Leave, |out| Leave::encode(&[place], out));
        mesh.inject(1, stranger(), true, &bytes);
        assert_eq!(mesh.nodes[1].peers().len(), 0);
        for _ in 0..200 {
            mesh.emit(0, CHANNEL, 1);
            mesh.run_ms(10);
        }
        assert_told(&mesh, 20);
    }
}

/// Regression: the peer took no interest for newer any more, and sent nothing.
#[test]
fn an_interest_in_another_ones_name_is_corrected() {
    for ahead in [1, 2, (1 << 31) - 2] {
        let mut mesh = Mesh::with_listener(1, 2);
        mesh.emit(0, CHANNEL, 10);
        mesh.run_ms(100);
        let to = mesh.nodes[0].link.local.session;
        let version = mesh.nodes[1].link.interest.versions.told + ahead;
        let interest =
            Interest { to, version, hears_multicast: true, fresh: false, groups: 0, time_ns: 1 };
        let bytes = of(&mesh, 1, ControlKind::Interest, |out| interest.encode(out));
        mesh.inject(0, address(1), false, &bytes);
        mesh.emit(0, CHANNEL, 5);
        mesh.run_ms(100);
        mesh.emit(0, CHANNEL, 10);
        mesh.run_ms(100);
        assert_told(&mesh, 10);
        assert_eq!(mesh.seen(1, 0, CHANNEL).1, [Some(5)]);
        // Wishes that change are heard as well.
        mesh.unlisten(1, CHANNEL);
        mesh.run_ms(300);
        assert_eq!(mesh.nodes[0].peers()[0].groups_wanted, 0);
    }
}

/// Interest is taken from the peer is known to be, and nowhere else; it comes again.
#[test]
fn wishes_from_elsewhere_are_not_taken() {
    let mut mesh = Mesh::with_listener(1, 2);
    let to = mesh.nodes[0].link.local.session;
    let version = mesh.nodes[1].link.interest.versions.told + 1;
    let (hears_multicast, fresh, groups, time_ns) = (true, false, 0, 1);
    let interest = Interest { to, version, hears_multicast, fresh, groups, time_ns };
    let bytes = of(&mesh, 1, ControlKind::Interest, |out| interest.encode(out));
    mesh.inject(0, stranger(), false, &bytes);
    mesh.emit(0, CHANNEL, 5);
    mesh.run_ms(100);
    mesh.assert_seen(1, 0, CHANNEL, 1..=5);
    assert_eq!(mesh.nodes[0].drops().unproved, 1);
}

/// A place that never was: the listener waited for numbers that do not come.
#[test]
fn a_forged_place_is_told_and_over_soon() {
    let mut mesh = Mesh::of(1, 2);
    mesh.emit(0, CHANNEL, 10);
    mesh.run_ms(300);
    mesh.listen(1, CHANNEL);
    let to = mesh.nodes[1].link.local.session;
    let version = mesh.nodes[1].link.interest.versions.told;
    let place = Place { stream: stream(&mesh), number: FAR, ordinal: FAR };
    let bytes = of(&mesh, 0, ControlKind::Joined, |out| {
        Joined::encode(&to, version, 1, (1, 0), &[place], out);
    });
    mesh.inject(1, address(0), false, &bytes);
    for _ in 0..500 {
        mesh.emit(0, CHANNEL, 1);
        mesh.run_ms(10);
    }
    let (events, losses) = mesh.seen(1, 0, CHANNEL);
    assert!(events.ends_with(&(410..=510).collect::<Vec<_>>()), "{events:?}");
    assert_eq!(losses, [None]);
}
