//! Parts that processes of these tests play; see `common::process`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use netcluster_client::{Client, QueuePolicy, SharedMemory};

use crate::common::process::part;
use crate::common::{connect, patterned, take, wait_until};

/// Events of a flood that is counted.
pub const FLOOD_EVENTS: u64 = 100_000;

/// Waits until it is killed.
fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

/// Emits what it is asked, as an answer.
fn answer(client: &Client, back: &Client) {
    let back = back.clone();
    client.on("ask", move |message| back.emit("answer", message.payload()).unwrap()).unwrap();
}

/// Answers whatever it is asked.
#[test]
fn talker() {
    let Some(path) = part("parts::talker") else { return };
    let named = || connect(&path, |builder| builder.name("talker"));
    let (client, back) = (named(), named());
    answer(&client, &back);
    stay();
}

/// Answers whatever it is asked, with too few descriptors left for what it is offered. Told
/// to, it has some again, and another connection.
#[test]
fn poor() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let Some(path) = part("parts::poor") else { return };
    let before = descriptors();
    let off = connect(&path, |builder| builder.shared_memory(SharedMemory::Off));
    let needed = descriptors().len() - before.len();
    drop(off);
    wait_until("it is gone", || descriptors() == before);
    // Two of five can come.
    let free = (0..).filter(|number| !before.contains(number)).nth(needed + 2);
    let limit = getrlimit(Resource::Nofile);
    let mut less = limit;
    less.current = free;
    setrlimit(Resource::Nofile, less).unwrap();
    let client = connect(&path, |builder| builder.name("poor"));
    let (sender, told) = channel();
    client.on("enough", move |_| sender.send(()).unwrap()).unwrap();
    answer(&client, &client);
    told.recv().unwrap();
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(descriptors().len(), before.len() + needed, "what came is closed");
    let rich = connect(&path, |builder| builder.name("rich"));
    rich.on("ask", |_| ()).unwrap();
    rich.emit("rich", []).unwrap();
    stay();
}

/// Numbers of the descriptors that are open.
fn descriptors() -> Vec<u64> {
    let directory = std::fs::read_dir("/proc/self/fd").unwrap();
    let names = directory.map(|entry| entry.unwrap().file_name());
    let mut numbers: Vec<u64> = names.map(|name| name.to_str().unwrap().parse().unwrap()).collect();
    // The one that reads the directory is gone by now.
    numbers.retain(|number| std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok());
    numbers.sort_unstable();
    numbers
}

/// Emits and listens as fast as it can.
#[test]
fn victim() {
    let Some(path) = part("parts::victim") else { return };
    let client = connect(&path, |builder| builder.name("victim"));
    client.on("flood", |message| drop(message.payload_bytes())).unwrap();
    flood(&connect(&path, |builder| builder.name("victim")), "flood");
}

/// Emits as fast as it can.
#[test]
fn emitting_victim() {
    let Some(path) = part("parts::emitting_victim") else { return };
    flood(&connect(&path, |builder| builder.name("victim")), "theirs");
}

/// Listens, and keeps the last.
#[test]
fn listening_victim() {
    let Some(path) = part("parts::listening_victim") else { return };
    let client = connect(&path, |builder| builder.name("victim"));
    let events = client.subscribe("ours").unwrap();
    loop {
        drop(events.recv());
    }
}

fn flood(client: &Client, event: &str) {
    for number in 0_u64.. {
        if client.emit(event, patterned(number, (number % 9000) as usize)).is_err() {
            return;
        }
    }
}

/// Emits a flood that is counted, once somebody says go.
#[test]
fn flooder() {
    let Some(path) = part("parts::flooder") else { return };
    let client = connect(&path, |builder| builder.name("flooder"));
    let events = client.subscribe("go").unwrap();
    take(&events);
    for number in 0..FLOOD_EVENTS {
        client.emit("flood", patterned(number, (number % 500) as usize)).unwrap();
    }
    client.flush().unwrap();
    stay();
}

/// Checks a flood event by event, and says when it is over.
#[test]
fn counter() {
    let Some(path) = part("parts::counter") else { return };
    let client = connect(&path, |builder| builder.name("counter"));
    let events = client.subscribe("flood").unwrap();
    for number in 0..FLOOD_EVENTS {
        let message = take(&events);
        assert!(message.payload() == patterned(number, (number % 500) as usize), "{number}");
    }
    client.emit("over", []).unwrap();
    stay();
}

/// Listens to a flood, and says how far it is.
#[test]
fn sleeper() {
    let Some(path) = part("parts::sleeper") else { return };
    let latest = std::env::var_os("NC_TEST_LATEST").is_some();
    let client = connect(&path, |builder| {
        let builder = builder.name("sleeper");
        if latest { builder.queue(QueuePolicy::Latest) } else { builder }
    });
    let heard = AtomicU64::new(0);
    let back = client.clone();
    client
        .on("flood", move |_| {
            if heard.fetch_add(1, Ordering::Relaxed) == 500 {
                back.emit("awake", []).unwrap();
            }
        })
        .unwrap();
    stay();
}

/// Forks while it uses memory, and says what the child found.
#[test]
fn forking() {
    let Some(path) = part("parts::forking") else { return };
    let client = connect(&path, |builder| builder.name("forking"));
    for number in 0_u64.. {
        client.emit("n", number.to_le_bytes()).unwrap();
        client.ping().unwrap();
        if number % 100 == 50 {
            let code = crate::forked::fork(|| match client.emit("n", [0xff; 8]) {
                Err(netcluster_client::Error::Forked) => 7,
                _ => 8,
            });
            client.emit("forked", code.to_le_bytes()).unwrap();
        }
        // Slow enough for whoever looks at its state.
        if number > 1000 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    wait_until("never", || false);
}
