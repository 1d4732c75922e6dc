//! `netcluster kick`, `drain`, `log-level` and `reload`: what whoever runs a broker asks of
//! it while it runs, and what others may not.

mod support;

use support::{Broker, Process, backends, unprivileged, wait_until};

/// Returns the number of the one client that is on this channel, but for who asks.
fn client_on(broker: &Broker, channel: &str) -> u64 {
    let status = broker.status();
    let clients = status["clients"].as_array().unwrap();
    let found = clients
        .iter()
        .find(|client| client["channel"] == channel && client["name"] != "netcluster status");
    found.expect("it is connected")["client"].as_u64().unwrap()
}

fn kicked(broker: &Broker) -> u64 {
    broker.status()["totals"]["kicked"].as_u64().unwrap()
}

#[test]
fn a_client_that_is_kicked_learns_why_and_nobody_else_is_affected() {
    for backend in backends() {
        for shards in ["1", "3"] {
            let broker = Broker::start_with(backend, &["--shards", shards]);
            let mut other = broker.on(&["log", "--channel", "other"]);
            let victim = broker.on(&["log"]);
            let number = client_on(&broker, "default").to_string();
            let done = broker.run(&["kick", &number, "--reason", "you flood"]);
            assert_eq!(done.succeeded().stdout, "disconnected 1 client\n");
            victim.wait_for_notice("(Kicked): you flood");
            victim.wait_for_notice("listening again");
            assert_eq!(kicked(&broker), 1);
            let closed = broker.status()["closed_by_broker"].as_array().cloned().unwrap();
            assert!(closed.iter().any(|it| it["reason"] == "you flood"), "{closed:?}");
            broker.run(&["kick", &number]).failed(1, &format!("there is no client {number}"));

            let pid = victim.pid().to_string();
            let done = broker.run(&["kick", "--pid", &pid, "--json"]);
            assert_eq!(done.succeeded().stdout, "{\"kicked\":1}\n");
            victim.wait_for_notice("disconnected by whoever runs the broker");
            broker.run(&["emit", "log", "x", "--channel", "other"]).succeeded();
            assert_eq!(other.line(), "log x");
            assert!(!other.notices().contains("Kicked"));
            broker.run(&["kick", "4000000"]).failed(1, "there is no client 4000000");
            broker.run(&["kick", "--pid", "1"]).failed(1, "process 1 has no client here");
            broker.run(&["kick"]).failed(2, "required");
        }
    }
}

#[test]
fn drain_tells_clients_first_refuses_new_ones_and_ends_with_0() {
    for backend in backends() {
        for shards in ["1", "3"] {
            let broker = Broker::start_with(backend, &["--shards", shards]);
            let mut listeners =
                ["default", "red", "blue"].map(|channel| broker.on(&["log", "--channel", channel]));
            let drain = Process::start(broker.command(&["drain", "--notice", "2s"]));
            for listener in &listeners {
                listener.wait_for_notice("the broker ends in 2000 ms");
            }
            // Who is there is served until the end.
            broker.run(&["emit", "log", "x"]).failed(3, "shutting down");
            broker.run(&["drain"]).failed(3, "shutting down");
            let done = drain.finish().succeeded();
            assert_eq!(done.stdout, "the broker has ended\n");
            for listener in &listeners {
                listener.wait_for_notice("the broker shut down");
            }
            let Broker { process, directory: _directory } = broker;
            process.finish().succeeded();
            for listener in &mut listeners {
                assert!(listener.is_running(), "it waits for another broker");
            }
        }
    }
}

#[test]
fn the_log_can_be_changed_while_the_broker_runs() {
    let broker = Broker::start("auto");
    assert_eq!(broker.run(&["log-level"]).succeeded().stdout, "info\n");
    let done = broker.run(&["log-level", "netcluster=debug", "--json"]).succeeded();
    assert_eq!(done.stdout, "{\"level\":\"netcluster=debug\"}\n");
    let notices = || broker.process.notices();
    wait_until("the log tells of it", || notices().contains("the log's filter changed"));
    assert_eq!(broker.run(&["log-level"]).succeeded().stdout, "netcluster=debug\n");
    broker.run(&["log-level", "loud"]).failed(2, "write one of");
    assert_eq!(broker.run(&["log-level", "off"]).succeeded().stdout, "off\n");
}

#[test]
fn only_root_and_the_brokers_user_may_change_something_and_everybody_may_look() {
    let broker = Broker::start_with("auto", &["--socket-mode", "0666"]);
    if !support::is_root() || unprivileged(broker.command(&["log-level"])).is_none() {
        eprintln!("SKIPPED: only root can be another user");
        return;
    }
    let as_nobody = |arguments: &[&str]| {
        Process::start(unprivileged(broker.command(arguments)).unwrap()).finish()
    };
    assert_eq!(as_nobody(&["log-level"]).succeeded().stdout, "info\n");
    let asked: [&[&str]; 5] =
        [&["log-level", "debug"], &["kick", "1"], &["kick", "--pid", "1"], &["drain"], &["reload"]];
    for arguments in asked {
        as_nobody(arguments).failed(1, "only root and the broker's own user");
    }
    assert_eq!(kicked(&broker), 0);
    assert_eq!(broker.run(&["log-level"]).succeeded().stdout, "info\n");
}

#[test]
fn help_has_examples_and_without_a_broker_all_exit_with_3() {
    let directory = support::Directory::new();
    let socket = directory.socket("none");
    let asked: [&[&str]; 4] = [&["kick", "1"], &["drain"], &["log-level"], &["reload"]];
    for arguments in asked {
        let help = Process::start(support::command([arguments[0], "--help"])).finish();
        assert!(help.succeeded().stdout.contains(&format!("\n  netcluster {}", arguments[0])));
        let mut command = support::command(arguments);
        command.arg("--socket").arg(&socket);
        Process::start(command).finish().failed(3, "netcluster serve");
    }
}
