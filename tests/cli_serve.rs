//! Broker as a process: its socket, its end, what stands in its way.

mod support;

use std::path::Path;
use std::process::Command;

use support::{
    Broker, Directory, Process, Signal, backends, command, give_to_unprivileged, has_signals,
    is_root, is_socket, is_unix, mode_and_group, own_user, serve, set_mode, unprivileged,
    wait_until,
};

/// Checks that an event goes from a process to another through this broker.
#[track_caller]
fn assert_works(socket: &Path) {
    let with_socket = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.arg("--socket").arg(socket);
        command
    };
    let on = Process::start(with_socket(&["on", "check", "--count", "1"]));
    on.wait_for_notice("listening to ");
    Process::start(with_socket(&["emit", "check", "works"])).finish().succeeded();
    assert_eq!(on.finish().succeeded().stdout, "check works\n");
}

fn start_serve(socket: &Path, backend: &str) -> Process {
    let mut command = command(["serve", "--backend", backend, "--socket"]);
    command.arg(socket);
    Process::start(command)
}

#[test]
fn serve_alone_just_works() {
    if !is_unix("the default pipe is one for all tests of this machine") {
        return;
    }
    let directory = Directory::new();
    give_to_unprivileged(directory.path());
    let with_default = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.env("XDG_RUNTIME_DIR", directory.path());
        unprivileged(command)
    };
    let Some(serve) = with_default(&["serve"]) else { return };
    let broker = Process::start(serve);
    broker.wait_for_notice("ready socket=");
    let on = Process::start(with_default(&["on", "log", "--count", "1"]).unwrap());
    on.wait_for_notice("listening to ");
    Process::start(with_default(&["emit", "log", "x"]).unwrap()).finish().succeeded();
    assert_eq!(on.finish().succeeded().stdout, "log x\n");
    assert!(directory.join("netcluster/default.sock").exists());
    broker.signal(Signal::TERM);
    broker.finish().succeeded();
    assert!(!directory.join("netcluster/default.sock").exists());
}

#[test]
fn the_log_says_in_one_line_what_runs() {
    for backend in backends() {
        let broker = Broker::start_with(backend, &["--shards", "2", "--node-id", "7"]);
        let notices = broker.process.notices();
        let line = notices.lines().find(|line| line.contains("ready")).unwrap();
        let socket = broker.socket();
        let words = [socket.to_str().unwrap(), backend, "shards=2", "node=00000007"];
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
}

#[test]
fn signals_drain_and_remove_the_socket() {
    if !has_signals() {
        return;
    }
    for backend in backends() {
        for signal in [Signal::TERM, Signal::INT] {
            let broker = Broker::start_with(backend, &["--drain-timeout", "1min"]);
            let mut on = broker.on(&["log", "--format", "raw"]);
            // More than the sockets and pipes on the way hold, while nobody reads.
            let payload = "x".repeat(1000);
            let input: String = (0..4000).map(|number| format!("{number} {payload}\n")).collect();
            let emit = broker.command(&["emit", "log"]);
            Process::start_with_input(emit, input).finish().succeeded();
            let queued = broker.status()["totals"]["queued_bytes"].as_u64().unwrap();
            assert!(queued > 0, "there is nothing to drain");
            broker.process.signal(signal);
            broker.process.wait_for_notice("shutting down");
            for number in 0..4000 {
                assert_eq!(on.line(), format!("{number} {payload}"), "{backend}");
            }
            on.wait_for_notice("shut down");
            let socket = broker.socket();
            broker.process.finish().succeeded();
            assert!(!socket.exists(), "the socket is still there");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_broker_under_nohup_outlives_its_terminal() {
    let directory = Directory::new();
    let socket = directory.socket("s");
    let serve = command(["serve", "--socket"]);
    let mut under = Command::new("nohup");
    under.arg(serve.get_program()).args(serve.get_args()).arg(&socket);
    let broker = Process::start(under);
    broker.wait_for_notice("ready socket=");
    broker.signal(Signal::HUP);
    // Had it ended, or begun to, it would take no more clients.
    let mut emit = command(["emit", "log", "x", "--socket"]);
    emit.arg(&socket);
    Process::start(emit).finish().succeeded();
    broker.signal(Signal::TERM);
    broker.finish().succeeded();
    assert!(!socket.exists());
}

#[test]
fn a_second_signal_ends_at_once() {
    if !has_signals() {
        return;
    }
    for backend in backends() {
        let broker = Broker::start_with(backend, &["--drain-timeout", "10min"]);
        let _on = broker.on(&["log", "--format", "raw"]);
        let input = format!("{}\n", "x".repeat(1000)).repeat(4000);
        let emit = broker.command(&["emit", "log"]);
        Process::start_with_input(emit, input).finish().succeeded();
        broker.process.signal(Signal::TERM);
        broker.process.wait_for_notice("shutting down");
        broker.process.signal(Signal::TERM);
        let done = broker.process.finish();
        assert_eq!(done.code(), Some(143), "{done:?}");
    }
}

/// A broker that waited for a slow listener made it again, and clients came in vain.
#[cfg(unix)]
#[test]
fn the_socket_is_not_made_again_while_the_broker_ends() {
    if !has_signals() {
        return;
    }
    // Longer than the time between two looks whether it is there.
    let broker = Broker::start_with("auto", &["--drain-timeout", "5s", "--stall-timeout", "1min"]);
    let on = broker.on(&["log", "--format", "raw"]);
    on.signal(Signal::STOP);
    let input = format!("{}\n", "x".repeat(1000)).repeat(4000);
    let emit = broker.command(&["emit", "log"]);
    Process::start_with_input(emit, input).finish().succeeded();
    broker.process.signal(Signal::TERM);
    let (socket, done) = (broker.socket(), broker.process.finish().succeeded());
    assert!(!done.stderr.contains("made again"), "{done:?}");
    assert!(!socket.exists());
}

#[test]
fn a_broker_whose_log_nobody_reads_goes_on() {
    let directory = Directory::new();
    let socket = directory.socket("s");
    let mut serve = command(["serve", "--log", "debug", "--socket"]);
    serve.arg(&socket);
    let broker = Process::start_unread(serve);
    wait_until("the broker answers", || {
        let mut status = command(["status", "--socket"]);
        status.arg(&socket);
        Process::start(status).finish().status.success()
    });
    assert_works(&socket);
    if !has_signals() {
        return;
    }
    broker.signal(Signal::TERM);
    broker.finish().succeeded();
    assert!(!socket.exists());
}

#[test]
fn a_second_broker_is_refused_and_the_first_undisturbed() {
    for backend in backends() {
        let broker = Broker::start(backend);
        let mut on = broker.on(&["log"]);
        let second = start_serve(&broker.socket(), backend).finish();
        let words = format!("a broker is already running as pid {} on", broker.process.pid());
        // A code of its own, for who only wants that one runs.
        second.failed(5, &words);
        broker.run(&["emit", "log", "still here"]).succeeded();
        assert_eq!(on.line(), "log still here");
        assert_works(&broker.socket());
        assert!(broker.process.is_running());
    }
}

#[test]
fn after_kill_9_a_new_broker_reclaims_the_socket_and_listeners_come_back() {
    for backend in backends() {
        let mut broker = Broker::start(backend);
        let on = broker.on(&["log", "--count", "1"]);
        broker.process.signal(Signal::KILL);
        on.wait_for_notice("not listening");
        assert!(
            cfg!(windows) || broker.socket().exists(),
            "a killed broker cannot remove its socket"
        );
        broker.process = serve(&broker.socket(), backend, &[]);
        on.wait_for_notice("listening again");
        on.wait_for_notice("lost: ");
        broker.run(&["emit", "log", "after"]).succeeded();
        assert_eq!(on.finish().succeeded().stdout, "log after\n");
        assert_works(&broker.socket());
    }
}

#[test]
fn paths_that_cannot_be_a_socket_are_refused_with_the_reason() {
    if !is_unix("a pipe is no file; its names have tests of their own") {
        return;
    }
    let directory = Directory::new();
    let refused = |path: &Path, words: &str| {
        start_serve(path, "auto").finish().failed(1, words);
    };
    refused(&directory.join(&"x".repeat(120)), "choose a shorter one");
    refused(&directory.join("missing/s"), "does not exist");
    let file = directory.file("file", "precious");
    refused(&file, "is not a socket");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    std::fs::create_dir(directory.join("d")).unwrap();
    refused(&directory.join("d"), "is not a socket");
    refused(Path::new("/"), "cannot be a socket path");
}

#[test]
fn without_permission_to_create_the_socket_it_says_so() {
    if !is_unix("a pipe lies in no directory") {
        return;
    }
    let directory = Directory::new();
    set_mode(directory.path(), 0o555);
    let mut serve = command(["serve", "--socket"]);
    serve.arg(directory.join("s"));
    let Some(serve) = unprivileged(serve) else { return };
    Process::start(serve).finish().failed(1, "no permission to create");
    set_mode(directory.path(), 0o755);
}

#[test]
fn without_permission_to_connect_it_says_so() {
    if !is_root() {
        println!("SKIPPED: needs root, to have two users");
        return;
    }
    let broker = Broker::start_with("auto", &["--socket-mode", "0600"]);
    let Some(emit) = unprivileged(broker.command(&["emit", "log", "x"])) else { return };
    Process::start(emit).finish().failed(3, "no permission to connect");
}

#[test]
fn the_socket_has_the_mode_and_group_asked_for() {
    if !is_unix("a pipe has no mode") {
        return;
    }
    let mode = |options: &[&str]| {
        let broker = Broker::start_with("auto", options);
        assert!(is_socket(&broker.socket()));
        mode_and_group(&broker.socket())
    };
    let (_, own) = own_user();
    assert_eq!(mode(&[]), (0o660, own));
    assert_eq!(mode(&["--socket-mode", "0600"]), (0o600, own));
    let other = if is_root() { 12_345 } else { own };
    let group = other.to_string();
    assert_eq!(mode(&["--socket-mode", "666", "--socket-group", &group]), (0o666, other));

    let directory = Directory::new();
    let mut serve = command(["serve", "--socket-group", "no-such-group", "--socket"]);
    serve.arg(directory.join("s"));
    Process::start(serve).finish().failed(1, "no group named no-such-group");
}

#[test]
fn an_unprivileged_user_with_8_mib_of_locked_memory_can_serve() {
    if !is_unix("there is no such limit") {
        return;
    }
    for backend in backends() {
        let directory = Directory::new();
        give_to_unprivileged(directory.path());
        let socket = directory.join("s");
        let mut serve = command(["serve", "--backend", backend, "--socket-mode", "666"]);
        serve.args(["--shards", "2", "--socket"]).arg(&socket);
        let Some(serve) = unprivileged(serve) else { return };
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -l 8192 && exec \"$0\" \"$@\""]);
        limited.arg(serve.get_program()).args(serve.get_args());
        let broker = Process::start(limited);
        broker.wait_for_notice("ready socket=");
        assert_works(&socket);
        broker.signal(Signal::TERM);
        broker.finish().succeeded();
    }
}
