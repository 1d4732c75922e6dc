//! Events in each state of a connection: it is cut, refused, silent, or the
//! client is told to end.

use std::io;
use std::time::Duration;

use netcluster_wire::bye::Bye;
use netcluster_wire::{ErrorCode, Kind, control};

use super::super::lock;
use super::world::{KEPT, World};
use crate::builder::ClientBuilder;
use crate::core::{Question, Reconnect, Step};
use crate::error::{DisconnectReason, Error, RecvError};
use crate::lifecycle::Lifecycle;
use crate::{Client, LossReason};

fn kinds(world: &World) -> Vec<&'static str> {
    let told = lock(&world.told);
    told.iter()
        .map(|event| match event {
            Lifecycle::Connect { resumed: false, .. } => "connect",
            Lifecycle::Connect { .. } => "resumed",
            Lifecycle::Disconnect { .. } => "disconnect",
            Lifecycle::Lost { .. } => "lost",
            Lifecycle::Error(_) => "error",
            Lifecycle::Closed(_) => "closed",
        })
        .collect()
}

fn backoff(attempts: u32) -> ClientBuilder {
    let millisecond = Duration::from_millis(1);
    let attempts = Some(attempts);
    Client::builder().reconnect(Reconnect::Backoff {
        first: millisecond,
        longest: millisecond,
        attempts,
    })
}

/// A client that lost its connection and is greeted anew.
fn greeting(builder: ClientBuilder) -> World {
    let mut world = World::connected(builder);
    world.cut(None);
    while !matches!(world.core.poll_step(), Step::Read(_)) {
        world.step();
    }
    world
}

#[test]
fn a_first_connection_that_fails_is_the_calls_error_and_nobody_is_told() {
    for kind in [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied] {
        let mut world = World::new(Client::builder());
        world.refuse(kind);
        let Step::Closed(error) = world.core.poll_step() else { panic!() };
        let expected = match kind {
            io::ErrorKind::NotFound => matches!(error, Error::BrokerNotRunning { .. }),
            _ => matches!(error, Error::PermissionDenied { .. }),
        };
        assert!(expected, "{error:?}");
        assert!(kinds(&world).is_empty());
    }
}

#[test]
fn a_first_connection_is_tried_as_long_as_it_was_told() {
    let mut world = World::new(Client::builder().wait_for_broker(Duration::from_secs(1)));
    let start = world.now;
    let mut tries = 0;
    loop {
        match world.core.poll_step() {
            Step::Connect(..) => {
                tries += 1;
                world.refuse(io::ErrorKind::NotFound);
            }
            Step::Wait(_) => drop(world.step()),
            Step::Closed(Error::BrokerNotRunning { .. }) => break,
            step => panic!("{step:?}"),
        }
    }
    assert!(tries > 4);
    assert_eq!(world.now - start, Duration::from_secs(1), "the last try is at the very end");
}

#[test]
fn a_broker_that_does_not_greet_is_given_up_in_time_and_tried_again() {
    let mut world = greeting(Client::builder());
    world.pass(Duration::from_millis(4999));
    assert!(matches!(world.core.poll_step(), Step::Read(Some(_))));
    world.pass(Duration::from_millis(1));
    assert!(matches!(world.core.poll_step(), Step::Wait(_)));
    world.finish();
}

#[test]
fn a_connection_that_is_cut_while_it_is_greeted_is_tried_again() {
    let mut world = greeting(Client::builder());
    world.write(usize::MAX);
    world.read(7);
    world.cut(Some(io::ErrorKind::ConnectionReset));
    assert!(matches!(world.core.poll_step(), Step::Wait(_)));
    world.settle();
    assert_eq!(kinds(&world), ["connect", "disconnect", "resumed", "lost"]);
    world.finish();
}

#[test]
fn a_connection_that_is_cut_while_it_resumes_is_resumed_anew_and_told_once() {
    let mut world = greeting(Client::builder());
    world.emit("a", 10);
    world.hold_acks = true;
    world.settle();
    assert_eq!(world.received, [0; 0], "it is not in force yet");
    world.cut(None);
    world.settle();
    assert_eq!(kinds(&world), ["connect", "disconnect", "disconnect"]);
    world.release_all();
    world.settle();
    assert_eq!(world.received, [1]);
    assert_eq!(kinds(&world), ["connect", "disconnect", "disconnect", "resumed", "lost"]);
    world.finish();
}

#[test]
fn who_is_told_of_a_successor_is_back_at_once_and_has_missed_nothing() {
    let mut world = World::connected(Client::builder());
    let before = world.now;
    world.holds = true;
    world.say(Kind::Bye, 0, &Bye { confirmed: 0, has_successor: true }.encode());
    world.settle();
    assert_eq!(world.now, before, "without a pause");
    assert_eq!(kinds(&world), ["connect", "disconnect", "resumed"]);
    // What the broker could not hold it tells.
    world.say(Kind::Lost, 0, &control::encode_lost(LossReason::Disconnected));
    world.settle();
    assert_eq!(kinds(&world), ["connect", "disconnect", "resumed", "lost"]);
    world.say(Kind::Bye, 0, b"");
    world.settle();
    assert!(world.now > before, "nobody is there yet");
    world.finish();
}

#[test]
fn a_first_connection_goes_on_to_the_successor() {
    let mut world = World::new(Client::builder());
    while !matches!(world.core.poll_step(), Step::Read(_)) {
        world.step();
    }
    world.say(Kind::Bye, 0, &Bye { confirmed: 0, has_successor: true }.encode());
    world.settle();
    assert_eq!(kinds(&world), ["connect"]);
    world.finish();
}

#[test]
fn brokers_that_name_successors_for_ever_are_not_followed_for_ever() {
    let mut world = World::new(Client::builder());
    while !matches!(world.core.poll_step(), Step::Closed(_)) {
        if !world.step() {
            world.say(Kind::Bye, 0, &Bye { confirmed: 0, has_successor: true }.encode());
            world.read(usize::MAX);
        }
    }
    let Step::Closed(Error::ClosedByBroker { code, .. }) = world.core.poll_step() else { panic!() };
    assert_eq!(code, ErrorCode::Shutdown);
}

#[test]
fn an_event_may_come_before_the_last_pattern_is_in_force() {
    let mut world = greeting(Client::builder());
    world.hold_acks = true;
    world.settle();
    world.send();
    world.settle();
    assert_eq!(kinds(&world), ["connect", "disconnect", "resumed", "lost"]);
    world.finish();
}

#[test]
fn a_connection_that_is_cut_while_it_is_left_is_the_end_and_says_how() {
    let mut world = World::connected(Client::builder());
    world.emit("a", 1);
    world.core.disconnect(world.now).unwrap();
    assert!(world.core.emit("a", "").is_err());
    world.write(10);
    world.cut(None);
    let Step::Closed(Error::Disconnected(reason)) = world.core.poll_step() else { panic!() };
    assert!(matches!(reason, DisconnectReason::ConnectionLost(_)), "{reason:?}");
    assert_eq!(kinds(&world), ["connect", "disconnect", "closed"]);
}

#[test]
fn a_client_that_is_told_to_end_while_it_has_no_connection_ends_at_once() {
    for until_connecting in [false, true] {
        let mut world = World::connected(Client::builder());
        world.cut(None);
        if until_connecting {
            world.step();
            assert!(matches!(world.core.poll_step(), Step::Connect(..)));
        }
        assert!(matches!(world.core.disconnect(world.now), Err(Error::NotConnected)));
        assert!(matches!(world.core.poll_step(), Step::Closed(_)));
        assert_eq!(kinds(&world), ["connect", "disconnect", "closed"]);
    }
}

#[test]
fn without_reconnecting_who_waits_learns_why() {
    let mut world = World::connected(Client::builder().reconnect(Reconnect::Never));
    world.ask();
    world.cut(None);
    assert_eq!(world.open_replies(), 0);
    let error = world.core.ask(Question::Ping, |_| {}).unwrap_err();
    assert!(matches!(error, Error::Disconnected(DisconnectReason::ConnectionLost(_))));
}

#[test]
fn attempts_in_a_row_are_counted_and_the_last_error_is_told() {
    let mut world = World::connected(backoff(3));
    world.cut(None);
    for _ in 0..3 {
        assert!(world.step(), "it waits");
        world.refuse(io::ErrorKind::NotFound);
    }
    let Step::Closed(error) = world.core.poll_step() else { panic!("{:?}", world.core) };
    assert!(matches!(error, Error::BrokerNotRunning { .. }), "{error:?}");
    assert_eq!(kinds(&world), ["connect", "disconnect", "closed"]);
}

#[test]
fn a_client_that_is_kicked_comes_back_only_if_that_helps() {
    for (code, back) in [(ErrorCode::Stalled, true), (ErrorCode::Source, false)] {
        let mut world = World::connected(Client::builder());
        world.say(Kind::Error, 0, &control::encode_error(code, "x"));
        world.read(usize::MAX);
        world.link = None;
        match (back, world.core.poll_step()) {
            (true, Step::Wait(_)) => {
                assert_eq!(kinds(&world), ["connect", "error", "disconnect"]);
                world.finish();
            }
            (false, Step::Closed(Error::Disconnected(DisconnectReason::ClosedByBroker { .. }))) => {
                assert_eq!(kinds(&world), ["connect", "error", "disconnect", "closed"]);
            }
            (_, step) => panic!("{code:?}: {step:?}"),
        }
    }
}

#[test]
fn an_answer_that_comes_after_nobody_waits_is_nobodys() {
    let mut world = World::connected(Client::builder());
    let question = world.core.ask(Question::Ping, |answer| assert!(answer.is_none())).unwrap();
    world.core.withdraw(question);
    world.settle();
    // An acknowledgement of a pattern that went and came back is not the new one's.
    world.hold_acks = true;
    let gone = world.core.on("a", |_| {}).unwrap();
    world.write(usize::MAX);
    let late = std::mem::take(&mut world.link.as_mut().unwrap().late);
    assert!(world.core.remove_listener(gone));
    world.core.on("a", |_| {}).unwrap();
    world.write(usize::MAX);
    world.say(Kind::Ack, late[0], b"");
    world.settle();
    assert!(world.core.in_force("a").is_none());
    world.release_all();
    world.settle();
    assert!(matches!(world.core.in_force("a"), Some(Ok(()))));
    world.finish();
}

#[test]
fn a_full_subscription_holds_reading_until_it_is_half_empty_or_the_client_ends() {
    for ends in [false, true] {
        let mut world = World::connected(Client::builder());
        let queue = world.core.subscribe("big");
        world.settle();
        let big = |world: &mut World, number| {
            let source = netcluster_wire::Source { node: 1, client: 9 };
            let frame =
                netcluster_wire::frame::encode(Kind::Event, source, number, b"big", &[0; 100_000]);
            world.core.handle_input(&frame, world.now);
        };
        let mut count = 0;
        while !matches!(world.core.poll_step(), Step::Hold) {
            count += 1;
            big(&mut world, count);
        }
        assert!((40..50).contains(&count), "{count} of 100 kB in 4 MiB");
        if ends {
            world.core.disconnect(world.now).unwrap();
            assert!(matches!(world.core.poll_step(), Step::Read(_)), "the bye is to come");
            big(&mut world, count + 1);
            world.settle();
            let taken: Vec<_> = std::iter::repeat_with(|| queue.take().0)
                .take_while(|taken| *taken != Err(RecvError::Ended))
                .collect();
            assert_eq!(taken.len() as u64, count + 1);
            let Some(Err(RecvError::Lost(lost))) = taken.last() else { panic!("{taken:?}") };
            assert_eq!((lost.count, lost.reason), (Some(1), LossReason::Overflow));
        } else {
            while matches!(world.core.poll_step(), Step::Hold) {
                queue.take().0.unwrap();
                count -= 1;
            }
            assert!((15..25).contains(&count), "{count} left");
            queue.end();
            world.finish();
        }
    }
}

#[test]
fn events_are_held_while_there_is_no_connection_up_to_the_bound() {
    let mut world = World::connected(Client::builder().max_buffer(1000));
    world.cut(None);
    let mut held = 0;
    while world.core.emit("a", [0; 100]).is_ok() {
        held += 1;
    }
    assert!((5..10).contains(&held), "{held}");
    world.emitted = held;
    world.settle();
    assert_eq!(world.received.len() as u64, held);
    assert!(world.core.patterns().contains(&KEPT.to_owned()));
    world.finish();
}
