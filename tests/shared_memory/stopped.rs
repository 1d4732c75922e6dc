//! Processes that stand still, for a while or for good, in the middle of whatever they do.

use std::time::Duration;

use rustix::process::Signal;

use crate::common::on_sharing;
use crate::common::process::{Played, RemoteBus};
use crate::common::{Bed, Bus, connect, patterned, status_at, take, wait_until};
use crate::share;

/// Time that somebody stands still: long enough for the others to run into it.
const PAUSE: Duration = Duration::from_millis(20);

/// Time after which one who reads nothing is disconnected.
const STALL: Duration = Duration::from_secs(1);

on_sharing! {
    /// Emitter, listener and broker in turn, while a flood goes on.
    fn nothing_is_lost_by_standing_still(bed) {
        let bus = RemoteBus::start(bed);
        let watcher = connect(&bus.path, |it| it);
        let over = watcher.subscribe("over").unwrap();
        let counter = Played::start("parts::counter", &bus.path, |_| {});
        let flooder = Played::start("parts::flooder", &bus.path, |_| {});
        wait_until("both listen", || {
            let clients = status_at(&bus.path).clients;
            clients.iter().filter(|it| !it.name.is_empty() && it.listeners > 0).count() == 2
        });
        watcher.emit("go", []).unwrap();
        let mut stops = 0;
        let mut sharing = 0;
        wait_until("the flood is over", || {
            let process = [&flooder, &counter, &bus.process][stops % 3];
            process.stop();
            std::thread::sleep(PAUSE);
            process.signal(Signal::CONT);
            stops += 1;
            sharing = sharing.max(status_at(&bus.path).totals.shared_clients);
            over.try_recv().is_ok()
        });
        assert!(stops > 3 && sharing >= 2, "{stops} stops, {sharing} with memory");
    }
}

on_sharing! {
    /// One who has mapped everything and reads nothing more is disconnected, and what it
    /// held comes back.
    fn one_who_reads_nothing_is_disconnected_and_holds_nothing(bed) {
        let bus = bed.bus_with(|options| options.stall_timeout = STALL);
        let (sleeper, number, pinned) = put_to_sleep(&bus, false);
        let (emitter, listener) = (bus.client(), bus.client());
        let events = listener.subscribe("flood").unwrap();
        share(&bus, &listener);
        let mut count = 0;
        wait_until("it is disconnected", || {
            for _ in 0..200 {
                emitter.emit("flood", patterned(count, 5000)).unwrap();
                assert!(take(&events).payload() == patterned(count, 5000));
                count += 1;
            }
            bus.status().totals.stalled == 1
        });
        let closed = bus.status().closed_by_broker;
        let reason = closed.iter().find(|it| it.client == number).expect("it is told why");
        assert!(!reason.reason.is_empty(), "{closed:?}");
        for _ in 0..200 {
            emitter.emit("flood", patterned(count, 5000)).unwrap();
            assert!(take(&events).payload() == patterned(count, 5000));
            count += 1;
        }
        wait_until("its buffers come back", || {
            let shards = bus.status().shards;
            shards.iter().map(|it| it.io.pinned_buffers).sum::<u64>() <= pinned
        });
        drop(sleeper);
    }
}

on_sharing! {
    /// One who only wants the latest slows nobody, and hears them when it goes on.
    fn one_who_wants_the_latest_slows_nobody(bed) {
        let bus = bed.bus_with(|options| options.stall_timeout = STALL);
        let (sleeper, number, _) = put_to_sleep(&bus, true);
        let (emitter, listener) = (bus.client(), bus.client());
        let events = listener.subscribe("flood").unwrap();
        let awake = listener.subscribe("awake").unwrap();
        let mut count = 0;
        let mut flood = || {
            for _ in 0..500 {
                emitter.emit("flood", patterned(count, 5000)).unwrap();
                assert!(take(&events).payload() == patterned(count, 5000));
                count += 1;
            }
        };
        wait_until("it loses", || {
            flood();
            let clients = bus.status().clients;
            clients.iter().any(|it| it.client == number && it.dropped > 0)
        });
        flood();
        sleeper.signal(Signal::CONT);
        wait_until("it hears the latest", || {
            flood();
            awake.try_recv().is_ok()
        });
        assert_eq!(bus.status().totals.stalled, 0);
    }
}

/// Starts a listener that has memory, and stops it; returns its number, and how many buffers
/// were in use.
fn put_to_sleep(bus: &Bus, latest: bool) -> (Played, u32, u64) {
    let sleeper = Played::start("parts::sleeper", &bus.path, |command| {
        if latest {
            command.env("NC_TEST_LATEST", "1");
        }
    });
    let emitter = bus.client();
    let mut number = 0;
    wait_until("it has memory", || {
        emitter.emit("flood", [0; 1000]).unwrap();
        emitter.ping().unwrap();
        let clients = bus.status().clients;
        let found = clients.iter().find(|it| it.name == "sleeper" && it.shared.is_some());
        number = found.map_or(0, |it| it.client);
        found.is_some()
    });
    let pinned = bus.status().shards.iter().map(|it| it.io.pinned_buffers).sum::<u64>() + 4;
    sleeper.stop();
    (sleeper, number, pinned)
}
