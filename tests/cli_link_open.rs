//! `netcluster link open`: a broker is linked to other machines while clients use it.

mod support;

use std::io::Write;

use support::{Broker, Process, backends, unprivileged, wait_until};

/// Returns the options of a link on the loopback interface at this port, for a cluster of
/// two. The other broker is named too, for machines whose loopback interface carries no
/// multicast.
fn link(port: u16, name: &str) -> Vec<String> {
    let group = format!("239.255.44.54:{port}");
    let interface = support::loopback();
    let options = ["--link", &group, "--interface", interface, "--node-name", name];
    let peer = ["--cluster", "link-open", "--peer", "127.0.0.1"];
    options.iter().chain(&peer).map(|&option| option.to_owned()).collect()
}

fn open(broker: &Broker, options: &[String]) -> support::Done {
    let options = options.iter().map(String::as_str);
    let arguments: Vec<&str> = ["link", "open"].into_iter().chain(options).collect();
    broker.run(&arguments)
}

fn peers_of(broker: &Broker) -> Vec<String> {
    let status = broker.status();
    let peers = status["link"]["peers"].as_array().cloned().unwrap_or_default();
    peers.iter().filter_map(|peer| peer["name"].as_str().map(str::to_owned)).collect()
}

/// Clients that were there before hear and are heard, on all shards and channels.
#[test]
fn clients_from_before_hear_other_machines_and_are_heard_there() {
    for (at, backend) in backends().into_iter().enumerate() {
        for shards in ["1", "3"] {
            let port = 44_731 + 2 * at as u16 + u16::from(shards == "3");
            let there = link(port, "there");
            let there: Vec<&str> = there.iter().map(String::as_str).collect();
            let there = Broker::start_with(backend, &there);
            let here = Broker::start_with(backend, &["--shards", shards]);
            let channels = ["default", "red", "blue"];
            let mut listeners: Vec<Process> =
                channels.iter().map(|it| here.on(&["to.here", "--channel", it])).collect();
            let mut emitters: Vec<_> = channels
                .iter()
                .map(|it| {
                    Process::start_with_pipe(here.command(&["emit", "to.there", "--channel", it]))
                })
                .collect();
            // They are there, and their routes are found, before the link is open.
            let before = here.on(&["to.there", "--count", "1"]);
            writeln!(emitters[0].1, "before").unwrap();
            assert_eq!(before.finish().succeeded().stdout, "to.there before\n");
            wait_until("all emitters are connected", || {
                here.status()["clients"].as_array().is_some_and(|it| it.len() >= 6)
            });

            open(&here, &link(port, "here")).succeeded();
            wait_until("each knows the other", || {
                peers_of(&here) == ["there"] && peers_of(&there) == ["here"]
            });
            for (number, channel) in channels.into_iter().enumerate() {
                let options = ["to.there", "--channel", channel, "--wait-cluster", "60s"];
                let mut heard = there.on(&options);
                writeln!(emitters[number].1, "{channel}").unwrap();
                assert_eq!(heard.line(), format!("to.there {channel}"), "{backend} {shards}");
                let asked = ["emit", "to.there", "x", "--verbose", "--channel", channel];
                let asked = here.run(&asked).succeeded().stdout;
                assert!(asked.contains("to 1 other broker"), "{asked}");
                there.run(&["emit", "to.here", channel, "--channel", channel]).succeeded();
                assert_eq!(listeners[number].line(), format!("to.here {channel}"));
            }
            open(&here, &link(port, "here")).failed(1, "the link is open already");
        }
    }
}

#[test]
fn only_root_and_the_brokers_user_may_open_the_link_and_mistakes_harm_nobody() {
    let broker = Broker::start_with("auto", &["--socket-mode", "0666"]);
    open(&broker, &["--link".to_owned(), "10.1.2.3:4454".to_owned()])
        .failed(2, "no multicast address");
    let mut nowhere = link(44_739, "here");
    nowhere[3] = "no-such-interface".to_owned();
    open(&broker, &nowhere).failed(1, "no-such-interface");
    if support::is_root()
        && let Some(command) = unprivileged(broker.command(&["link", "open"]))
    {
        let words = "only root and the broker's own user may ask for that";
        Process::start(command).finish().failed(1, words);
    }
    assert!(broker.status()["link"].is_null(), "it has none");
    broker.run(&["emit", "log", "x"]).succeeded();
    open(&broker, &link(44_739, "here")).succeeded();
    assert_eq!(broker.status()["link"]["cluster"], "link-open");
}

#[test]
fn without_a_broker_it_exits_with_3() {
    let directory = support::Directory::new();
    let mut open = support::command(["link", "open", "--socket"]);
    open.arg(directory.socket("none"));
    Process::start(open).finish().failed(3, "netcluster serve");
}
