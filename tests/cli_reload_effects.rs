//! Settings that a reload changes, by what they do afterwards, also to processes that are stopped,
//! which Windows cannot.

#![cfg(unix)]

mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netcluster_client::Client;
use serde_json::Value;
use support::{Directory, Process, Signal, command, has_signals, serve, wait_until};

/// A broker with a file that is written and read again.
struct Reloaded {
    process: Process,
    directory: Directory,
    owner: Client,
}

impl Reloaded {
    fn start(backend: &str, text: &str) -> Reloaded {
        let directory = Directory::new();
        let file = directory.file("n.toml", text);
        let socket = directory.socket("s");
        let process = serve(&socket, backend, &["--config", file.to_str().unwrap()]);
        let owner = Client::connect(&socket).unwrap();
        Reloaded { process, directory, owner }
    }

    fn socket(&self) -> PathBuf {
        self.directory.socket("s")
    }

    /// Changes the file, and checks that this key is in force.
    fn reload(&self, text: &str, key: &str) {
        self.directory.file("n.toml", text);
        let answer = self.owner.control(r#"{"do":"reload"}"#).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["changed"], serde_json::json!([key]), "{answer}");
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.owner.status().unwrap()).unwrap()
    }

    /// Starts a listener that stands still, and for which much waits.
    fn stuck(&self) -> Process {
        let mut on = command(["on", "log", "--queue", "latest", "--socket"]);
        on.arg(self.socket());
        let on = Process::start(on);
        on.wait_for_notice("listening to ");
        on.signal(Signal::STOP);
        let emitter = Client::connect(self.socket()).unwrap();
        wait_until("something waits for it", || {
            emitter.emit("log", "x".repeat(10_000)).unwrap();
            emitter.ping().unwrap();
            self.status()["totals"]["queued_bytes"].as_u64().unwrap() > 1 << 20
        });
        on
    }
}

#[test]
fn a_listener_that_stands_still_is_disconnected_by_the_new_stall_timeout() {
    if !has_signals() {
        return;
    }
    let broker = Reloaded::start("auto", "stall-timeout = '10min'\nmax-queue = '2MiB'\n");
    let mut on = command(["on", "log", "--socket"]);
    on.arg(broker.socket());
    let on = Process::start(on);
    on.wait_for_notice("listening to ");
    on.signal(Signal::STOP);
    broker.reload("stall-timeout = '200ms'\nmax-queue = '2MiB'\n", "stall-timeout");
    let emitter = Client::connect(broker.socket()).unwrap();
    wait_until("it is disconnected", || {
        let _ = emitter.try_emit("log", "x".repeat(10_000));
        broker.status()["totals"]["stalled"] == 1
    });
    broker.process.wait_for_notice("did not drain to half within 0.2 s");
}

#[test]
fn a_broker_that_ends_waits_for_listeners_as_long_as_the_new_drain_timeout() {
    if !has_signals() {
        return;
    }
    let broker = Reloaded::start("auto", "drain-timeout = '10min'\nstall-timeout = '10min'\n");
    let _on = broker.stuck();
    broker.reload("drain-timeout = '100ms'\nstall-timeout = '10min'\n", "drain-timeout");
    broker.process.signal(Signal::TERM);
    broker.process.finish().succeeded();
}

/// Looks are system calls here: at least one more behind each ping.
#[test]
fn a_shard_looks_for_work_as_long_as_the_new_spin_says() {
    const PINGS: u64 = 200;
    let broker = Reloaded::start("poll", "shards = 1\n");
    let client = Client::connect(broker.socket()).unwrap();
    let syscalls = || {
        let count = || broker.status()["shards"][0]["io"]["syscalls"].as_u64().unwrap();
        let before = count();
        for _ in 0..PINGS {
            client.ping().unwrap();
            thread::sleep(Duration::from_micros(200));
        }
        count() - before
    };
    let sleeping = syscalls();
    broker.reload("shards = 1\nspin-us = 50\n", "spin-us");
    let looking = syscalls();
    assert!(looking > sleeping + PINGS / 2, "{sleeping} system calls, then {looking}");
    broker.reload("shards = 1\n", "spin-us");
    let again = syscalls();
    assert!(again < sleeping + PINGS / 2, "{sleeping} system calls, then {again}");
}

#[test]
fn the_log_has_what_the_new_level_says() {
    let broker = Reloaded::start("auto", "");
    let level = || broker.owner.control(r#"{"do":"log-level"}"#).unwrap();
    assert_eq!(level(), r#"{"level":"info"}"#);
    // What a reload says is there, or not, by the level that it has brought.
    broker.reload("log = 'error'\n", "log");
    broker.reload("log = 'debug'\n", "log");
    assert_eq!(level(), r#"{"level":"debug"}"#);
    broker.process.wait_for_notice("number=2 ");
    assert!(!broker.process.notices().contains("number=1 "));
    // One that somebody asked for stays while the file has the same.
    broker.owner.control(r#"{"do":"log-level","level":"warn"}"#).unwrap();
    broker.reload("log = 'debug'\nmax-patterns = 9\n", "max-patterns");
    assert_eq!(level(), r#"{"level":"warn"}"#);
    broker.reload("max-patterns = 9\n", "log");
    assert_eq!(level(), r#"{"level":"info"}"#);
}

/// Listeners follow new rules in many turns, in which others come, change their minds, and go.
#[test]
fn whoever_comes_and_goes_while_rules_change_leaves_nothing_behind() {
    const CLIENTS: usize = 6;
    const PATTERNS: usize = 900;
    const RELOADS: usize = 30;
    let copies = "[channels.raw]\nforward-to = ['all']\n";
    let more =
        "[channels.raw]\nforward-to = ['all', 'other']\n[channels.raw2]\nforward-to = ['all']\n";
    for shards in ["1", "3"] {
        let text = |rules: &str| format!("shards = {shards}\n{rules}");
        let broker = Reloaded::start("auto", &text(""));
        let is_over = AtomicBool::new(false);
        let patterns: Vec<String> = (0..PATTERNS).map(|number| format!("p{number}.*")).collect();
        let connect =
            |channel: &str| Client::builder().channel(channel).connect(broker.socket()).unwrap();
        thread::scope(|scope| {
            for seed in 0..CLIENTS {
                let (patterns, is_over, connect) = (&patterns, &is_over, &connect);
                scope.spawn(move || {
                    let mut round = seed;
                    while !is_over.load(Ordering::Relaxed) {
                        let client = connect("all");
                        let listeners = patterns.iter().map(|it| client.on(it, |_| {}).unwrap());
                        let listeners: Vec<_> = listeners.collect();
                        for listener in listeners.iter().skip(round % 7).step_by(3) {
                            client.remove_listener(*listener);
                        }
                        round += 1;
                    }
                });
            }
            // What the last reload has brought is in force once it is answered.
            for number in 0..RELOADS {
                let rules = ["", copies, more][number % 3];
                broker.directory.file("n.toml", &text(rules));
                broker.owner.control(r#"{"do":"reload"}"#).unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let listener = connect("all");
        let heard = listener.subscribe("p1.*").unwrap();
        let rules = [(copies, vec!["raw"]), (more, vec!["raw", "raw2"]), ("", vec![])];
        for (number, (rules, sources)) in rules.into_iter().enumerate() {
            broker.directory.file("n.toml", &text(rules));
            broker.owner.control(r#"{"do":"reload"}"#).unwrap();
            for source in ["raw", "raw2", "all"] {
                let emitter = connect(source);
                emitter.emit_text("p1.x", &format!("{source} {number}")).unwrap();
                emitter.disconnect().unwrap();
            }
            for source in sources.into_iter().chain(["all"]) {
                let message = heard.recv_timeout(support::PATIENCE).unwrap();
                assert_eq!(message.text().unwrap(), format!("{source} {number}"));
            }
        }
        drop((heard, listener));
        wait_until("nothing is left in the routes", || {
            let status = broker.status();
            let memory = &status["memory"];
            status["totals"]["listeners"] == 0
                && (&memory["routes_bytes"], &memory["queues_bytes"]) == (&0.into(), &0.into())
        });
    }
}
