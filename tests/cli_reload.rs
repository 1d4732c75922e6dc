//! A broker's configuration read again while it runs, by SIGHUP.

#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use netcluster::status::Status;
use netcluster_client::{Client, Lifecycle};
use netcluster_platform::ignores_hangups;

use support::{Directory, PATIENCE, Process, Signal, backends, command, wait_until};

/// A broker with a configuration that is written again and again.
struct Broker {
    process: Process,
    directory: Directory,
    reloads: u64,
}

/// Returns whether brokers hear SIGHUP here; prints why not.
fn hears_hangups() -> bool {
    if ignores_hangups() {
        println!("SKIPPED: SIGHUP is ignored here, as under nohup, and so by every broker");
    }
    !ignores_hangups()
}

impl Broker {
    fn start(backend: &str, text: &str, options: &[&str]) -> Broker {
        let directory = Directory::new();
        directory.file("n.toml", text);
        let mut serve = command(["serve", "--backend", backend, "--config"]);
        serve.arg(directory.join("n.toml")).args(options);
        serve.arg("--socket").arg(directory.socket("s"));
        let process = Process::start(serve);
        process.wait_for_notice("ready socket=");
        Broker { process, directory, reloads: 0 }
    }

    fn socket(&self) -> PathBuf {
        self.directory.socket("s")
    }

    fn run(&self, arguments: &[&str]) -> support::Done {
        Process::start(self.command(arguments)).finish()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.arg("--socket").arg(self.socket());
        command
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.run(&["status", "--json"]).succeeded().stdout).unwrap()
    }

    /// Writes the configuration and has it read; returns the line that the log tells.
    fn reload(&mut self, text: &str) -> String {
        self.directory.file("n.toml", text);
        self.process.signal(Signal::HUP);
        self.reloads += 1;
        let words = format!("number={} ", self.reloads);
        self.process.wait_for_notice(&words);
        let notices = self.process.notices();
        notices.lines().find(|line| line.contains(&words)).unwrap().to_owned()
    }
}

/// A hundred clients under load; settings change fifty times.
#[test]
fn fifty_reloads_lose_nothing_and_disconnect_nobody() {
    const EMITTERS: usize = 80;
    const LISTENERS: usize = 20;
    const RELOADS: u64 = 50;
    if !hears_hangups() {
        return;
    }
    for backend in backends() {
        // Listeners of a debug build keep up with so many, on a machine that does other work.
        let slow = "[channels.load]\nmax-event-rate = 1000\n";
        let options = ["--shards", "2", "--stall-timeout", "1min"];
        let broker = Broker::start(backend, slow, &options);
        let path = broker.socket();
        let breaks = Arc::new(AtomicU64::new(0));
        let connect = |channel: &str| {
            let breaks = Arc::clone(&breaks);
            let builder = Client::builder().channel(channel).on_lifecycle(move |event| {
                if matches!(event, Lifecycle::Disconnect { .. }) {
                    breaks.fetch_add(1, Ordering::Relaxed);
                }
            });
            builder.disconnect_timeout(PATIENCE).connect(&path).unwrap()
        };
        // Listeners of `copy` hear only while the rules say so, and then in order.
        let listeners: Vec<_> = (0..LISTENERS)
            .map(|at| {
                let is_copy = at % 4 == 0;
                let client = connect(if is_copy { "copy" } else { "load" });
                (is_copy, client.subscribe("load.*").unwrap(), client)
            })
            .collect();
        let is_over = Arc::new(AtomicBool::new(false));
        let emitters: Vec<_> = (0..EMITTERS)
            .map(|at| {
                let (client, is_over) = (connect("load"), Arc::clone(&is_over));
                thread::spawn(move || {
                    let name = format!("load.{at}");
                    let mut count = 0u64;
                    while !is_over.load(Ordering::Relaxed) {
                        client.emit(&name, count.to_le_bytes()).unwrap();
                        count += 1;
                        thread::sleep(Duration::from_millis(10));
                    }
                    client.emit(&name, u64::MAX.to_le_bytes()).unwrap();
                    breaks_none(&client);
                    count
                })
            })
            .collect();
        let hearing: Vec<_> = listeners
            .into_iter()
            .map(|(is_copy, subscription, client)| {
                thread::spawn(move || {
                    let mut counts = BTreeMap::new();
                    let mut ended = 0;
                    while ended < EMITTERS {
                        let message = subscription.recv_timeout(PATIENCE).unwrap();
                        let number = u64::from_le_bytes(message.payload().try_into().unwrap());
                        let next = counts.entry(message.event().to_owned()).or_insert(0u64);
                        if number == u64::MAX {
                            ended += 1;
                            continue;
                        }
                        assert!(number >= *next, "order of {}", message.event());
                        assert!(is_copy || number == *next, "{} is missing", message.event());
                        *next = number + 1;
                    }
                    drop(client);
                    counts
                })
            })
            .collect();
        let watching = connect("watch");
        for number in 1..=RELOADS {
            // The last one has copies, so that all listeners hear the end.
            let forward = if number % 2 == 0 { "forward-to = 'copy'" } else { "" };
            let level = ["info", "warn,netcluster=info"][number as usize % 2];
            let text = format!(
                "max-memory = '{}MiB'\nmax-patterns = {}\nmax-queue = '{}MiB'\nmax-clients = {}\nlog = '{level}'\n\
                 [channels.load]\n{forward}\nnetwork = {}\nmax-event-rate = {}\n",
                300 + number,
                100 + number,
                1 + number % 4,
                200 + number,
                number % 3 == 0,
                1000 + number,
            );
            broker.directory.file("n.toml", &text);
            broker.process.signal(Signal::HUP);
            // The log has no line for each of so many.
            wait_until("it is in force", || {
                let status: Status = serde_json::from_str(&watching.status().unwrap()).unwrap();
                status.memory.limit_bytes == (300 + number) << 20
            });
        }
        let status = broker.status();
        let (closed, totals) = (&status["closed_by_broker"], &status["totals"]);
        let notices = broker.process.notices();
        let broke = breaks.load(Ordering::Relaxed);
        assert_eq!(broke, 0, "{closed}\n{totals}\n{notices}");
        assert_eq!(totals["accepted"], (EMITTERS + LISTENERS + 2) as u64, "{closed}");
        is_over.store(true, Ordering::Relaxed);
        let emitted: Vec<u64> = emitters.into_iter().map(|it| it.join().unwrap()).collect();
        for (at, hearing) in hearing.into_iter().enumerate() {
            let counts = hearing.join().unwrap();
            if at % 4 != 0 {
                let heard: Vec<u64> =
                    (0..EMITTERS).map(|at| counts[&format!("load.{at}")]).collect();
                assert_eq!(heard, emitted, "{backend}");
            }
        }
    }
}

/// Checks that a client has been connected throughout, and ends it.
fn breaks_none(client: &Client) {
    assert!(!client.is_closed());
    client.disconnect().unwrap();
}

#[test]
fn an_invalid_file_changes_nothing_and_says_where_and_why() {
    if !hears_hangups() {
        return;
    }
    let mut broker = Broker::start("auto", "max-patterns = 7\n", &[]);
    broker.directory.file("n.toml", "max-patterns = 8\n\nspin-us = 99\n");
    broker.process.signal(Signal::HUP);
    broker.process.wait_for_notice("not reloaded: ");
    let notices = broker.process.notices();
    assert!(notices.contains("n.toml:3:1: spin-us must be at most 50"), "{notices}");
    broker.directory.file("n.toml", "max-paterns = 8\n");
    broker.process.signal(Signal::HUP);
    broker.process.wait_for_notice("n.toml:1:1: unknown field `max-paterns`");
    // It still has seven.
    let patterns: Vec<String> = (0..8).map(|number| format!("p{number}")).collect();
    let all: Vec<&str> = ["on"].into_iter().chain(patterns.iter().map(String::as_str)).collect();
    let done = broker.run(&all);
    assert!(done.stderr.contains("at most 7 patterns"), "{done:?}");
    let line = broker.reload("max-patterns = 8\n");
    assert!(
        line.contains("changed=max-patterns") || line.contains("changed=\"max-patterns\""),
        "{line}"
    );
    let on = Process::start(broker.command(&all));
    on.wait_for_notice("listening to ");
}

/// Whoever opens a pipe waits for somebody who writes: the broker heard no signal any more.
#[test]
fn a_file_that_became_a_pipe_is_not_read_and_the_end_is_heard() {
    if !hears_hangups() {
        return;
    }
    let broker = Broker::start("auto", "", &[]);
    let path = broker.directory.join("n.toml");
    std::fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    broker.process.signal(Signal::HUP);
    broker.process.wait_for_notice("cannot be read again");
    broker.run(&["reload"]).failed(1, "cannot be read again");
    broker.process.signal(Signal::TERM);
    broker.process.finish().succeeded();
}

/// Each key that a reload changes, in force afterwards.
#[test]
fn limits_and_the_log_change_for_clients_that_are_there() {
    if !hears_hangups() {
        return;
    }
    let mut broker = Broker::start("auto", "", &[]);
    let client = Client::connect(broker.socket()).unwrap();
    let asking = Client::builder().max_queue(128 << 10).connect(broker.socket()).unwrap();
    let text = "max-queue = '1MiB'\nmax-memory = '77MiB'\nmax-clients = 4\nlog = 'debug'\n\
                max-clients-per-user = 3\nspin-us = 1\nstall-timeout = '3s'\n\
                hello-timeout = '300ms'\ndrain-timeout = '2s'\nmax-patterns = 5\n";
    let line = broker.reload(text);
    for line_of in text.lines() {
        let key = line_of.split(' ').next().unwrap();
        assert!(line.contains(key), "{key}: {line}");
    }
    let status: serde_json::Value = serde_json::from_str(&client.status().unwrap()).unwrap();
    assert_eq!(status["memory"]["limit_bytes"], 77 << 20);
    let queues: Vec<_> =
        status["clients"].as_array().unwrap().iter().map(|it| &it["max_queue"]).collect();
    assert_eq!(queues, [1 << 20, 128 << 10]);
    // A connection that says nothing ends by the new timeout; the log tells it at the new level.
    let silent = std::os::unix::net::UnixStream::connect(broker.socket()).unwrap();
    // Asked by a client that is there: one of its own would count among the four for a while.
    wait_until("the silent one is closed", || {
        let status: serde_json::Value = serde_json::from_str(&client.status().unwrap()).unwrap();
        status["totals"]["silent"] == 1
    });
    drop(silent);
    let third = Client::connect(broker.socket()).unwrap();
    let fourth = Client::connect(broker.socket()).unwrap();
    wait_until("a fifth one is refused", || Client::connect(broker.socket()).is_err());
    drop((third, fourth));
    assert!(!asking.is_closed());
    let line = broker.reload("");
    assert!(line.contains("max-memory"), "{line}");
    let status: serde_json::Value = serde_json::from_str(&client.status().unwrap()).unwrap();
    assert_eq!(status["clients"][0]["max_queue"], 8 << 20);
    client.disconnect().unwrap();
}

#[test]
fn what_takes_a_restart_is_named_and_stays() {
    if !hears_hangups() {
        return;
    }
    let mut broker = Broker::start("auto", "shards = 1\n", &["--node-id", "7"]);
    let text = "shards = 2\npin = true\nmax-payload = '1MiB'\nmax-patterns = 9\nnode-id = '8'\n\
                socket-mode = '0666'\nbackend = 'poll'\nshared-memory = 'off'\n[link]\nttl = 2\n\
                [channels.a]\npressure = 'cluster'\n";
    let line = broker.reload(text);
    assert!(line.contains("max-patterns") && !line.contains("shards"), "{line}");
    let words = "these settings have changed and take a restart: channels.a.pressure, link.address, \
                 link.ttl, max-payload, pin, shards, shared-memory, socket-mode";
    // What was typed wins still: neither node-id nor backend has changed.
    broker.process.wait_for_notice(words);
    assert_eq!(broker.status()["shards"].as_array().unwrap().len(), 1);
    assert_eq!(broker.status()["node"], "00000007");
}

#[test]
fn channels_change_for_listeners_that_are_there() {
    if !hears_hangups() {
        return;
    }
    for shards in ["1", "3"] {
        let mut broker = Broker::start("auto", "", &["--shards", shards]);
        let start = |channel: &str| {
            let on = broker.command(&["on", "n", "--format", "raw", "--channel", channel]);
            let on = Process::start(on);
            on.wait_for_notice("listening to ");
            on
        };
        let (mut all, mut raw) = (start("all"), start("raw"));
        let emit = |broker: &Broker, channel: &str, data: &str| {
            broker.run(&["emit", "n", data, "--channel", channel]).succeeded();
        };
        emit(&broker, "raw", "before");
        assert_eq!(raw.line(), "before");
        broker.reload("[channels.raw]\nforward-to = 'all'\n");
        emit(&broker, "raw", "copied");
        assert_eq!(all.line(), "copied", "and nothing from before");
        broker.reload("[channels.raw]\nmax-payload = 10\nmax-event-rate = 1000\n");
        let large = broker.run(&["emit", "n", "eleven bytes", "--channel", "raw"]);
        assert_eq!(large.code(), Some(1), "{large:?}");
        emit(&broker, "raw", "alone");
        emit(&broker, "all", "own");
        assert_eq!(all.line(), "own", "copies go no longer");
    }
}

/// The procedure of docs/operating.md: nobody is parted, and all that is emitted arrives.
#[test]
fn keys_and_peers_of_the_link_change_while_it_runs() {
    if !hears_hangups() {
        return;
    }
    let directory = Directory::new();
    let key = |name: &str| {
        let mut keygen = command(["link", "keygen"]);
        let path = directory.join(name);
        keygen.arg(&path);
        Process::start(keygen).finish().succeeded();
        path.display().to_string()
    };
    let (old, new) = (key("old"), key("new"));
    let text = |name: &str, keys: &[&String], peer: &str| {
        format!(
            "[link]\naddress = '239.255.44.54:44761'\ninterface = '{}'\nnode-name = '{name}'\n\
             cluster = 'reload'\npeer = ['127.0.0.1'{peer}]\nkey-file = {keys:?}\n",
            support::loopback()
        )
    };
    let mut brokers =
        ["a", "b"].map(|name| (name, Broker::start("auto", &text(name, &[&old], ""), &[])));
    let sessions = |brokers: &[(&str, Broker); 2]| {
        let sessions = brokers.each_ref().map(|(_, broker)| {
            let peers = broker.status()["link"]["peers"].as_array().cloned().unwrap_or_default();
            peers.iter().map(|peer| peer["session"].to_string()).collect::<Vec<_>>()
        });
        sessions.concat()
    };
    wait_until("each knows the other", || sessions(&brokers).len() == 2);
    let before = sessions(&brokers);
    let on = brokers[1].1.command(&["on", "n", "--format", "raw", "--wait-cluster", "60s"]);
    let mut on = Process::start(on);
    on.wait_for_notice("listening to ");
    let mut number = 0;
    for step in [&[&old, &new][..], &[&new, &old], &[&new]] {
        for at in 0..2 {
            let (name, broker) = &mut brokers[at];
            let line = broker.reload(&text(name, step, ""));
            assert!(line.contains("changed=\"link.key-file\""), "{line}");
            let data = number.to_string();
            brokers[0].1.run(&["emit", "n", &data]).succeeded();
            assert_eq!(on.line(), data);
            number += 1;
        }
    }
    assert_eq!(sessions(&brokers), before, "nobody was parted");
    // The same file with another key in it is a change, too.
    std::fs::remove_file(directory.join("new")).unwrap();
    let replaced = key("new");
    let (name, broker) = &mut brokers[0];
    let line = broker.reload(&text(name, &[&replaced], ", 'localhost:44762'"));
    assert!(line.contains("link.key-file link.peer"), "{line}");
    // The name is looked up by threads that the reload has started.
    broker.process.wait_for_notice("resolved peer=");
    let line = broker.reload(&text(name, &[], ""));
    assert!(!line.contains("link.key-file"), "{line}");
    broker.process.wait_for_notice("take a restart: link.key-file");
}

/// Whoever asks gets the same answer that the log has.
#[test]
fn reload_by_command_says_what_changed_what_takes_a_restart_and_what_is_wrong() {
    let broker = Broker::start("auto", "", &["--socket-mode", "0666"]);
    broker.directory.file("n.toml", "max-patterns = 9\nshards = 3\n");
    let done = broker.run(&["reload"]).succeeded();
    assert_eq!(done.stdout, "changed: max-patterns\n");
    assert!(done.stderr.contains("needs a restart: shards"), "{done:?}");
    broker.directory.file("n.toml", "max-patterns = 9\n\nshrads = 3\n");
    broker.run(&["reload"]).failed(1, "n.toml:3:1: unknown field `shrads`");
    broker.directory.file("n.toml", "max-patterns = 9\n");
    let answer = broker.run(&["reload", "--json"]).succeeded().stdout;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["changed"], serde_json::json!([]));
    assert_eq!(answer["needs_restart"], serde_json::json!([]));
    if let Some(reload) =
        support::unprivileged(broker.command(&["reload"])).filter(|_| support::is_root())
    {
        Process::start(reload).finish().failed(1, "only root and the broker's own user");
    }
}

/// A terminal that goes takes its broker with it; `kill -HUP` from a live one does not.
#[test]
fn a_terminal_that_goes_ends_the_broker_in_order() {
    if !hears_hangups() {
        return;
    }
    let directory = Directory::new();
    let socket = directory.socket("s");
    let log = directory.join("log");
    let serve = command(["serve"]);
    let line = format!(
        "exec {} serve --socket {} 2>{}",
        serve.get_program().to_str().unwrap(),
        socket.display(),
        log.display()
    );
    let mut script = Command::new("script");
    script.args(["-q", "-c", &line, "/dev/null"]);
    let script = Process::start(script);
    let says = |words: &str| {
        wait_until(words, || std::fs::read_to_string(&log).is_ok_and(|it| it.contains(words)));
    };
    says("ready socket=");
    let status = command(["status", "--json", "--socket"]);
    let mut status = status;
    status.arg(&socket);
    let status = Process::start(status).finish().succeeded().stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let pid = status["pid"].as_i64().unwrap() as i32;
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::HUP).unwrap();
    says("reloaded the configuration");
    // The terminal's other end goes.
    script.signal(Signal::KILL);
    says("shutting down");
    says("ended");
    assert!(!socket.exists());
}

#[test]
fn the_service_manager_is_told_of_a_reload() {
    if !hears_hangups() {
        return;
    }
    let directory = Directory::new();
    let manager = std::os::unix::net::UnixDatagram::bind(directory.join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut serve = command(["serve", "--socket"]);
    serve.arg(directory.socket("s")).env("NOTIFY_SOCKET", directory.join("notify"));
    let broker = Process::start(serve);
    let told = || {
        let mut bytes = [0; 200];
        let length = support::uninterrupted(|| manager.recv(&mut bytes)).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    broker.signal(Signal::HUP);
    let reloading = told();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0, "{reloading}");
    assert_eq!(told(), "READY=1");
}
