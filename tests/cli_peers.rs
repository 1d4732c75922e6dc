//! `netcluster peers`, and the link in `netcluster status`.

mod support;

use support::{Broker, Directory, Process, command, wait_until};

#[test]
fn without_a_broker_it_exits_with_3_and_says_how_to_start_one() {
    let directory = Directory::new();
    let socket = directory.socket("none");
    let mut peers = command(["peers", "--socket"]);
    peers.arg(&socket);
    let done = Process::start(peers).finish().failed(3, "netcluster serve");
    assert!(done.stderr.contains(socket.to_str().unwrap()), "{done:?}");
}

#[test]
fn a_broker_without_a_link_is_told_from_one_without_peers() {
    let broker = Broker::start("auto");
    for options in [&["peers"][..], &["peers", "--json"], &["peers", "-v"]] {
        let done = broker.run(options).failed(1, "started without --link");
        assert_eq!(done.stdout, "");
    }
    let status = broker.run(&["status"]).succeeded().stdout;
    assert!(!status.contains("\nlink "), "{status}");
}

#[test]
fn mistakes_exit_with_2_and_help_explains_the_columns() {
    let run = |options: &[&str]| Process::start(command(options)).finish();
    run(&["peers", "--json", "--verbose"]).failed(2, "--verbose");
    run(&["peers", "--format", "json"]).failed(2, "--format");
    let help = run(&["peers", "--help"]).succeeded().stdout;
    for words in ["Columns", "MISSING", "Examples:", "netcluster link check"] {
        assert!(help.contains(words), "{words:?} is not in:\n{help}");
    }
}

/// Starts a broker on the loopback interface, linked at this port.
fn linked(port: u16, name: &str, options: &[&str]) -> Broker {
    let group = format!("239.255.44.54:{port}");
    let link = ["--link", &group, "--interface", support::loopback(), "--node-name", name];
    Broker::start_with("auto", &[&link, options].concat())
}

fn peers_of(broker: &Broker) -> serde_json::Value {
    let done = broker.run(&["peers", "--json"]).succeeded();
    serde_json::from_str(&done.stdout).expect("JSON")
}

#[test]
fn a_broker_with_a_link_and_nobody_else_says_where_to_look() {
    let broker = linked(44_721, "alone", &["--cluster", "peers-alone"]);
    wait_until("the search is over", || peers_of(&broker)["link"]["is_discovering"] == false);
    let page = broker.run(&["peers"]).succeeded().stdout;
    assert!(page.contains("cluster peers-alone at 239.255.44.54:44721, 16 groups"), "{page}");
    assert!(page.contains("! no other broker is heard; `netcluster link check`"), "{page}");
    assert!(peers_of(&broker)["link_io"]["interface"].is_string());
}

#[test]
fn brokers_list_each_other_each_with_a_row() {
    let brokers = ["alpha", "beta"].map(|name| {
        // Named too, for machines whose loopback interface carries no multicast.
        let options = ["--cluster", "peers-two", "--peer", "127.0.0.1"];
        linked(44_722, name, &options)
    });
    for (broker, other) in brokers.iter().zip(["beta", "alpha"]) {
        wait_until("the other broker is found", || {
            peers_of(broker)["link"]["peers"][0]["name"] == other
        });
        let page = broker.run(&["peers", "--verbose"]).succeeded().stdout;
        let row = page.lines().find(|line| line.split_whitespace().nth(1) == Some(other));
        assert!(row.is_some(), "{page}");
        let status = broker.run(&["status"]).succeeded().stdout;
        assert!(status.contains("\nlink      cluster peers-two at "), "{status}");
    }
}

/// The event was told as lost by the network.
#[test]
fn an_event_over_a_receivers_limit_is_told_as_such_and_later_ones_arrive() {
    let options = ["--cluster", "peers-large", "--peer", "127.0.0.1"];
    let small = [&options[..], &["--max-payload", "64KiB"]].concat();
    let (sender, receiver) = (linked(44_727, "alpha", &options), linked(44_727, "beta", &small));
    let mut on = receiver.on(&["log", "--count", "1", "--wait-cluster", "60s"]);
    wait_until("the other broker is found", || {
        peers_of(&sender)["link"]["peers"][0]["name"] == "beta"
    });
    let input = format!("{}\nsmall\n", "x".repeat(100_000));
    Process::start_with_input(sender.command(&["emit", "log"]), input).finish().succeeded();
    assert_eq!(on.line(), "log small");
    on.wait_for_notice("larger than this machine's broker takes (--max-payload)");
    on.finish().succeeded();
    receiver.process.wait_for_notice("an event of 100000 bytes from broker alpha");
    receiver.process.wait_for_notice("--max-payload is 65536 bytes: set the same on all brokers");
}
