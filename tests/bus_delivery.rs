//! Delivery of events: to whom, how often and in which order.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use common::{Bed, PATIENCE, Raw, on_all, take};
use netcluster_client::Encoding;
use netcluster_wire::{Hello, Kind};

on_all! {
    fn events_of_each_emitter_arrive_in_order_at_every_listener(bed) {
        const EMITTERS: u64 = 3;
        const EACH: u64 = 20_000;
        let bus = bed.bus();
        let listeners: Vec<_> = (0..3).map(|_| bus.client()).collect();
        let mut done = Vec::new();
        for listener in &listeners {
            let (tell, told) = mpsc::channel();
            let mut next = [0u64; EMITTERS as usize];
            listener
                .on("load.*", move |message| {
                    let emitter: usize = message.event()["load.".len()..].parse().unwrap();
                    let (head, tail) = message.payload().split_at(8);
                    assert_eq!(head, next[emitter].to_le_bytes());
                    assert_eq!(tail, vec![emitter as u8; next[emitter] as usize % 50]);
                    next[emitter] += 1;
                    assert_eq!(message.sequence(), next[emitter]);
                    if next == [EACH; EMITTERS as usize] {
                        tell.send(()).unwrap();
                    }
                })
                .expect("allowed");
            let errors = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&errors);
            listener.on_lifecycle(move |_| seen.store(true, Ordering::SeqCst));
            done.push((told, errors));
        }
        let emitters: Vec<_> = (0..EMITTERS)
            .map(|number| {
                let client = bus.client();
                std::thread::spawn(move || {
                    let name = format!("load.{number}");
                    for at in 0..EACH {
                        let mut payload = at.to_le_bytes().to_vec();
                        payload.resize(8 + at as usize % 50, number as u8);
                        client.emit(&name, payload).expect("connected");
                    }
                    client.disconnect().expect("an orderly end");
                })
            })
            .collect();
        emitters.into_iter().for_each(|emitter| emitter.join().expect("it emits"));
        for (told, errors) in done {
            told.recv_timeout(PATIENCE).expect("all arrives, in order");
            assert!(!errors.load(Ordering::SeqCst), "a listener found something wrong");
        }
    }
}

on_all! {
    /// Alone and in runs, in payloads that fit a chunk and that do not.
    fn encodings_arrive_as_they_were_sent(bed) {
        const EVENTS: usize = 20_000;
        let encoding_of = |at: usize| Encoding::ALL[(at / (1 + at / 100 % 7)) % 3];
        let bytes_of = |at: usize| if at % 2_000 == 77 { 200_000 } else { at % 50 };
        let bus = bed.bus();
        let (listener, emitter) = (bus.client(), bus.client());
        let (tell, told) = mpsc::channel();
        let mut next = 0;
        listener
            .on("a", move |message| {
                assert_eq!(message.encoding(), encoding_of(next), "event {next}");
                assert_eq!(message.payload().len(), bytes_of(next), "event {next}");
                next += 1;
                if next == EVENTS {
                    tell.send(()).unwrap();
                }
            })
            .expect("allowed");
        for at in 0..EVENTS {
            let payload = vec![b'1'; bytes_of(at)];
            emitter.emit_encoded("a", encoding_of(at), payload).expect("connected");
        }
        told.recv_timeout(PATIENCE).expect("all arrive, each as it was sent");
    }
}

on_all! {
    fn one_copy_per_client_however_many_patterns_match(bed) {
        let bus = bed.bus();
        let (mut listener, mut emitter) = (bus.raw(), bus.raw());
        for pattern in ["a.b", "a.*", "**", "*.b", "a.**", "a.b"] {
            listener.listen(pattern);
        }
        for number in 0..100u8 {
            emitter.emit("a.b", &[number]);
        }
        emitter.emit("z", b"");
        for number in 0..100u8 {
            assert_eq!(listener.event_got().payload, [number]);
        }
        assert_eq!(listener.event_got().name, "z");
    }
}

on_all! {
    fn wildcards_match_whole_tokens(bed) {
        let bus = bed.bus();
        let mut emitter = bus.raw();
        let names = ["a", "a.b", "a.b.c", "ab", "b", "x.a", ".", "a.", "ä.ö"];
        for (pattern, heard) in [
            ("a", &["a"][..]),
            ("a.*", &["a.b", "a."]),
            ("a.**", &["a", "a.b", "a.b.c", "a."]),
            ("*", &["a", "ab", "b"]),
            ("**.a", &["a", "x.a"]),
            ("**", &names),
            ("*.ö", &["ä.ö"]),
        ] {
            let mut listener = bus.raw();
            listener.listen(pattern);
            names.iter().for_each(|name| emitter.emit(name, b""));
            // Behind a pong the events of the emitter are queued everywhere.
            emitter.ping();
            listener.ping();
            let got: Vec<_> = listener.stashed().into_iter().map(|got| got.name).collect();
            assert_eq!(got, heard, "{pattern}");
        }
    }
}

on_all! {
    fn own_events_come_back_only_with_echo(bed) {
        let bus = bed.bus();
        let mut plain = bus.raw();
        let mut echoing = bus.raw_with(&Hello { echo: true, ..Hello::default() });
        for raw in [&mut plain, &mut echoing] {
            raw.listen("a");
        }
        plain.emit("a", b"plain");
        plain.ping();
        echoing.emit("a", b"echoing");
        echoing.ping();
        let heard = |raw: &mut Raw| -> Vec<Vec<u8>> {
            raw.ping();
            raw.stashed().into_iter().map(|got| got.payload).collect()
        };
        assert_eq!(heard(&mut plain), [b"echoing"]);
        assert_eq!(heard(&mut echoing), [&b"plain"[..], b"echoing"]);
    }
}

on_all! {
    fn channels_do_not_hear_each_other(bed) {
        let bus = bed.bus();
        let hello = Hello::default();
        let channels = ["default", "one", "two", "one.two", "ONE"];
        let mut members: Vec<(Raw, Raw)> = channels
            .iter()
            .map(|channel| {
                let mut listener = Raw::on_channel(&bus.path, channel, &hello).0;
                listener.listen("**");
                (listener, Raw::on_channel(&bus.path, channel, &hello).0)
            })
            .collect();
        for (channel, (_, emitter)) in channels.iter().zip(&mut members) {
            for _ in 0..50 {
                emitter.emit("name", channel.as_bytes());
            }
        }
        members.iter_mut().for_each(|(_, emitter)| assert_eq!(emitter.ping(), 50));
        for (channel, (listener, _)) in channels.iter().zip(&mut members) {
            listener.ping();
            let got = listener.stashed();
            assert_eq!(got.len(), 50);
            assert!(got.iter().all(|got| got.payload == channel.as_bytes()));
        }
        let status = bus.status();
        for channel in channels {
            let found = status.channels.iter().find(|it| it.name == channel).expect("it is shown");
            assert_eq!((found.clients, found.listeners), (2, 1));
        }
    }
}

on_all! {
    /// An event that is emitted after the ack, by whichever client on whichever
    /// shard, is delivered; and none that is emitted after the ack of the contrary.
    fn an_acknowledged_subscription_is_in_force_everywhere(bed) {
        let bus = bed.bus();
        let mut emitters: Vec<Raw> = (0..4).map(|_| bus.raw()).collect();
        let mut listeners: Vec<Raw> = (0..2).map(|_| bus.raw()).collect();
        // Shards that accept for themselves number as they come.
        emitters.sort_by_key(|emitter| emitter.source);
        for round in 0..250 {
            let name = format!("round.{round}");
            let pattern = if round % 2 == 0 { name.clone() } else { "round.*".into() };
            for listener in &mut listeners {
                listener.listen(&pattern);
                for emitter in &mut emitters {
                    emitter.emit(&name, b"heard");
                }
                let mut sources: Vec<_> = emitters.iter().map(|_| listener.event_got().source).collect();
                sources.sort();
                assert_eq!(sources, emitters.iter().map(|it| it.source).collect::<Vec<_>>());
                listener.stop_listening(&pattern);
                assert_eq!(listener.stashed(), []);
                for emitter in &mut emitters {
                    emitter.emit(&name, b"unheard");
                    // Else it could still be on its way when the next one listens.
                    emitter.ping();
                }
            }
        }
        for listener in &mut listeners {
            listener.ping();
            assert_eq!(listener.stashed(), [], "nothing comes after the ack");
        }
    }
}

on_all! {
    fn once_and_removed_listeners_are_called_as_often_as_said(bed) {
        let bus = bed.bus();
        let (listener, emitter) = (bus.client(), bus.client());
        let (tell, told) = mpsc::channel();
        let say = |what: &'static str| {
            let tell = tell.clone();
            move |_: &netcluster_client::Message<'_>| tell.send(what).unwrap()
        };
        listener.once("a", say("once")).expect("allowed");
        let removed = listener.on("a", say("removed")).expect("allowed");
        listener.on("a", say("on")).expect("allowed");
        listener.prepend_listener("a", say("first")).expect("allowed");
        assert!(listener.remove_listener(removed));
        for _ in 0..3 {
            emitter.emit("a", "").expect("connected");
        }
        let next = || told.recv_timeout(PATIENCE).expect("a call");
        let calls: Vec<_> = (0..7).map(|_| next()).collect();
        assert_eq!(calls, ["first", "once", "on", "first", "on", "first", "on"]);
    }
}

on_all! {
    /// A pattern that one connection subscribes to twice is one listener to the broker.
    fn subscribing_again_changes_nothing(bed) {
        let bus = bed.bus();
        let (mut listener, mut emitter) = (bus.raw(), bus.raw());
        for _ in 0..3 {
            listener.listen("a");
        }
        assert_eq!(bus.status().totals.listeners, 1);
        emitter.emit("a", b"1");
        emitter.ping();
        listener.stop_listening("a");
        listener.stop_listening("a");
        assert_eq!(listener.stashed().len(), 1);
        assert_eq!(bus.status().totals.listeners, 0);
        emitter.emit("a", b"2");
        emitter.ping();
        listener.ping();
        assert_eq!(listener.stashed(), []);
    }
}

on_all! {
    /// A client stops listening to an event of many emitters: behind the ack it gets
    /// nothing more, and the other listener misses nothing.
    fn unsubscribing_while_events_are_in_flight_loses_none_for_others(bed) {
        const EACH: u64 = 3000;
        let bus = bed.bus();
        let (mut leaver, mut stayer) = (bus.raw(), bus.raw());
        stayer.listen("flood");
        let emitters: Vec<_> = (0..3)
            .map(|_| {
                let client = bus.client();
                std::thread::spawn(move || {
                    for number in 1..=EACH {
                        client.emit("flood", number.to_le_bytes()).expect("connected");
                    }
                    client.disconnect().expect("an orderly end");
                })
            })
            .collect();
        let reading = std::thread::spawn(move || {
            let mut last = std::collections::BTreeMap::new();
            for _ in 0..3 * EACH {
                let got = stayer.event_got();
                let count = last.entry(got.source).or_insert(0);
                *count += 1;
                assert_eq!(got.sequence, *count);
            }
        });
        for _ in 0..100 {
            leaver.listen("flood");
            leaver.stop_listening("flood");
            for got in leaver.stashed() {
                assert_eq!(got.kind, Kind::Event);
            }
            leaver.ping();
            assert_eq!(leaver.stashed(), [], "an event came behind the ack");
        }
        emitters.into_iter().for_each(|emitter| emitter.join().expect("it emits"));
        reading.join().expect("the other listener gets all");
    }
}

on_all! {
    fn a_message_tells_who_emitted_it_and_its_number(bed) {
        let bus = bed.bus();
        let (listener, emitter, other) = (bus.client(), bus.client(), bus.client());
        let heard = listener.subscribe("**").expect("allowed");
        for client in [&emitter, &other, &emitter] {
            client.emit("a.b", "data").expect("connected");
            client.flush().expect("connected");
            let message = take(&heard);
            assert_eq!(message.source(), client.source());
            assert_eq!(message.sequence(), client.last_sequence());
            assert_eq!((message.event(), message.payload()), ("a.b", &b"data"[..]));
        }
        assert_ne!(emitter.source(), other.source());
        assert_eq!(emitter.source().node, other.source().node);
    }
}
