//! `netcluster peers`, and the link in `netcluster status`.

mod support;

use support::{Broker, Directory, Process, command};

#[test]
fn without_a_broker_it_exits_with_3_and_says_how_to_start_one() {
    let directory = Directory::new();
    let socket = directory.join("none");
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
