//! Command line as such: help, mistakes, exit codes, the configuration file.

mod support;

use std::io::Write;
use std::process::Stdio;

use support::{Broker, Directory, Process, command};

fn run(arguments: &[&str]) -> support::Done {
    Process::start(command(arguments)).finish()
}

#[test]
fn help_tells_commands_exit_codes_and_examples() {
    let help = run(&["--help"]).succeeded().stdout;
    for word in [
        "serve",
        "emit",
        "on",
        "status",
        "demo",
        "link",
        "config",
        "completions",
        "Exit codes:",
        "  3  ",
    ] {
        assert!(help.contains(word), "{word:?} is not in:\n{help}");
    }
    for name in ["serve", "emit", "on", "completions"] {
        let help = run(&[name, "--help"]).succeeded().stdout;
        assert!(help.contains("Examples:"), "{name}:\n{help}");
    }
    let serve = run(&["serve", "--help"]).succeeded().stdout;
    for option in [
        "--config",
        "--socket",
        "--socket-mode",
        "--socket-group",
        "--shards",
        "--pin",
        "--backend",
        "--spin-us",
        "--max-payload",
        "--max-queue",
        "--max-memory",
        "--max-clients",
        "--max-clients-per-user",
        "--max-patterns",
        "--stall-timeout",
        "--hello-timeout",
        "--drain-timeout",
        "--node-id",
        "--log",
        "--link",
        "--cluster",
        "--node-name",
        "--interface",
        "--unicast-port",
        "--ttl",
        "--groups",
        "--mtu",
        "--rate",
        "--receive-buffer",
        "--history",
        "--key-file",
        "--peer",
        "--cluster-pressure",
    ] {
        assert!(serve.contains(option), "{option} is not in:\n{serve}");
    }
    assert!(run(&["--version"]).succeeded().stdout.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn mistakes_exit_with_2_and_say_what_is_right() {
    let long = "x".repeat(256);
    let cases: &[(&[&str], &str)] = &[
        (&["serv"], "serve"),
        (&["serve", "--sockte", "x"], "--socket"),
        (&["serve", "--max-queue", "8MB"], "MiB"),
        (&["serve", "--stall-timeout", "5"], "500ms"),
        (&["serve", "--socket-mode", "rw"], "octal"),
        (&["serve", "--node-id", "0"], "hexadecimal"),
        (&["serve", "--backend", "epoll"], "uring"),
        (&["serve", "--log", "loud"], "debug"),
        (&["serve", "--shards", "0", "--socket", "/tmp/never"], "between 1 and"),
        (&["serve", "--max-clients-per-user", "0", "--socket", "/tmp/never"], "at least 1"),
        (&["serve", "--spin-us", "51", "--socket", "/tmp/never"], "at most 50"),
        (&["serve", "--max-payload", "2GiB", "--socket", "/tmp/never"], "1 GiB"),
        (&["serve", "--link", "here"], "239.255.44.54:4454"),
        (&["serve", "--link", "10.0.0.1:4454", "--socket", "/tmp/never"], "no multicast address"),
        (&["serve", "--rate", "100Mbit/s", "--link"], "100MiB/s"),
        (
            &["serve", "--cluster", "office", "--socket", "/tmp/never"],
            "--cluster is a setting of the link",
        ),
        (&["link", "keys"], "keygen"),
        (&["emit", ""], "event name refused"),
        (&["emit", &long], "event name refused"),
        (&["emit", "log", "x", "--channel", ""], "--channel"),
        (&["on"], "PATTERN"),
        (&["on", ""], "refused"),
        (&["on", "log", "--count", "0"], "--count"),
        (&["on", "log", "--format", "xml"], "json"),
        (&["completions", "cobol"], "bash"),
    ];
    for (arguments, words) in cases {
        run(arguments).failed(2, words);
    }
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_socket_is_told_so() {
    for arguments in [&["emit", "log", "x"][..], &["on", "log"], &["status"]] {
        let arguments = [arguments, &["--socket", "/"]].concat();
        run(&arguments).failed(2, "/ is not a socket");
    }
}

#[test]
fn without_a_broker_the_commands_exit_with_3_and_say_how_to_start_one() {
    let directory = Directory::new();
    let socket = directory.socket("none");
    let commands: [&[&str]; 3] = [&["emit", "log", "x"], &["on", "log"], &["status"]];
    for arguments in commands {
        let mut command = command(arguments);
        command.arg("--socket").arg(&socket);
        let done = Process::start(command).finish().failed(3, "netcluster serve");
        assert!(done.stderr.contains(socket.to_str().unwrap()), "{done:?}");
    }
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).succeeded().stdout;
        for word in ["netcluster", "serve", "max-payload", "uring"] {
            assert!(script.contains(word), "{word} is not in {shell}'s");
        }
        let check = std::process::Command::new(shell)
            .arg("-n")
            .stdin(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        match check {
            Ok(mut check) => {
                check.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
                assert!(check.wait().unwrap().success(), "{shell} does not understand it");
            }
            Err(error) => println!("SKIPPED: the syntax check of {shell}: {error}"),
        }
    }
}

#[test]
fn mistakes_in_the_configuration_exit_with_2_and_name_the_line() {
    let directory = Directory::new();
    let serve = |path: &std::path::Path| {
        let mut command = command(["serve", "--config"]);
        command.arg(path);
        Process::start(command).finish()
    };
    let unknown = directory.file("a.toml", "shards = 1\n\nsockte = '/tmp/x'\n");
    serve(&unknown).failed(2, "a.toml:3:1: unknown field `sockte`");
    let value = directory.file("b.toml", "shards = 1\nmax-queue = '8MB'\n");
    serve(&value).failed(2, "b.toml:2:13: write bytes");
    let kind = directory.file("c.toml", "socket-mode = 660\n");
    serve(&kind).failed(2, "expected a string");
    let syntax = directory.file("d.toml", "shards = \n");
    serve(&syntax).failed(2, "d.toml:1:");
    let range = directory.file("e.toml", "socket = '/tmp/never'\nspin-us = 1000\n");
    serve(&range).failed(2, "e.toml:2:1: spin-us must be at most 50");
    serve(&directory.join("none.toml")).failed(2, "cannot read the configuration");
}

#[test]
fn the_configuration_is_used_and_what_is_typed_wins() {
    let directory = Directory::new();
    let text = "socket = '/nowhere/s'\nnode-id = '0a0b0c0d'\nmax-queue = '1MiB'\nshards = 2\n";
    let file = directory.file("c.toml", text);
    let options = ["--config", file.to_str().unwrap(), "--shards", "1"];
    let broker = Broker::start_with("auto", &options);
    let status = broker.status();
    assert_eq!(status["node"], "0a0b0c0d");
    assert_eq!(status["clients"][0]["max_queue"], 1 << 20);
    assert_eq!(status["shards"].as_array().unwrap().len(), 1);
}
