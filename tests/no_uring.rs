//! Broker where io_uring is refused: really refused, by a system call filter of the kind
//! that containers and services run under.
//!
//! The filter is set for a thread, whose children inherit it; nothing on the machine
//! changes.

#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use support::{Broker, Directory, Process, command};

/// Number of `io_uring_setup`, on every architecture of Linux that is not older than the
/// call.
const IO_URING_SETUP: i64 = 425;

/// Errors with which io_uring is refused, and words of the advice that goes with each.
/// Filters of containers return EPERM, older ones ENOSYS.
const REFUSALS: [(i32, &str); 2] = [
    (1, "a seccomp profile that permits io_uring_setup, io_uring_enter and io_uring_register"),
    (38, "or a system call filter hides it"),
];

/// Starts a command for which the system call returns this error.
fn spawn_refused(command: &mut Command, errno: i32) -> std::io::Result<Child> {
    let filter = SeccompFilter::new(
        BTreeMap::from([(IO_URING_SETUP, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        std::env::consts::ARCH.try_into().expect("an architecture with filters"),
    );
    let program: BpfProgram =
        filter.and_then(TryInto::try_into).expect("a filter of one system call");
    thread::scope(|scope| {
        let starter = scope.spawn(|| {
            apply_filter(&program).expect("every Linux of today has filters");
            command.spawn()
        });
        starter.join().expect("it starts a process")
    })
}

/// Starts `serve`, refused with this error.
fn serve(directory: &Directory, backend: &str, errno: i32) -> Process {
    let mut command = command(["serve", "--backend", backend, "--socket"]);
    command.arg(directory.join("s"));
    Process::start_by(command, |command| spawn_refused(command, errno))
}

/// Starts a broker that wants the best that works.
fn fallen_back(errno: i32) -> Broker {
    let directory = Directory::new();
    let process = serve(&directory, "auto", errno);
    process.wait_for_notice("ready socket=");
    Broker { process, directory }
}

/// Returns whether the machine allows io_uring: where it does not there is nothing to
/// refuse, and the reason is another.
fn machine_allows_it() -> bool {
    let allowed = support::backends().contains(&"uring");
    if !allowed {
        println!("SKIPPED: refusing io_uring, which this machine does not have");
    }
    allowed
}

#[test]
fn the_broker_falls_back_and_says_in_one_line_why_and_what_would_help() {
    if !machine_allows_it() {
        return;
    }
    for (errno, hint) in REFUSALS {
        let broker = fallen_back(errno);
        let log = broker.process.notices();
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
        assert_eq!(warnings.len(), 1, "{log}");
        assert!(warnings[0].contains("using the poll back end: "), "{log}");
        assert!(warnings[0].contains(hint), "{log}");
        assert!(log.contains("backend=poll"), "{log}");
    }
}

#[test]
fn status_names_the_back_end_and_the_reason() {
    if !machine_allows_it() {
        return;
    }
    for (errno, hint) in REFUSALS {
        let broker = fallen_back(errno);
        let status = broker.status();
        assert_eq!(status["backend"], "poll");
        let note = status["backend_note"].as_str().expect("a reason");
        assert!(note.contains(hint), "{note}");
        let text = broker.run(&["status"]).succeeded().stdout;
        assert!(text.contains("poll"), "{text}");
    }
}

#[test]
fn the_results_are_the_same() {
    const EVENTS: usize = 20_000;
    if !machine_allows_it() {
        return;
    }
    let input: String = (0..EVENTS).map(|number| format!("line {number}\n")).collect();
    let delivered = |broker: &Broker| {
        let on = broker.on(&["log.**", "--count", &EVENTS.to_string(), "--format", "raw"]);
        let other = broker.on(&["other", "log.*", "--count", "1", "--format", "text"]);
        let emit = Process::start_with_input(broker.command(&["emit", "log.x"]), input.clone());
        emit.finish().succeeded();
        (on.finish().succeeded().stdout, other.finish().succeeded().stdout)
    };
    let with = delivered(&Broker::start("uring"));
    let without = delivered(&fallen_back(1));
    assert!(with == without, "io_uring and its replacement delivered different events");
    assert!(without.0 == input, "other lines arrived than were emitted");
    assert_eq!(without.1, "log.x line 0\n");
}

#[test]
fn a_broker_that_must_have_it_does_not_start() {
    if !machine_allows_it() {
        return;
    }
    for (errno, hint) in REFUSALS {
        let directory = Directory::new();
        let done = serve(&directory, "uring", errno).finish();
        assert!(!directory.join("s").exists(), "a socket was left behind");
        done.failed(1, hint);
    }
}
