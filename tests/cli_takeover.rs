//! `netcluster serve --takeover`: a broker in the place of one that runs, in processes that
//! may be killed at any moment.

#![cfg(target_os = "linux")]

mod support;

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use netcluster_client::{Client, Error};
use support::{Broker, Directory, PATIENCE, Process, Signal, backends, command, serve};

/// Moments at which one of the two is killed, after the start of the new one.
const KILLS: u32 = 10;

/// Time between two of them: together somewhat more than a takeover takes.
const KILL_STEP: Duration = Duration::from_millis(2);

fn successor(socket: &Path, backend: &str, options: &[&str]) -> Command {
    let mut command = command(["serve", "--takeover", "--backend", backend, "--socket"]);
    command.arg(socket).args(options);
    command
}

/// A listener and an emitter, who count.
struct Pair {
    emitter: Client,
    _listener: Client,
    heard: Receiver<u64>,
    next: u64,
}

impl Pair {
    fn at(socket: &Path) -> Pair {
        let connect = || {
            let builder = Client::builder().connect_timeout(PATIENCE).disconnect_timeout(PATIENCE);
            builder.connect(socket).expect("a broker")
        };
        let (tell, heard) = channel();
        let listener = connect();
        let hear = move |message: &netcluster_client::Message<'_>| {
            let number = u64::from_le_bytes(message.payload().try_into().unwrap());
            let _ = tell.send(number);
        };
        listener.on("count", hear).expect("allowed");
        Pair { emitter: connect(), _listener: listener, heard, next: 0 }
    }

    fn emit(&mut self) {
        self.emitter.emit("count", self.next.to_le_bytes()).expect("it comes back");
        self.next += 1;
    }

    /// Checks that everything came, once and in order.
    fn check(&mut self, from: u64) {
        for number in from..self.next {
            assert_eq!(self.heard.recv_timeout(PATIENCE), Ok(number));
        }
        assert!(self.heard.try_recv().is_err(), "nothing comes twice");
    }
}

#[test]
fn a_broker_takes_the_place_of_another_and_clients_go_on() {
    for backend in backends() {
        let broker = Broker::start_with(backend, &["--node-id", "7"]);
        let socket = broker.socket();
        let mut pair = Pair::at(&socket);
        (0..100).for_each(|_| pair.emit());
        let mut old = broker.process;
        for run in 0..3 {
            let new = Process::start(successor(&socket, backend, &["--node-id", "7"]));
            (0..100).for_each(|_| pair.emit());
            new.wait_for_notice("ready socket=");
            let done = old.finish().succeeded();
            assert!(done.stderr.contains("another broker has taken this one's place"), "{run}");
            old = new;
        }
        pair.check(0);
        old.signal(Signal::TERM);
        old.finish().succeeded();
        assert!(!socket.exists());
    }
}

#[test]
fn where_no_broker_runs_it_is_an_ordinary_start() {
    let directory = Directory::new();
    let socket = directory.socket("s");
    let broker = Process::start(successor(&socket, "auto", &[]));
    broker.wait_for_notice("an ordinary start");
    broker.wait_for_notice("ready socket=");
    broker.signal(Signal::KILL);
    broker.finish();
    // What it left is nobody's.
    let broker = Process::start(successor(&socket, "auto", &[]));
    broker.wait_for_notice("ready socket=");
}

#[test]
fn a_broker_that_cannot_start_leaves_the_other_one_alone() {
    for backend in backends() {
        let broker = Broker::start(backend);
        let socket = broker.socket();
        let mut pair = Pair::at(&socket);
        for (options, code, words) in [
            (["--socket-group", "no-such-group"], 1, "no group named"),
            (["--interface", "no-such-interface"], 1, "no-such-interface"),
            (["--max-queue", "1"], 2, "max-queue"),
        ] {
            let link: &[&str] = if options[0] == "--interface" { &["--link"] } else { &[] };
            let options = [&options[..], link].concat();
            Process::start(successor(&socket, backend, &options)).finish().failed(code, words);
            pair.emit();
        }
        pair.check(0);
        let names: Vec<_> =
            broker.directory.path().read_dir().unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let notices = broker.process.notices();
        assert!(!notices.contains("shutting down"), "{notices}");
    }
}

/// The test plays a successor, which is gone once it has the name.
#[test]
fn a_broker_serves_again_if_its_successor_is_gone() {
    for backend in backends() {
        let broker = Broker::start(backend);
        let socket = broker.socket();
        let mut pair = Pair::at(&socket);
        let owner = Client::connect(&socket).unwrap();
        for wrong in [".1.new", "s", "../x", ".x.new", ""] {
            let request = format!(r#"{{"do":"take-over","socket":"{wrong}"}}"#);
            let refused = owner.control(&request);
            assert!(matches!(refused, Err(Error::Refused(_))), "{wrong}: {refused:?}");
        }
        pair.emit();
        pair.check(0);
        drop(owner);
        for time in 1..=2 {
            let from = pair.next;
            let owner = Client::connect(&socket).unwrap();
            let name = format!(".{}.new", std::process::id());
            let listener = UnixListener::bind(socket.with_file_name(&name)).unwrap();
            owner.control(&format!(r#"{{"do":"take-over","socket":"{name}"}}"#)).unwrap();
            // Nobody removes the file.
            drop(listener);
            let again = "is gone: serving again";
            support::wait_until("it serves again", || {
                broker.process.notices().matches(again).count() == time
            });
            (0..10).for_each(|_| pair.emit());
            pair.check(from);
        }
        // Its end is as usual.
        broker.process.signal(Signal::TERM);
        broker.process.finish().succeeded();
    }
}

/// The settings of its start were those it had again, an old key for instance.
#[test]
fn a_broker_that_serves_again_has_what_reloads_have_brought() {
    let directory = Directory::new();
    let file = directory.file("n.toml", "max-memory = '64MiB'\nmax-patterns = 7\n");
    let socket = directory.socket("s");
    let broker = serve(&socket, "auto", &["--config", file.to_str().unwrap()]);
    directory.file("n.toml", "max-memory = '77MiB'\nmax-patterns = 7\nshards = 3\n");
    let owner = Client::connect(&socket).unwrap();
    owner.control(r#"{"do":"reload"}"#).unwrap();
    // It is what is in force that counts, and nothing that is wrong now.
    directory.file("n.toml", "max-memory = 'much'\n");
    let name = format!(".{}.new", std::process::id());
    let listener = UnixListener::bind(socket.with_file_name(&name)).unwrap();
    owner.control(&format!(r#"{{"do":"take-over","socket":"{name}"}}"#)).unwrap();
    drop((listener, owner));
    broker.wait_for_notice("is gone: serving again");
    let mut status = None;
    support::wait_until("it serves again", || {
        let client = Client::connect(&socket).ok();
        status = client.and_then(|client| client.status().ok());
        status.is_some()
    });
    let status: serde_json::Value = serde_json::from_str(&status.unwrap()).unwrap();
    assert_eq!(status["memory"]["limit_bytes"], 77 << 20);
    let owner = Client::connect(&socket).unwrap();
    let refused = owner.control(r#"{"do":"reload"}"#);
    assert!(matches!(&refused, Err(Error::Refused(text)) if text.contains("max-memory")));
}

/// Nothing is promised of the events that a killed broker had; but somebody serves, at once.
#[test]
fn whichever_is_killed_at_whatever_moment_the_other_serves() {
    for backend in backends() {
        for (victim, step) in (0..2).flat_map(|victim| (0..KILLS).map(move |step| (victim, step))) {
            let directory = Directory::new();
            let socket = directory.socket("s");
            let old = serve(&socket, backend, &[]);
            let mut pair = Pair::at(&socket);
            pair.emit();
            pair.check(0);
            let new = Process::start(successor(&socket, backend, &[]));
            std::thread::sleep(KILL_STEP * step);
            if victim == 0 { &old } else { &new }.signal(Signal::KILL);
            let served = || {
                let client = Client::builder().connect_timeout(PATIENCE).connect(&socket);
                client.is_ok_and(|client| client.ping().is_ok())
            };
            // The clients are back at whoever serves.
            let both_ended = || !old.is_running() && !new.is_running();
            support::wait_until("an event arrives, or both are done", || {
                pair.emit();
                pair.heard.recv_timeout(Duration::from_millis(50)).is_ok() || both_ended()
            });
            if both_ended() {
                // The new one had taken over before it was killed.
                let notices = [old.finish().stderr, new.finish().stderr].join("new:\n");
                let is_done = victim == 1 && notices.contains("taken this one's place");
                assert!(is_done, "victim {victim}, step {step}:\n{notices}");
                continue;
            }
            support::wait_until("others may come", served);
        }
    }
}

#[test]
fn the_service_manager_is_told_whom_to_watch_before_the_old_one_is_gone() {
    let directory = Directory::new();
    let path = directory.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut told = [0; 100];
        let bytes = support::uninterrupted(|| manager.recv(&mut told)).expect("a datagram");
        String::from_utf8_lossy(&told[..bytes]).into_owned()
    };
    let socket = directory.socket("s");
    let start = |mut command: Command| {
        command.env("NOTIFY_SOCKET", &path);
        Process::start(command)
    };
    let mut first = command(["serve", "--socket"]);
    first.arg(&socket);
    let old = start(first);
    assert_eq!(next(), "READY=1");
    let new = start(successor(&socket, "auto", &[]));
    assert_eq!(next(), format!("MAINPID={}\nWATCHDOG_USEC=30000000", new.pid()));
    assert_eq!(next(), "READY=1");
    // The old one says nothing: it is not the service that stops.
    old.finish().succeeded();
    new.signal(Signal::TERM);
    assert_eq!(next(), "STOPPING=1");
}

#[test]
fn in_the_background_it_returns_once_it_serves_or_fails() {
    let broker = Broker::start("auto");
    let socket = broker.socket();
    let options = ["--background", "--socket-group", "no-such-group"];
    Process::start(successor(&socket, "auto", &options)).finish().failed(1, "no group named");
    // Its log goes where that of the command went, which is not read to its end here.
    let mut background = successor(&socket, "auto", &["--background"]);
    background.stderr(std::process::Stdio::null());
    let output = background.stdin(std::process::Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["ready"], true);
    broker.process.finish().succeeded();
    let mut status = command(["status", "--json", "--socket"]);
    let done = Process::start({
        status.arg(&socket);
        status
    })
    .finish()
    .succeeded();
    let status: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(status["pid"], line["pid"]);
    Client::connect(&socket).unwrap().control(r#"{"do":"drain"}"#).unwrap();
    support::wait_until("it ends", || !socket.exists());
}
