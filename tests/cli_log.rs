//! Log of a broker: a reader that does not read it, or a client that causes much of it,
//! harms nobody.

mod support;

use std::io::{self, Write};
use std::path::Path;
use std::thread;

use support::{Broker, Directory, Process, Signal, backends, command, has_signals, wait_until};

/// Number of bad clients: each costs the broker a line of log, unless the broker has had
/// enough of them.
const BAD_CLIENTS: u64 = 3000;

#[cfg(unix)]
fn connect(socket: &Path) -> io::Result<impl Write> {
    std::os::unix::net::UnixStream::connect(socket)
}

#[cfg(windows)]
fn connect(socket: &Path) -> io::Result<impl Write> {
    std::fs::OpenOptions::new().read(true).write(true).open(socket)
}

/// Connects as a program that speaks something else, [`BAD_CLIENTS`] times.
fn disturb(socket: &Path) {
    for _ in 0..BAD_CLIENTS {
        // The broker may have no room at this moment; and it may be faster to close.
        if let Ok(mut stream) = connect(socket) {
            let _ = stream.write_all(&[b'?'; 64]);
        }
    }
}

fn protocol_errors(broker: &Broker) -> u64 {
    broker.status()["totals"]["protocol_errors"].as_u64().unwrap()
}

/// Standard error is full and nobody reads: shards stood in a write, and SIGTERM was
/// not heard, as the thread of signals wanted to log it.
#[test]
fn a_log_that_nobody_reads_stops_neither_the_bus_nor_a_signal() {
    for backend in backends() {
        let (unread, mut full) = io::pipe().unwrap();
        let stderr = full.try_clone().unwrap();
        // It ends when the pipe does.
        thread::spawn(move || while full.write_all(&[b'.'; 4096]).is_ok() {});
        let directory = Directory::new();
        let socket = directory.socket("s");
        let mut serve = command(["serve", "--backend", backend, "--socket"]);
        serve.arg(&socket);
        let broker = Broker { process: Process::start_telling(serve, stderr), directory };
        wait_until("the broker answers", || broker.run(&["status"]).status.success());
        disturb(&socket);
        wait_until("all were sent away", || protocol_errors(&broker) > BAD_CLIENTS / 2);
        let on = broker.on(&["log", "--count", "1"]);
        broker.run(&["emit", "log", "still here"]).succeeded();
        assert_eq!(on.finish().succeeded().stdout, "log still here\n");
        if has_signals() {
            let Broker { process, directory } = broker;
            process.signal(Signal::TERM);
            process.finish().succeeded();
            assert!(!socket.exists(), "it ended in order");
            drop(directory);
        }
        drop(unread);
    }
}

/// One client made 37,000 lines in two seconds.
#[test]
fn a_flood_of_one_kind_of_message_is_summed_up() {
    for backend in backends() {
        let broker = Broker::start(backend);
        disturb(&broker.socket());
        wait_until("all were sent away", || protocol_errors(&broker) > BAD_CLIENTS / 2);
        let summed_up = broker.status()["log"]["summed_up"].as_u64().unwrap();
        assert!(summed_up > BAD_CLIENTS / 4, "{summed_up}");
        assert_eq!(broker.status()["log"]["lost"], 0);
        broker.process.wait_for_notice("more messages in the last 1");
        let notices = broker.process.notices();
        let told = notices.lines().filter(|line| line.contains("disconnected: ")).count();
        assert!(told <= 3 * 21, "{told} lines of {notices}");
        let page = broker.run(&["status"]).succeeded().stdout;
        assert!(page.contains("more like others, summed up"), "{page}");
    }
}

/// Starts a broker that logs to a file, and returns the lines up to its end.
fn logged(
    options: &[&str],
    journal: impl FnOnce(&std::fs::Metadata) -> Option<String>,
) -> Vec<String> {
    let directory = Directory::new();
    let (socket, path) = (directory.socket("s"), directory.join("log"));
    let file = std::fs::File::create(&path).unwrap();
    let mut serve = command(["serve", "--socket"]);
    serve.arg(&socket).args(options);
    match journal(&file.metadata().unwrap()) {
        Some(stream) => serve.env("JOURNAL_STREAM", stream),
        None => serve.env_remove("JOURNAL_STREAM"),
    };
    let broker = Broker { process: Process::start_telling(serve, file), directory };
    wait_until("the broker answers", || broker.run(&["status"]).status.success());
    broker.run(&["log-level", "warn"]).succeeded();
    broker.run(&["drain"]).succeeded();
    let Broker { process, directory: _directory } = broker;
    process.finish().succeeded();
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn each_line_of_json_is_an_object() {
    let lines = logged(&["--log-format", "json"], |_| None);
    let objects: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let ready = objects.iter().find(|it| it["message"] == "ready").expect("it was ready");
    assert_eq!((&ready["level"], &ready["shards"]), (&"info".into(), &1.into()));
    assert!(ready["time"].as_str().unwrap().ends_with('Z'));
    let changed = "the log's filter changed from info to warn";
    assert!(objects.iter().any(|it| it["message"] == changed), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("draining")), "that is no warning: {lines:?}");
}

#[cfg(unix)]
#[test]
fn the_journal_gets_priorities_and_nobody_else_does() {
    use std::os::unix::fs::MetadataExt;

    let stream = |file: &std::fs::Metadata| Some(format!("{}:{}", file.dev(), file.ino()));
    let lines = logged(&[], stream);
    assert!(lines.iter().any(|line| line.starts_with("<6>ready socket=")), "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with('<')), "{lines:?}");
    let lines = logged(&["--log-format", "json"], stream);
    assert!(lines.iter().all(|line| line.starts_with("<6>{\"") || line.starts_with("<4>{\"")));
    // It was meant for another stream: this one goes elsewhere.
    let lines = logged(&[], |file| Some(format!("{}:{}", file.dev(), file.ino() + 1)));
    assert!(lines.iter().any(|line| line.contains(" INFO ready socket=")), "{lines:?}");
}
