//! Commands that are interrupted, or whose broker is gone: they end soon, and say what may
//! not have arrived.

#![cfg(target_os = "linux")]

mod support;

use std::io::Write;
use std::os::unix::process::ExitStatusExt;

use support::{Broker, Directory, Done, NO_SOCKET, Process, Signal, command, wait_until};

/// Number of SIGINT.
const SIGINT: i32 = 2;

/// Checks that a command ended by Ctrl-C as a shell wants it, and said this.
#[track_caller]
fn interrupted(done: Done, words: &str) -> Done {
    assert_eq!(done.status.signal(), Some(SIGINT), "{done:?}");
    assert!(done.stderr.contains(words), "{words:?} is not in {done:?}");
    done
}

/// Stops a broker; returns once no thread of it runs any more.
fn stop(broker: &Broker) {
    broker.process.signal(Signal::STOP);
    let tasks = format!("/proc/{}/task", broker.process.pid());
    let stopped = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap();
        stat.rsplit(") ").next().is_some_and(|state| state.starts_with('T'))
    };
    wait_until("it is stopped", || {
        std::fs::read_dir(&tasks).unwrap().all(|task| stopped(task.unwrap()))
    });
}

/// Waits until a process hears SIGINT, which ended it without a word before.
fn wait_until_it_hears(process: &Process) {
    let path = format!("/proc/{}/status", process.pid());
    wait_until("it hears signals", || {
        let status = std::fs::read_to_string(&path).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(mask, 16).unwrap() & (1 << (SIGINT - 1)) != 0
    });
}

#[test]
fn lines_that_were_read_before_ctrl_c_arrive() {
    let broker = Broker::start("auto");
    let mut on = broker.on(&["log"]);
    let (emit, mut input) = Process::start_with_pipe(broker.command(&["emit", "log"]));
    writeln!(input, "one\ntwo").unwrap();
    assert_eq!([on.line(), on.line()], ["log one", "log two"]);
    emit.signal(Signal::INT);
    let done = emit.finish().succeeded();
    assert_eq!(done.stderr, "");
}

#[test]
fn ctrl_c_ends_an_emit_whose_broker_does_not_answer_and_says_what_is_in_doubt() {
    let broker = Broker::start("auto");
    let one = Process::start(broker.command(&["emit", "log", "--verbose", "--file", "-"]));
    one.finish().succeeded();

    // Connected, and has emitted: now it waits for the broker.
    let (emit, mut input) = Process::start_with_pipe(broker.command(&["emit", "log"]));
    writeln!(input, "one").unwrap();
    wait_until("the line came", || broker.status()["totals"]["events_in"] == 2);
    stop(&broker);
    writeln!(input, "two\nthree").unwrap();
    drop(input);
    emit.wait_for_notice("no answer yet: ");
    emit.signal(Signal::INT);
    let done = interrupted(emit.finish(), "error: interrupted: lines ");
    assert!(done.stderr.contains(" to 3 may not have arrived"), "{done:?}");
    broker.process.signal(Signal::CONT);
}

#[test]
fn ctrl_c_ends_an_emit_that_waits_for_a_broker() {
    for data in [&["one"][..], &[]] {
        let arguments = [&["emit", "log", "--socket", NO_SOCKET, "--wait", "10min"], data].concat();
        let (emit, input) = Process::start_with_pipe(command(arguments));
        wait_until_it_hears(&emit);
        emit.signal(Signal::INT);
        interrupted(emit.finish(), "error: interrupted before anything was emitted");
        drop(input);
    }
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_behind() {
    let directory = Directory::new();
    let mut demo = command(["demo"]);
    demo.env("TMPDIR", directory.join("."));
    let mut demo = Process::start(demo);
    while !demo.line().starts_with("listener  on") {}
    let entries = || std::fs::read_dir(directory.join(".")).unwrap().count();
    assert_eq!(entries(), 1, "its directory");
    demo.signal(Signal::INT);
    interrupted(demo.finish(), "the demo was interrupted");
    assert_eq!(entries(), 0);
}

/// A broker that is gone for good was waited for a minute.
#[test]
fn at_the_end_of_the_lines_no_broker_is_waited_for_unless_that_is_asked_for() {
    for (wait, back) in [(&[][..], false), (&["--wait", "1.5min"], true)] {
        let mut broker = Broker::start("auto");
        let arguments = [&["emit", "log"], wait].concat();
        let (emit, mut input) = Process::start_with_pipe(broker.command(&arguments));
        writeln!(input, "one").unwrap();
        wait_until("the line came", || broker.status()["totals"]["events_in"] == 1);
        broker.process.signal(Signal::KILL);
        emit.wait_for_notice("not connected: ");
        writeln!(input, "two").unwrap();
        drop(input);
        if back {
            broker.process = support::serve(&broker.socket(), "auto", &[]);
            emit.wait_for_notice("connected again");
            wait_until("the other came", || broker.status()["totals"]["events_in"] == 1);
            let done = emit.finish();
            assert!(matches!(done.code(), Some(0 | 1)), "{done:?}");
        } else {
            let done = emit.finish().failed(3, "any more; lines ");
            assert!(done.stderr.contains(" to 2 may not have arrived; --wait waits"), "{done:?}");
        }
    }
}
