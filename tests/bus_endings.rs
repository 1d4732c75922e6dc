//! Orderly ends of connections and of the broker, and what `status` tells meanwhile.

mod common;

use std::time::Duration;

use common::{Bed, PATIENCE, Raw, on_all, take, wait_until};
use netcluster_client::{DisconnectReason, Lifecycle, Reconnect};
use netcluster_wire::{Hello, Kind};

on_all! {
    /// Behind `disconnect` every event is queued at every target: even a listener
    /// that reads only later gets them all.
    fn disconnect_returns_once_every_event_is_queued(bed) {
        let bus = bed.bus();
        let mut listeners: Vec<Raw> = (0..4).map(|_| bus.raw()).collect();
        listeners.iter_mut().for_each(|listener| listener.listen("a"));
        for round in 0..20u64 {
            let emitter = bus.client();
            for number in 0..500u64 {
                emitter.emit("a", (round * 500 + number).to_le_bytes()).expect("connected");
            }
            emitter.disconnect().expect("an orderly end");
            for listener in &mut listeners {
                listener.ping();
                let got = listener.stashed();
                assert_eq!(got.len(), 500, "round {round}");
                for (number, got) in got.iter().enumerate() {
                    assert_eq!(got.payload, (round * 500 + number as u64).to_le_bytes());
                }
            }
        }
    }
}

on_all! {
    /// The broker echoes a client's bye behind all that was queued to it, and closes.
    fn a_bye_is_answered_behind_everything_queued(bed) {
        let bus = bed.bus();
        let (mut leaver, mut emitter) = (bus.raw(), bus.raw());
        leaver.listen("a");
        for number in 0..2000u32 {
            emitter.emit("a", &number.to_le_bytes());
        }
        emitter.ping();
        let token = leaver.ask(Kind::Bye, b"");
        for number in 0..2000u32 {
            assert_eq!(leaver.event_got().payload, number.to_le_bytes());
        }
        let bye = leaver.frame();
        assert_eq!((bye.kind, bye.sequence), (Kind::Bye, token));
        assert_eq!(leaver.next(), None);
        // Another shard may hear of it a moment later.
        wait_until("nobody listens", || {
            emitter.emit("a", b"nobody");
            emitter.ping();
            bus.status().totals.events_unheard > 0
        });
    }
}

on_all! {
    /// Events that were queued before the shutdown reach their listeners, then a bye,
    /// then the end; and the socket is gone.
    fn a_shutdown_delivers_what_is_queued_and_says_bye(bed) {
        const EVENTS: u32 = 3000;
        let bus = bed.bus_with(|options| options.drain_timeout = PATIENCE);
        let (mut quick, mut slow, mut emitter) = (bus.raw(), bus.raw(), bus.raw());
        quick.listen("a");
        slow.listen("*");
        let silent = Raw::silent(&bus.path);
        for number in 0..EVENTS {
            // More than the sockets hold, so that much of it lies in the queues.
            emitter.emit("a", &[&number.to_le_bytes()[..], &[1; 1000]].concat());
        }
        emitter.ping();
        let path = bus.path.clone();
        let shutdown = bus.broker.as_ref().expect("it runs").shutdown();
        shutdown.request();
        shutdown.request();
        let ending = std::thread::spawn(move || bus.end());
        for listener in [&mut quick, &mut slow] {
            for number in 0..EVENTS {
                assert_eq!(listener.event_got().payload[..4], number.to_le_bytes());
            }
            assert_eq!(listener.frame().kind, Kind::Bye);
            assert_eq!(listener.next(), None);
        }
        assert_eq!(emitter.frame().kind, Kind::Bye);
        assert_eq!(emitter.next(), None);
        drop(silent);
        ending.join().expect("the broker ends");
        assert!(!path.exists(), "the socket is removed");
    }
}

#[cfg(target_os = "linux")]
on_all! {
    /// An emitter does not send again what it has written, so the broker reads all of
    /// that before it ends.
    fn what_was_written_before_a_shutdown_is_delivered(bed) {
        let bus = bed.bus_with(|options| options.drain_timeout = PATIENCE);
        let (mut listener, mut emitter) = (bus.raw(), bus.raw());
        listener.listen("a");
        let shutdown = bus.broker.as_ref().expect("it runs").shutdown();
        let emitting = std::thread::spawn(move || {
            let mut written = 0u32;
            loop {
                let event = emitter.event("a", &[7; 1000]);
                if !emitter.try_send(&event) {
                    return (written, emitter);
                }
                written += 1;
                if written == 1000 {
                    shutdown.request();
                }
            }
        });
        let ending = std::thread::spawn(move || bus.end());
        let mut got = 0;
        loop {
            let frame = listener.frame();
            if frame.kind == Kind::Bye {
                break;
            }
            got += 1;
        }
        let (written, mut emitter) = emitting.join().expect("it writes until it cannot");
        assert_eq!(got, written);
        assert_eq!(emitter.frame().kind, Kind::Bye, "it reads why");
        drop((listener, emitter));
        ending.join().expect("the broker ends");
    }
}

on_all! {
    /// A client that never reads does not keep the broker from ending.
    fn a_shutdown_does_not_wait_for_ever(bed) {
        let bus = bed.bus_with(|options| options.drain_timeout = Duration::from_millis(100));
        let (mut stuck, mut emitter) = (bus.raw(), bus.raw());
        stuck.listen("a");
        for _ in 0..2000 {
            emitter.emit("a", &[1; 1000]);
        }
        emitter.ping();
        bus.end();
        drop(stuck);
    }
}

on_all! {
    /// The client crate sees an orderly end, and comes back to the next broker.
    fn clients_are_told_of_a_shutdown_and_come_back(bed) {
        let directory = common::Directory::new();
        let path = directory.socket("s");
        let start = || netcluster::Broker::start(bed.options(&path)).expect("it starts");
        let broker = start();
        let (tell, told) = std::sync::mpsc::channel();
        let client = common::connect(&path, |builder| {
            builder.on_lifecycle(move |event| {
                let _ = tell.send(event.clone());
            })
        });
        let next = || told.recv_timeout(PATIENCE).expect("it tells");
        assert!(matches!(next(), Lifecycle::Connect { resumed: false, .. }));
        let heard = client.subscribe("a").expect("allowed");
        broker.shutdown().request();
        broker.join().expect("an orderly end");
        match next() {
            Lifecycle::Disconnect { reason: DisconnectReason::BrokerShutDown, .. } => {}
            other => panic!("{other:?}"),
        }
        let broker = start();
        while !matches!(next(), Lifecycle::Connect { resumed: true, .. }) {}
        let emitter = common::connect(&path, |builder| builder.reconnect(Reconnect::Never));
        emitter.emit("a", "again").expect("connected");
        assert_eq!(take(&heard).payload(), b"again");
        drop(broker);
    }
}

on_all! {
    fn the_status_shows_peers_queues_and_counters(bed) {
        let bus = bed.bus_with(|options| options.max_memory_bytes = Some(123 << 20));
        let hello = |name: &str| Hello { client_name: name.into(), ..Hello::default() };
        let mut listener = bus.raw_with(&hello("ear"));
        let mut emitter = bus.raw_with(&hello("mouth"));
        listener.listen("a.*");
        listener.listen("b");
        for number in 0..10u8 {
            emitter.emit("a.b", &[number]);
            emitter.emit("unheard", b"");
        }
        emitter.ping();
        let status = bus.status();
        assert_eq!(status.pid, std::process::id());
        assert_eq!(status.node, "00000001");
        assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(status.memory.limit_bytes, 123 << 20);
        let totals = &status.totals;
        assert_eq!((totals.clients, totals.listeners, totals.accepted), (3, 2, 3));
        assert_eq!((totals.events_in, totals.events_out, totals.events_unheard), (20, 10, 10));
        let find = |raw: &Raw| {
            let client = status.clients.iter().find(|it| it.client == raw.source.client);
            client.cloned().expect("it is shown")
        };
        let (ear, mouth) = (find(&listener), find(&emitter));
        assert_eq!((ear.name.as_str(), mouth.name.as_str()), ("ear", "mouth"));
        assert_eq!((ear.listeners, ear.events_out, ear.events_in), (2, 10, 0));
        assert_eq!((mouth.listeners, mouth.events_out, mouth.events_in), (0, 0, 20));
        for client in [&ear, &mouth] {
            assert_eq!(client.pid, std::process::id());
            assert_eq!(client.uid, owner_of_this_process());
            assert_eq!((client.channel.as_str(), client.state.as_str()), ("default", "open"));
        }
        assert_eq!(ear.shard == mouth.shard, bed.shards == 1);

        // A listener that does not read: its queue shows, and who waits for it.
        for _ in 0..2000 {
            emitter.emit("b", &[0; 1000]);
        }
        let shown = || bus.status().clients.into_iter().find(|it| it.client == ear.client);
        wait_until("the queue shows", || shown().is_some_and(|ear| ear.queued_bytes > 500_000));
        for _ in 0..2010 {
            listener.event_got();
        }
        wait_until("the queue is empty", || shown().is_some_and(|ear| ear.queued_bytes == 0));
        let left = listener.source.client;
        drop(listener);
        wait_until("it is gone", || bus.status().clients.iter().all(|it| it.client != left));
        assert_eq!(bus.status().totals.listeners, 0);
    }
}

/// Returns the number that stands for users without numbers.
#[cfg(not(unix))]
fn owner_of_this_process() -> u32 {
    u32::MAX
}

/// Returns the user as the kernel tells it: the owner of a process's directory runs the
/// process.
#[cfg(unix)]
fn owner_of_this_process() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").expect("this process runs").uid()
}
