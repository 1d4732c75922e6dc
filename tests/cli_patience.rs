//! Commands among others' troubles: a broker that comes late, goes or does not answer, an
//! output that nobody reads, patterns of another system.

mod support;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use support::{
    Broker, Directory, Process, Signal, backends, command, has_signals, is_unix, serve, wait_until,
};

/// Makes more lines than pipes, sockets and the broker's queue hold.
fn flood() -> String {
    format!("{}\n", "x".repeat(1000)).repeat(4000)
}

fn to(socket: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = command(arguments);
    command.arg("--socket").arg(socket);
    command
}

#[test]
fn while_nobody_reads_its_output_on_hears_a_signal() {
    if !has_signals() {
        return;
    }
    let broker = Broker::start("auto");
    let on = broker.on(&["log", "--format", "raw"]);
    Process::start_with_input(broker.command(&["emit", "log"]), flood()).finish().succeeded();
    on.signal(Signal::TERM);
    on.wait_for_notice("the output was not read");
    on.finish().succeeded();
}

#[test]
fn while_nobody_reads_its_output_on_hears_the_clock() {
    let broker = Broker::start("auto");
    for (count, code) in [(None, 0), (Some("9999999"), 4)] {
        let mut arguments = vec!["log", "--format", "raw", "--timeout", "4s"];
        arguments.extend(count.iter().flat_map(|&count| ["--count", count]));
        let on = broker.on(&arguments);
        Process::start_with_input(broker.command(&["emit", "log"]), flood()).finish().succeeded();
        on.wait_for_notice("the output was not read");
        assert_eq!(on.finish().code(), Some(code));
    }
}

#[test]
fn what_was_counted_is_printed_however_slowly_it_is_read() {
    let broker = Broker::start("auto");
    let on = broker.on(&["log", "--format", "raw", "--count", "4000"]);
    Process::start_with_input(broker.command(&["emit", "log"]), flood()).finish().succeeded();
    assert!(on.finish().succeeded().stdout == flood());
}

#[test]
fn on_ends_with_the_reader_of_its_output_without_another_event() {
    if !is_unix("a pipe does not tell that its reader is gone before something is written") {
        return;
    }
    let broker = Broker::start("auto");
    let mut on = broker.on(&["log"]);
    broker.run(&["emit", "log", "1"]).succeeded();
    assert_eq!(on.line(), "log 1");
    on.close_stdout();
    on.finish().succeeded();
}

#[cfg(unix)]
#[test]
fn on_hears_a_signal_and_the_clock_while_it_connects() {
    let directory = Directory::new();
    let mute = directory.join("mute");
    let _listener = std::os::unix::net::UnixListener::bind(&mute).unwrap();
    let nowhere = directory.join("nowhere");
    for socket in [&mute, &nowhere] {
        let arguments = ["on", "log", "--wait", "10min", "--timeout", "200ms"];
        Process::start(to(socket, &arguments)).finish().failed(3, "no broker answered within");
        let on = Process::start(to(socket, &["on", "log", "--wait", "10min"]));
        // It hears signals from its first moments on; before, they end it as well.
        std::thread::sleep(Duration::from_millis(200));
        on.signal(Signal::TERM);
        let done = on.finish();
        assert_ne!(done.code(), Some(3), "{done:?}");
    }
}

#[test]
fn a_command_waits_for_a_broker_that_comes_late() {
    let directory = Directory::new();
    let socket = directory.socket("s");
    let on = Process::start(to(&socket, &["on", "log", "--count", "1", "--wait", "1min"]));
    let status = Process::start(to(&socket, &["status", "--wait", "1min"]));
    let _broker = serve(&socket, "auto", &[]);
    on.wait_for_notice("listening to ");
    status.finish().succeeded();
    Process::start(to(&socket, &["emit", "log", "x", "--wait", "1min"])).finish().succeeded();
    assert_eq!(on.finish().succeeded().stdout, "log x\n");
}

#[test]
fn lines_go_on_over_restarts_of_the_broker() {
    for backend in backends() {
        let mut broker = Broker::start(backend);
        let mut on = broker.on(&["log"]);
        let (emit, mut input) = Process::start_with_pipe(broker.command(&["emit", "log"]));
        writeln!(input, "before").unwrap();
        assert_eq!(on.line(), "log before");
        // It is told at once, not at the next line.
        broker.process.signal(Signal::KILL);
        emit.wait_for_notice("not connected: ");
        on.wait_for_notice("not listening: ");
        writeln!(input, "meanwhile").unwrap();
        broker.process = serve(&broker.socket(), backend, &[]);
        emit.wait_for_notice("connected again");
        on.wait_for_notice("listening again");
        writeln!(input, "after").unwrap();
        let mut line = on.line();
        if line == "log meanwhile" {
            line = on.line();
        }
        assert_eq!(line, "log after");
        drop(input);
        let done = emit.finish();
        // Whether the first line was confirmed before the end is a matter of time.
        if !done.status.success() {
            done.failed(1, "of lines 1 to 1 up to 1 may not have arrived");
        }
    }
}

/// Lines that a broker had read by its end were said to be in doubt.
#[test]
fn no_line_is_in_doubt_after_an_orderly_restart() {
    for backend in backends() {
        let mut broker = Broker::start(backend);
        let (emit, mut input) = Process::start_with_pipe(broker.command(&["emit", "log"]));
        for restart in 0..2 {
            writeln!(input, "{restart}").unwrap();
            let told = |text: &str| {
                wait_until(text, || emit.notices().matches(text).count() > restart);
            };
            wait_until("the broker has it", || broker.status()["totals"]["events_in"] == 1);
            broker.process.signal(Signal::TERM);
            told("not connected: ");
            broker.process = serve(&broker.socket(), backend, &[]);
            told("connected again");
        }
        drop(input);
        let done = emit.finish().succeeded();
        assert!(!done.stderr.contains("may not have arrived"), "{}", done.stderr);
    }
}

#[test]
fn confirmed_lines_are_not_in_doubt_when_a_broker_ends() {
    // The broker confirms what was emitted a moment ago, or some moments on a busy machine.
    let is_certain_after = |pause_ms| {
        let mut broker = Broker::start("auto");
        let (emit, mut input) = Process::start_with_pipe(broker.command(&["emit", "log"]));
        writeln!(input, "1\n2\n3").unwrap();
        wait_until("the broker has them", || broker.status()["totals"]["events_in"] == 3);
        std::thread::sleep(Duration::from_millis(pause_ms));
        broker.process.signal(Signal::KILL);
        emit.wait_for_notice("not connected: ");
        broker.process = serve(&broker.socket(), "auto", &[]);
        emit.wait_for_notice("connected again");
        drop(input);
        let done = emit.finish();
        done.status.success() && !done.stderr.contains("may not have arrived")
    };
    assert!([300, 1000, 5000, 10_000].into_iter().any(is_certain_after));
}

#[test]
fn a_file_is_one_event_byte_for_byte() {
    let broker = Broker::start_with("auto", &["--max-payload", "64KiB"]);
    let on = broker.on(&["file", "--count", "3", "--format", "json"]);
    let bytes: Vec<u8> = (0..=255).cycle().take(1000).chain(*b"\n\0\n").collect();
    let path = broker.directory.join("f");
    std::fs::write(&path, &bytes).unwrap();
    let name = path.to_str().unwrap();
    broker.run(&["emit", "file", "--file", name]).succeeded();
    let command = broker.command(&["emit", "file", "--file", "-"]);
    Process::start_with_input(command, bytes.clone()).finish().succeeded();
    std::fs::write(&path, vec![b'x'; (64 << 10) + 1]).unwrap();
    broker.run(&["emit", "file", "--file", name]).failed(1, "--max-payload");
    std::fs::write(&path, "").unwrap();
    broker.run(&["emit", "file", "--file", name]).succeeded();
    broker.run(&["emit", "file", "--file", "/nowhere/f"]).failed(1, "cannot read the file");
    broker.run(&["emit", "file", "--file", name, "data"]).failed(2, "cannot be used with");
    let printed = on.finish().succeeded().stdout;
    let lines: Vec<serde_json::Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["data_base64"], lines[1]["data_base64"]);
    assert_eq!(lines[0]["data_base64"].as_str().unwrap().len(), bytes.len().div_ceil(3) * 4);
    assert_eq!((&lines[2]["encoding"], &lines[2]["data_base64"]), (&"bytes".into(), &"".into()));
}

#[test]
fn a_latest_listener_loses_old_events_and_is_told() {
    let broker = Broker::start_with("auto", &["--max-queue", "64KiB"]);
    let mut on = broker.on(&["log", "--format", "raw", "--queue", "latest"]);
    Process::start_with_input(broker.command(&["emit", "log"]), flood()).finish().succeeded();
    broker.run(&["emit", "log", "last"]).succeeded();
    assert!(broker.status()["totals"]["dropped"].as_u64().unwrap() > 0);
    while on.line() != "last" {}
    on.wait_for_notice("lost: ");
}

#[test]
fn emit_tells_how_many_get_it_if_asked() {
    for backend in backends() {
        let broker = Broker::start_with(backend, &["--shards", "2"]);
        let tells = |arguments: &[&str], expected: &str| {
            let arguments = [&["emit"], arguments, &["--verbose"]].concat();
            assert_eq!(broker.run(&arguments).succeeded().stdout, expected, "{backend}");
        };
        tells(&["log.web", "x"], "log.web: 0 clients\n");
        let _one = broker.on(&["log.*", "log.web"]);
        tells(&["log.web", "x"], "log.web: 1 client\n");
        let _two = broker.on(&["**"]);
        let _other = broker.on(&["log.web", "--channel", "other"]);
        tells(&["log.web", "x"], "log.web: 2 clients\n");
        tells(&["other", "x"], "other: 1 client\n");
        let lines = Process::start_with_input(broker.command(&["emit", "log.db", "-v"]), "a\nb\n");
        assert_eq!(lines.finish().succeeded().stdout, "log.db: 2 clients\n".repeat(2));
        assert_eq!(broker.run(&["emit", "log.web", "x"]).succeeded().stdout, "");
    }
}

#[test]
fn wildcards_of_other_systems_are_refused_before_anything_is_listened_to() {
    for pattern in ["log.>", "log.#", "log/#", "log*", "a.*b", "a/+/b", "+"] {
        let on = Process::start(command(["on", pattern, "--socket", support::NO_SOCKET]));
        on.finish().failed(2, "token");
    }
}
