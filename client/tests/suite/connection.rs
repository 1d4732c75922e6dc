//! Connecting, ending, losing the connection and making it again.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::Bus;
use crate::support::{Broker, PATIENCE, wait_until};
use netcluster_client::{Client, DisconnectReason, Error, ErrorCode, Lifecycle, Reconnect};
use netcluster_wire::control::Audience;
use netcluster_wire::frame::encode;
use netcluster_wire::{Kind, LossReason, Source, control};

fn watched<B: Bus>(broker: &Broker, reconnect: Reconnect) -> (B, Receiver<Lifecycle>) {
    let (sender, receiver) = channel();
    let client = B::build(
        Client::builder()
            .reconnect(reconnect)
            .on_lifecycle(move |event| drop(sender.send(event.clone()))),
        &broker.path,
    )
    .unwrap();
    let event = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(event, Lifecycle::Connect { resumed: false, .. }), "{event:?}");
    (client, receiver)
}

fn next(receiver: &Receiver<Lifecycle>) -> Lifecycle {
    receiver.recv_timeout(PATIENCE).unwrap()
}

pub fn errors_of_connecting_say_what_to_do<B: Bus>() {
    let missing = B::connect(crate::support::NOBODY).unwrap_err();
    assert!(matches!(missing, Error::BrokerNotRunning { .. }));
    assert!(missing.to_string().contains("netcluster serve"), "{missing}");
    let impossible = B::connect(crate::support::impossible()).unwrap_err();
    assert!(matches!(impossible, Error::Connect { .. }), "{impossible:?}");
    let broker = Broker::start();
    assert!(matches!(
        B::build(Client::builder().channel(""), &broker.path),
        Err(Error::ChannelName(_))
    ));
    assert!(matches!(
        B::build(Client::builder().name("x".repeat(256)), &broker.path),
        Err(Error::ClientName(_))
    ));
    // However long a broker is waited for: none can be there.
    for (path, words) in [("", "the path is empty"), (&*"/x".repeat(100), "the path has 200 bytes")]
    {
        if cfg!(windows) && !path.is_empty() {
            continue;
        }
        let builder = Client::builder().wait_for_broker(10 * PATIENCE);
        let error = B::build(builder, path).unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

pub fn hello_carries_what_the_builder_was_told<B: Bus>() {
    let broker = Broker::start();
    let _client = B::build(
        Client::builder()
            .channel("c")
            .name("n")
            .echo(true)
            .queue(netcluster_client::QueuePolicy::Latest)
            .max_queue(77),
        &broker.path,
    )
    .unwrap();
    let (channel, hello) = broker.state.hellos.lock().unwrap()[0].clone();
    assert_eq!((channel.as_str(), hello.client_name.as_str()), ("c", "n"));
    assert!(hello.echo && hello.latest && hello.max_queue == 77);
    assert_eq!(hello.previous, Source::NONE);
}

pub fn what_answers_with_garbage_or_refuses_is_an_error<B: Bus>() {
    let broker = Broker::start();
    let answer = |bytes: Vec<u8>| {
        *broker.state.greeting.lock().unwrap() = Some(bytes);
        B::connect(&broker.path).unwrap_err()
    };
    let error =
        |code, text| encode(Kind::Error, Source::NONE, 0, b"", &control::encode_error(code, text));
    assert!(matches!(answer(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), Error::Protocol(_)));
    assert!(matches!(answer(vec![0xff; 64]), Error::Protocol(_)));
    assert!(matches!(answer(Vec::new()), Error::BrokerNotRunning { .. }));
    assert!(matches!(answer(error(ErrorCode::Version, "use 2")), Error::Version(_)));
    assert!(matches!(
        answer(error(ErrorCode::Busy, "full")),
        Error::ClosedByBroker { code: ErrorCode::Busy, .. }
    ));
}

pub fn a_broker_that_does_not_answer_is_given_up_in_time<B: Bus>() {
    let broker = Broker::start();
    broker.state.stalled.store(true, SeqCst);
    let start = Instant::now();
    let timeout = Duration::from_millis(50);
    let error = B::build(Client::builder().connect_timeout(timeout), &broker.path).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(start.elapsed() >= timeout);
}

/// A listener that was added to a broker that is gone said that the broker is overloaded.
pub fn a_listener_that_is_added_without_a_connection_says_so<B: Bus>() {
    let broker = Broker::start();
    let (sender, told) = channel();
    let builder = Client::builder()
        .connect_timeout(Duration::from_millis(200))
        .on_lifecycle(move |event| drop(sender.send(event.clone())));
    let client = B::build(builder, &broker.path).unwrap();
    let _directory = broker.kill();
    while !matches!(next(&told), Lifecycle::Disconnect { .. }) {}
    let error = client.on("a", |_| {}).unwrap_err();
    assert!(matches!(error, Error::NotConnected), "{error:?}");
    assert_eq!(client.listener_count("a"), 0);
}

pub fn a_first_connect_waits_for_its_broker_if_told_so<B: Bus>() {
    let directory = Broker::start().kill();
    let path = crate::support::address(&directory);
    let wait = Duration::from_millis(100);
    let start = Instant::now();
    let error = B::build(Client::builder().wait_for_broker(wait), &path).unwrap_err();
    assert!(matches!(error, Error::BrokerNotRunning { .. }), "{error:?}");
    assert!(start.elapsed() >= wait);
    let connecting = std::thread::spawn(move || {
        B::build(Client::builder().wait_for_broker(PATIENCE), &path).unwrap()
    });
    std::thread::sleep(Duration::from_millis(50));
    let _broker = Broker::start_in(directory);
    connecting.join().unwrap().ping().unwrap();
}

pub fn disconnect_waits_for_the_broker_and_ends_the_client<B: Bus>() {
    let broker = Broker::start();
    let (client, lifecycle) = watched::<B>(&broker, Reconnect::default());
    for _ in 0..10_000 {
        client.emit("tick", "x").unwrap();
    }
    client.disconnect().unwrap();
    assert_eq!(broker.events(), 10_000);
    assert_eq!(client.confirmed_sequence(), 10_000);
    assert!(matches!(
        next(&lifecycle),
        Lifecycle::Disconnect { reason: DisconnectReason::Requested, confirmed: 10_000 }
    ));
    assert!(matches!(
        next(&lifecycle),
        Lifecycle::Closed(Error::Disconnected(DisconnectReason::Requested))
    ));
    assert!(client.is_closed());
    assert!(matches!(client.emit("a", ""), Err(Error::Disconnected(_))));
    assert!(matches!(client.on("a", |_| {}), Err(Error::Disconnected(_))));
    assert!(client.ping().is_err());
    client.disconnect().unwrap();
}

pub fn disconnect_fails_on_its_timeout<B: Bus>() {
    let broker = Broker::start();
    broker.state.ignore_bye.store(true, SeqCst);
    let client =
        B::build(Client::builder().disconnect_timeout(Duration::from_millis(50)), &broker.path)
            .unwrap();
    assert!(matches!(client.disconnect(), Err(Error::Timeout { .. })));
    wait_until("it is gone all the same", || broker.clients() == 0);
}

pub fn disconnect_fails_in_time_also_when_the_socket_is_full<B: Bus>() {
    let broker = Broker::start();
    let client =
        B::build(Client::builder().disconnect_timeout(Duration::from_millis(50)), &broker.path)
            .unwrap();
    broker.state.stalled.store(true, SeqCst);
    let flooding = client.clone();
    let flood = std::thread::spawn(move || while flooding.emit("a", [0; 1000]).is_ok() {});
    std::thread::sleep(Duration::from_millis(50));
    assert!(matches!(client.disconnect(), Err(Error::Timeout { .. })));
    flood.join().unwrap();
}

pub fn ping_and_status_answer_and_confirm<B: Bus>() {
    let broker = Broker::start();
    let client = B::connect(&broker.path).unwrap();
    client.emit("a", "").unwrap();
    assert_eq!(client.confirmed_sequence(), 0);
    client.ping().unwrap();
    assert_eq!(client.confirmed_sequence(), 1);
    assert_eq!(client.status().unwrap(), "{\"clients\":1}");
    assert_eq!(client.audience("four").unwrap(), Audience { clients: 4, brokers: 1 });
    assert!(matches!(client.audience("a.*"), Err(Error::Name(_))));
}

pub fn a_long_loop_is_confirmed_without_asking<B: Bus>() {
    let broker = Broker::start();
    let client = B::connect(&broker.path).unwrap();
    for _ in 0..6000 {
        client.emit("a", [0; 1000]).unwrap();
    }
    client.flush().unwrap();
    wait_until("events are confirmed", || client.confirmed_sequence() > 3000);
}

pub fn a_lost_connection_comes_back_subscribed_before_anything_is_emitted<B: Bus>() {
    let broker = Broker::start();
    let (client, lifecycle) = watched::<B>(&broker, Reconnect::default());
    let source = client.source();
    let (sender, receiver) = channel();
    for pattern in ["b.*", "a"] {
        let sender = sender.clone();
        client.on(pattern, move |message| sender.send(message.into_owned()).unwrap()).unwrap();
    }
    client.emit("x", "1").unwrap();
    client.ping().unwrap();
    let directory = broker.kill();
    let Lifecycle::Disconnect { reason, confirmed } = next(&lifecycle) else { panic!() };
    assert!(matches!(reason, DisconnectReason::ConnectionLost(_)), "{reason:?}");
    assert_eq!(confirmed, 1);
    for number in 2..=4 {
        client.emit("x", number.to_string()).unwrap();
    }
    let broker = Broker::start_in(directory);
    broker.state.log_events.store(true, SeqCst);
    let Lifecycle::Connect { source: again, resumed, doubtful } = next(&lifecycle) else {
        panic!()
    };
    assert!(resumed && again == client.source() && doubtful == 0);
    assert!(matches!(
        next(&lifecycle),
        Lifecycle::Lost { source: None, count: None, reason: LossReason::Disconnected }
    ));
    client.ping().unwrap();
    assert_eq!(broker.state.hellos.lock().unwrap()[0].1.previous, source);
    let seen = broker.seen();
    let kinds: Vec<_> = seen.iter().map(|seen| (seen.kind, seen.sequence)).collect();
    let kind = |index: usize| kinds[index].0;
    assert_eq!((kind(0), kind(1), kind(2)), (Kind::Hello, Kind::Subscribe, Kind::Subscribe));
    assert_eq!(&kinds[3..6], &[2, 3, 4].map(|sequence| (Kind::Event, sequence)));
    assert!(seen[3..6].iter().all(|seen| seen.source == again));
    let emitter = B::connect(&broker.path).unwrap();
    emitter.emit("b.c", "back").unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap().payload(), b"back");
}

pub fn events_wait_until_the_patterns_are_in_force_again<B: Bus>() {
    let broker = Broker::start();
    let (client, lifecycle) = watched::<B>(&broker, Reconnect::default());
    client.on("a", |_| {}).unwrap();
    broker.state.hold_acks.store(true, SeqCst);
    broker.cut();
    assert!(matches!(next(&lifecycle), Lifecycle::Disconnect { .. }));
    client.emit("x", "").unwrap();
    let subscribed = || {
        broker.seen().into_iter().filter(|seen| seen.kind == Kind::Subscribe).collect::<Vec<_>>()
    };
    wait_until("the second subscription has come", || subscribed().len() == 2);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(broker.events(), 0);
    assert!(lifecycle.try_recv().is_err());
    broker.state.hold_acks.store(false, SeqCst);
    broker.send(&encode(Kind::Ack, Source::NONE, subscribed()[1].sequence, b"", b""));
    assert!(matches!(next(&lifecycle), Lifecycle::Connect { resumed: true, .. }));
    wait_until("the event has come", || broker.events() == 1);
}

/// The client had waited for ever for the patterns, once it had told that it is connected.
pub fn an_event_may_come_while_patterns_are_asked_for_again<B: Bus>() {
    let broker = Broker::start();
    let (client, lifecycle) = watched::<B>(&broker, Reconnect::default());
    client.on("a", |_| {}).unwrap();
    client.on("b", |_| {}).unwrap();
    broker.state.hold_acks.store(true, SeqCst);
    broker.cut();
    assert!(matches!(next(&lifecycle), Lifecycle::Disconnect { .. }));
    let asked = || -> Vec<u64> {
        let seen = broker.seen().into_iter().filter(|seen| seen.kind == Kind::Subscribe);
        seen.map(|seen| seen.sequence).collect()
    };
    wait_until("both patterns are asked for again", || asked().len() == 4);
    let ack = |request| broker.send(&encode(Kind::Ack, Source::NONE, request, b"", b""));
    ack(asked()[2]);
    broker.send(&encode(Kind::Event, Source { node: 1, client: 9 }, 1, b"a", b""));
    assert!(matches!(next(&lifecycle), Lifecycle::Connect { resumed: true, .. }));
    ack(asked()[3]);
    client.emit("x", "").unwrap();
    wait_until("the event has come", || broker.events() == 1);
}

pub fn emitting_while_disconnected_is_bounded<B: Bus>() {
    let broker = Broker::start();
    let client = B::build(Client::builder().max_buffer(100_000), &broker.path).unwrap();
    let directory = broker.kill();
    // What is written before the end is noticed is lost, as with any dead broker.
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        if let Err(error) = client.emit("a", [0; 1000]) {
            break error;
        }
        assert!(Instant::now() < deadline);
    };
    assert!(matches!(error, Error::NotConnected), "{error:?}");
    let broker = Broker::start_in(directory);
    wait_until("what was held has come", || broker.events() >= 90);
    client.emit("a", "").unwrap();
    client.disconnect().unwrap();
}

pub fn an_event_cut_off_in_the_middle_is_sent_again_whole<B: Bus>() {
    let broker = Broker::start();
    let (client, lifecycle) = watched::<B>(&broker, Reconnect::default());
    broker.state.stalled.store(true, SeqCst);
    let emitting = client.clone();
    let thread = std::thread::spawn(move || emitting.emit("big", vec![9; 8 << 20]));
    std::thread::sleep(Duration::from_millis(100));
    broker.cut();
    broker.state.stalled.store(false, SeqCst);
    thread.join().unwrap().unwrap();
    assert!(matches!(next(&lifecycle), Lifecycle::Disconnect { .. }));
    assert!(matches!(next(&lifecycle), Lifecycle::Connect { .. }));
    client.ping().unwrap();
    assert_eq!(broker.events(), 1);
}

pub fn without_reconnect_a_lost_connection_is_the_end<B: Bus>() {
    let broker = Broker::start();
    let (client, lifecycle) = watched::<B>(&broker, Reconnect::Never);
    let mut subscription = client.subscribe("a").unwrap();
    broker.cut();
    assert!(matches!(next(&lifecycle), Lifecycle::Disconnect { .. }));
    assert!(subscription.next().is_none());
    assert!(matches!(
        next(&lifecycle),
        Lifecycle::Closed(Error::Disconnected(DisconnectReason::ConnectionLost(_)))
    ));
    let error = client.emit("a", "").unwrap_err();
    assert!(matches!(error, Error::Disconnected(DisconnectReason::ConnectionLost(_))), "{error}");
    assert!(matches!(client.ping(), Err(Error::Disconnected(_))));
}

pub fn a_client_that_gives_up_says_so_last_and_is_closed_by_then<B: Bus>() {
    let broker = Broker::start();
    let attempts = Reconnect::Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(2),
        attempts: Some(3),
    };
    let (client, lifecycle) = watched::<B>(&broker, attempts);
    assert!(!client.is_closed());
    let (sender, closed) = channel();
    let inside = client.clone();
    client.on_lifecycle(move |event| {
        if let Lifecycle::Closed(_) = event {
            sender.send((inside.is_closed(), inside.emit_inside("a", "").is_err())).unwrap();
        }
    });
    client.ping().unwrap();
    let _directory = broker.kill();
    assert!(matches!(next(&lifecycle), Lifecycle::Disconnect { .. }));
    assert!(matches!(next(&lifecycle), Lifecycle::Closed(Error::BrokerNotRunning { .. })));
    assert_eq!(closed.recv_timeout(PATIENCE).unwrap(), (true, true));
    assert!(client.is_closed());
    // The listeners went with the reader: nobody is left to tell more.
    assert!(
        lifecycle.recv_timeout(PATIENCE).is_err_and(|end| end == RecvTimeoutError::Disconnected)
    );
}

pub fn a_bye_of_the_broker_is_an_orderly_end_and_the_client_comes_back<B: Bus>() {
    let broker = Broker::start();
    let (_client, lifecycle) = watched::<B>(&broker, Reconnect::default());
    broker.send(&encode(Kind::Bye, Source::NONE, 0, b"", b""));
    assert!(matches!(
        next(&lifecycle),
        Lifecycle::Disconnect { reason: DisconnectReason::BrokerShutDown, .. }
    ));
    assert!(matches!(next(&lifecycle), Lifecycle::Connect { resumed: true, .. }));
}

pub fn a_kicked_client_says_why_and_comes_back_only_if_that_helps<B: Bus>() {
    for (code, comes_back) in [
        (ErrorCode::Stalled, true),
        (ErrorCode::Busy, true),
        (ErrorCode::Protocol, false),
        (ErrorCode::Source, false),
    ] {
        let broker = Broker::start();
        let (client, lifecycle) = watched::<B>(&broker, Reconnect::default());
        broker.kick(code, "because");
        let event = next(&lifecycle);
        let Lifecycle::Error(Error::ClosedByBroker { code: told, text }) = event else {
            panic!("{event:?}")
        };
        assert_eq!((told, text.as_str()), (code, "because"));
        assert!(matches!(
            next(&lifecycle),
            Lifecycle::Disconnect { reason: DisconnectReason::ClosedByBroker { .. }, .. }
        ));
        if comes_back {
            assert!(matches!(next(&lifecycle), Lifecycle::Connect { resumed: true, .. }));
            client.ping().unwrap();
        } else {
            assert!(matches!(next(&lifecycle), Lifecycle::Closed(Error::Disconnected(_))));
            assert!(client.is_closed() && client.emit("a", "").is_err());
        }
    }
}

pub fn lost_and_garbage_in_the_stream_are_told_in_order<B: Bus>() {
    let broker = Broker::start();
    let (client, lifecycle) = watched::<B>(&broker, Reconnect::default());
    let emitter = Source { node: 7, client: 9 };
    let lost = control::encode_lost(LossReason::Overflow);
    broker.send(&encode(Kind::Lost, emitter, 5, b"", &lost));
    let Lifecycle::Lost { source, count, reason } = next(&lifecycle) else { panic!() };
    assert_eq!((source, count, reason), (Some(emitter), Some(5), LossReason::Overflow));
    broker.send(&[0xff; 100]);
    assert!(matches!(next(&lifecycle), Lifecycle::Error(Error::Protocol(_))));
    assert!(matches!(
        next(&lifecycle),
        Lifecycle::Disconnect { reason: DisconnectReason::Protocol(_), .. }
    ));
    assert!(matches!(next(&lifecycle), Lifecycle::Connect { resumed: true, .. }));
    assert!(matches!(next(&lifecycle), Lifecycle::Lost { source: None, .. }));
    client.ping().unwrap();
    // An event's name that is no text.
    broker.send(&encode(Kind::Event, emitter, 1, b"\xff", b""));
    assert!(matches!(next(&lifecycle), Lifecycle::Error(Error::Protocol(_))));
}

pub fn a_ping_of_the_broker_is_answered<B: Bus>() {
    let broker = Broker::start();
    let client = B::connect(&broker.path).unwrap();
    client.emit("a", "").unwrap();
    broker.send(&encode(Kind::Ping, Source::NONE, 42, b"", b""));
    wait_until("there is a pong", || {
        broker.seen().iter().any(|seen| seen.kind == Kind::Pong && seen.sequence == 42)
    });
}

super::both!(
    errors_of_connecting_say_what_to_do,
    hello_carries_what_the_builder_was_told,
    what_answers_with_garbage_or_refuses_is_an_error,
    a_broker_that_does_not_answer_is_given_up_in_time,
    a_listener_that_is_added_without_a_connection_says_so,
    a_first_connect_waits_for_its_broker_if_told_so,
    disconnect_waits_for_the_broker_and_ends_the_client,
    disconnect_fails_on_its_timeout,
    disconnect_fails_in_time_also_when_the_socket_is_full,
    ping_and_status_answer_and_confirm,
    a_long_loop_is_confirmed_without_asking,
    a_lost_connection_comes_back_subscribed_before_anything_is_emitted,
    events_wait_until_the_patterns_are_in_force_again,
    an_event_may_come_while_patterns_are_asked_for_again,
    emitting_while_disconnected_is_bounded,
    an_event_cut_off_in_the_middle_is_sent_again_whole,
    without_reconnect_a_lost_connection_is_the_end,
    a_client_that_gives_up_says_so_last_and_is_closed_by_then,
    a_bye_of_the_broker_is_an_orderly_end_and_the_client_comes_back,
    a_kicked_client_says_why_and_comes_back_only_if_that_helps,
    lost_and_garbage_in_the_stream_are_told_in_order,
    a_ping_of_the_broker_is_answered,
);
