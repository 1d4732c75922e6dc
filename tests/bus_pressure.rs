//! Full queues: who waits, who loses, who is disconnected, and who must not notice.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{Bed, Bus, PATIENCE, Raw, on_all, on_both, take, wait_until};
use netcluster_client::{Client, Error, QueuePolicy};
use netcluster_wire::control::decode_lost;
use netcluster_wire::{ErrorCode, Hello, Kind, LossReason, Source};

const SMALL_QUEUE: usize = 64 << 10;

fn small_queues(bed: &Bed) -> Bus {
    bed.bus_with(|options| options.max_queue_bytes = Some(SMALL_QUEUE))
}

/// Thread that emits until it is told to stop, and the number of its events.
struct Flood {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Flood {
    fn start(client: Client, event: &'static str, length: usize) -> Flood {
        let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&count), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                client.emit(event, vec![7; length]).expect("connected");
                counted.fetch_add(1, Ordering::SeqCst);
            }
            client.disconnect().expect("an orderly end");
            counted.load(Ordering::SeqCst)
        });
        Flood { count, stop, thread }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("it emits to the end")
    }

    /// Waits until the flood stands still behind a full queue.
    fn wait_paused(&self, bus: &Bus) {
        wait_until("the emitter is paused", || {
            bus.status().clients.iter().any(|client| !client.paused_by.is_empty())
        });
    }
}

on_all! {
    /// Nothing is lost however slow the listener, and the emitter goes on once it
    /// reads.
    fn an_emitter_waits_for_a_full_queue_and_goes_on(bed) {
        let bus = small_queues(bed);
        let mut listener = bus.raw();
        listener.listen("flood");
        let flood = Flood::start(bus.client(), "flood", 1000);
        let mut taken = 0;
        for _ in 0..3 {
            flood.wait_paused(&bus);
            for _ in 0..5000 {
                taken += 1;
                assert_eq!(listener.event_got().sequence, taken);
            }
        }
        let pauses = bus.status().totals.pauses;
        assert!(pauses >= 3, "{pauses} pauses");
        let reading = std::thread::spawn(move || {
            loop {
                let got = listener.event_got();
                if got.name != "flood" || got.payload.is_empty() {
                    return taken;
                }
                taken += 1;
                assert_eq!(got.sequence, taken);
            }
        });
        let emitted = flood.stop();
        bus.raw().emit("flood", b"");
        assert_eq!(reading.join().expect("all arrives"), emitted);
    }
}

on_all! {
    /// Judged by progress: while one listener is stuck for good, others exchange any
    /// number of events.
    fn emitters_of_other_events_do_not_notice_a_stuck_listener(bed) {
        const EVENTS: u64 = 50_000;
        let bus = small_queues(bed);
        let mut stuck = bus.raw();
        stuck.listen("dull");
        let flood = Flood::start(bus.client(), "dull", 500);
        flood.wait_paused(&bus);
        let (listener, emitter) = (bus.client(), bus.client());
        let heard = listener.subscribe("news").expect("allowed");
        let emitting = std::thread::spawn(move || {
            for number in 1..=EVENTS {
                emitter.emit("news", number.to_le_bytes()).expect("connected");
            }
            emitter.disconnect().expect("an orderly end");
        });
        for number in 1..=EVENTS {
            assert_eq!(take(&heard).sequence(), number);
        }
        emitting.join().expect("it is never paused for good");
        let status = bus.status();
        let paused: Vec<_> =
            status.clients.iter().filter(|client| !client.paused_by.is_empty()).collect();
        assert_eq!(paused.len(), 1, "only who feeds the stuck one");
        assert_eq!(paused[0].paused_by, [stuck.source.client]);
        assert_eq!(status.totals.stalled, 0);
        drop(stuck);
        flood.stop();
    }
}

on_all! {
    fn a_stuck_listener_is_disconnected_counted_and_told(bed) {
        let bus = bed.bus_with(|options| {
            options.max_queue_bytes = Some(SMALL_QUEUE);
            options.stall_timeout = Duration::from_millis(300);
        });
        let (mut stuck, welcome) = Raw::welcomed(&bus.path, &Hello::default());
        assert_eq!(welcome.reason, None);
        stuck.listen("dull");
        let flood = Flood::start(bus.client(), "dull", 1000);
        wait_until("it is given up", || bus.status().totals.stalled == 1);
        // Unrouted at once: its emitter runs free.
        let before = flood.count();
        wait_until("the emitter goes on", || flood.count() > before + 10_000);
        let status = bus.status();
        assert_eq!(status.totals.listeners, 0);
        let closed = status.closed_by_broker.last().expect("it is shown");
        assert_eq!(closed.client, stuck.source.client);
        assert!(closed.reason.contains("too slow"), "{}", closed.reason);

        // It reads what its socket held, whole frames, and then why.
        let mut last = 0;
        loop {
            let got = stuck.frame();
            if got.kind == Kind::Error {
                let (code, text) = got.error();
                assert_eq!(code, ErrorCode::Stalled);
                assert!(text.contains("--max-queue") && text.contains("0.3 s"), "{text}");
                break;
            }
            assert_eq!(got.sequence, last + 1);
            last = got.sequence;
        }
        assert_eq!(stuck.next(), None);

        // Its successor is told, once.
        let hello = Hello { previous: stuck.source, ..Hello::default() };
        let (code, text) = Raw::welcomed(&bus.path, &hello).1.reason.expect("a reason");
        assert_eq!(code, ErrorCode::Stalled);
        assert!(text.contains("too slow"), "{text}");
        assert_eq!(Raw::welcomed(&bus.path, &hello).1.reason, None);
        flood.stop();
    }
}

on_all! {
    /// Every event is delivered or counted as lost at its place, and the emitter is
    /// never paused.
    fn a_latest_listener_loses_the_oldest_and_is_told_exactly(bed) {
        const EVENTS: u64 = 30_000;
        let bus = small_queues(bed);
        let mut listener = bus.raw_with(&Hello { latest: true, ..Hello::default() });
        listener.listen("*");
        let mut emitters = [bus.raw(), bus.raw()];
        for number in 1..=EVENTS {
            let length = (number % 300) as usize;
            for emitter in &mut emitters {
                emitter.emit("a", &common::patterned(number, length));
            }
        }
        // Nobody has read anything until here.
        for emitter in &mut emitters {
            assert_eq!(emitter.ping(), EVENTS);
        }
        let status = bus.status();
        assert_eq!(status.totals.pauses, 0);
        let shown = status.clients.iter().find(|it| it.client == listener.source.client);
        let shown = shown.expect("it is connected");
        assert!(shown.latest && shown.dropped > 0, "{shown:?}");
        assert_eq!(status.totals.dropped, shown.dropped);
        assert!(shown.queued_bytes as usize <= SMALL_QUEUE, "{shown:?}");

        let mut seen: BTreeMap<Source, u64> = BTreeMap::new();
        let mut lost = 0;
        while emitters.iter().any(|it| seen.get(&it.source) != Some(&EVENTS)) {
            let got = listener.frame();
            let at = seen.entry(got.source).or_insert(0);
            match got.kind {
                Kind::Event => {
                    *at += 1;
                    assert_eq!(got.sequence, *at, "told exactly, at its place");
                    assert!(got.payload == common::patterned(*at, (*at % 300) as usize));
                }
                Kind::Lost => {
                    assert_eq!(decode_lost(&got.payload), Ok(LossReason::Overflow));
                    *at += got.sequence;
                    lost += got.sequence;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(lost, shown.dropped);
    }
}

on_both! {
    /// Events that arrived at a `latest` client and those that `Lost` told of add up.
    fn the_client_tells_what_a_latest_connection_lost(bed) {
        const EVENTS: u64 = 5000;
        let bus = small_queues(bed);
        let listener = bus.client_with(|builder| builder.queue(QueuePolicy::Latest));
        let accounted = Arc::new(AtomicU64::new(0));
        let (heard, missed) = (Arc::clone(&accounted), Arc::clone(&accounted));
        let gate = Arc::new(std::sync::Barrier::new(2));
        let (opened, mut waits) = (Arc::clone(&gate), true);
        listener.on_lifecycle(move |event| {
            if let netcluster_client::Lifecycle::Lost { count: Some(count), .. } = event {
                missed.fetch_add(*count, Ordering::SeqCst);
            }
        });
        listener
            .on("a", move |_| {
                if std::mem::take(&mut waits) {
                    opened.wait();
                }
                heard.fetch_add(1, Ordering::SeqCst);
            })
            .expect("allowed");
        let emitter = bus.client();
        for _ in 0..EVENTS {
            emitter.emit("a", [1; 1000]).expect("connected");
        }
        emitter.ping().expect("it is not paused");
        assert!(bus.status().totals.dropped > 0);
        gate.wait();
        wait_until("all are accounted for", || accounted.load(Ordering::SeqCst) == EVENTS);
    }
}

on_all! {
    /// Two clients that emit to each other flat out, from listeners and from loops.
    fn clients_that_flood_each_other_never_deadlock(bed) {
        const ROUNDS: u64 = 3000;
        let bus = small_queues(bed);
        let clients = [bus.client(), bus.client()];
        let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
        let answers = Arc::new(AtomicU64::new(0));
        for (at, client) in clients.iter().enumerate() {
            let (own, count) = (client.clone(), Arc::clone(&counts[at]));
            let (answer, refused) = (["answer.0", "answer.1"][at], Arc::clone(&answers));
            client
                .on(["ask.0", "ask.1"][at], move |message| {
                    count.fetch_add(1, Ordering::SeqCst);
                    match own.emit(answer, message.payload()) {
                        Ok(()) => {}
                        // A listener never waits; what it could not emit is its own affair.
                        Err(Error::Backpressure) => {
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => panic!("{error}"),
                    }
                })
                .expect("allowed");
            let answered = Arc::clone(&answers);
            client
                .on(["answer.1", "answer.0"][at], move |_| {
                    answered.fetch_add(1, Ordering::SeqCst);
                })
                .expect("allowed");
        }
        let loops: Vec<_> = clients
            .iter()
            .enumerate()
            .map(|(at, client)| {
                let (client, event) = (client.clone(), ["ask.1", "ask.0"][at]);
                std::thread::spawn(move || {
                    for _ in 0..ROUNDS {
                        client.emit(event, [9; 2000]).expect("connected");
                    }
                })
            })
            .collect();
        loops.into_iter().for_each(|it| it.join().expect("a loop goes on"));
        wait_until("all questions are heard", || {
            counts.iter().all(|count| count.load(Ordering::SeqCst) == ROUNDS)
        });
        wait_until("each is answered, or refused at once", || {
            answers.load(Ordering::SeqCst) == 2 * ROUNDS
        });
        for client in &clients {
            client.disconnect().expect("an orderly end");
        }
    }
}

on_all! {
    /// A budget so small that it is always used up makes everything slower, but nothing
    /// is lost and nothing stands still.
    fn an_exhausted_memory_budget_slows_but_loses_nothing(bed) {
        const EVENTS: u64 = 3000;
        let bus = bed.bus_with(|options| options.max_memory_bytes = Some(1));
        let mut listeners: Vec<Raw> = (0..3).map(|_| bus.raw()).collect();
        listeners.iter_mut().for_each(|listener| listener.listen("*"));
        let lengths = |number: u64| match number % 500 {
            0 => 300_000,
            _ => (number % 3000) as usize,
        };
        let emitters: Vec<_> = (0..2)
            .map(|_| {
                let client = bus.client();
                std::thread::spawn(move || {
                    for number in 1..=EVENTS {
                        let payload = common::patterned(number, lengths(number));
                        client.emit("a", payload).expect("connected");
                    }
                    client.disconnect().expect("an orderly end");
                })
            })
            .collect();
        let readers: Vec<_> = listeners
            .into_iter()
            .map(|mut listener| {
                std::thread::spawn(move || {
                    let mut last = BTreeMap::new();
                    for _ in 0..2 * EVENTS {
                        let got = listener.event_got();
                        let count = last.entry(got.source).or_insert(0);
                        *count += 1;
                        assert_eq!(got.sequence, *count);
                        assert!(got.payload == common::patterned(*count, lengths(*count)));
                    }
                })
            })
            .collect();
        for thread in emitters.into_iter().chain(readers) {
            thread.join().expect("all is delivered");
        }
        wait_until("all is free", || bus.status().memory.queues_bytes == 0);
    }
}

on_both! {
    fn the_smaller_of_both_queue_limits_counts(bed) {
        let bus = bed.bus_with(|options| options.max_queue_bytes = Some(1 << 20));
        for (asked, given) in [(0, 1 << 20), (200_000, 200_000), (1 << 30, 1 << 20), (1, SMALL_QUEUE)] {
            let raw = bus.raw_with(&Hello { max_queue: asked as u64, ..Hello::default() });
            let status = bus.status();
            let shown = status.clients.iter().find(|it| it.client == raw.source.client);
            assert_eq!(shown.expect("it is connected").max_queue, given as u64);
        }
    }
}

const _: () = assert!(PATIENCE.as_secs() > 20);
