//! `netcluster link open`: a broker is linked to other machines while clients use it.

mod support;

use std::io::Write;

use netcluster_client::{Client, Error};
use support::{Broker, Directory, Process, backends, command, unprivileged, wait_until};

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
            open(&here, &link(port, "else")).failed(1, "only keys and peers change");
            open(&there, &link(port, "there")).failed(1, "by its own settings");
            open(&here, &link(port, "here")).succeeded();
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

/// No reload knows the settings of such a link: its keys could not be changed.
#[test]
fn keys_and_peers_of_a_link_that_was_opened_change_while_it_runs() {
    let directory = Directory::new();
    for key in ["old", "new"] {
        let mut keygen = command(["link", "keygen"]);
        keygen.arg(directory.join(key));
        Process::start(keygen).finish().succeeded();
    }
    let with = |name: &str, keys: &[&str]| {
        let mut options = link(44_753, name);
        for key in keys {
            options.push("--key-file".to_owned());
            options.push(directory.join(key).to_str().unwrap().to_owned());
        }
        options
    };
    let (here, there) = (Broker::start("auto"), Broker::start("auto"));
    let both = [(&here, "here"), (&there, "there")];
    for (broker, name) in both {
        open(broker, &with(name, &["old"])).succeeded();
    }
    let linked = || peers_of(&here) == ["there"] && peers_of(&there) == ["here"];
    wait_until("each knows the other", linked);
    let mut on = there.on(&["log", "--wait-cluster", "60s"]);
    let sessions = || {
        let sessions =
            both.map(|(broker, _)| broker.status()["link"]["peers"][0]["session"].clone());
        assert!(sessions.iter().all(|session| !session.is_null()), "{sessions:?}");
        sessions
    };
    let before = sessions();
    for keys in [&["old", "new"][..], &["new", "old"], &["new"]] {
        for (broker, name) in both {
            open(broker, &with(name, keys)).succeeded();
            here.run(&["emit", "log", name]).succeeded();
            assert_eq!(on.line(), format!("log {name}"), "{keys:?}");
        }
    }
    assert_eq!(sessions(), before, "nobody was left");
    open(&here, &with("here", &[])).failed(1, "stays one with a key");
    let mut alone = with("here", &["new"]);
    alone.extend(["--peer", "no-such-host.invalid"].map(str::to_owned));
    open(&here, &alone).succeeded();
    here.process.wait_for_notice("no-such-host.invalid");
}

/// Whoever may open the link may make mistakes by programs, too: none ends the broker, and
/// each is told.
#[test]
fn settings_that_make_no_sense_are_refused_one_by_one() {
    let broker = Broker::start("auto");
    let client = Client::connect(broker.socket()).unwrap();
    let with = |setting: &str| {
        format!("{{\"do\":\"link-open\",\"group\":\"239.255.44.54:44743\",{setting}}}")
    };
    let key = "0123456789abcdef".repeat(4);
    let long = "x".repeat(300);
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let names = |names: &str| names.to_owned();
    let settings = [
        (String::new(), names("not understood")),
        (deep, names("not understood")),
        ("\u{fffd}{".to_owned(), names("not understood")),
        ("{\"do\":\"link-open\",\"group\":\"\"}".to_owned(), names("no multicast address")),
        (
            "{\"do\":\"link-open\",\"group\":\"127.0.0.1:44743\"}".to_owned(),
            names("no multicast address"),
        ),
        ("{\"do\":\"link-open\",\"group\":\"239.255.44.54:0\"}".to_owned(), names("port")),
        (with("\"groups\":0"), names("groups")),
        (with("\"groups\":256"), names("256")),
        (with("\"groups\":-1"), names("-1")),
        (with("\"packet_bytes\":0"), names("mtu")),
        (with("\"packet_bytes\":18446744073709551615"), names("mtu")),
        (with("\"rate\":0"), names("rate")),
        (with("\"history_bytes\":0"), names("history")),
        (with("\"history_bytes\":18446744073709551615"), names("history")),
        (with("\"receive_buffer_bytes\":0"), names("receive-buffer")),
        (with("\"receive_buffer_bytes\":18446744073709551615"), names("receive-buffer")),
        (with(&format!("\"cluster\":\"{long}\"")), names("cluster")),
        (with(&format!("\"name\":\"{long}\"")), names("node-name")),
        (with("\"interface\":\"\""), names("interface")),
        (with(&format!("\"interface\":\"{long}\"")), names("interface")),
        (with("\"interface\":\"192.0.2.77\""), names("192.0.2.77")),
        (with("\"keys\":[\"\"]"), names("64 hexadecimal digits")),
        (with(&format!("\"keys\":[\"{}\"]", &key[1..])), names("64 hexadecimal digits")),
        (with(&format!("\"keys\":[\"{}+f\"]", &key[2..])), names("64 hexadecimal digits")),
        (with(&format!("\"keys\":[\"{key}\",\"{key}\"]")), names("the same key twice")),
        (with(&format!("\"keys\":[\"{key}\",\"{key}\",\"{key}\"]")), names("at most 2 keys")),
        (with("\"peers\":[\"\"]"), names("no host and port")),
        (with("\"peers\":[\"a b:1\"]"), names("no host and port")),
        (with("\"peers\":[\"a:0\"]"), names("no host and port")),
        (with("\"pressured\":[\"\"]"), names("channel")),
    ];
    for (json, words) in settings {
        let refused = client.control(&json).unwrap_err().to_string();
        let as_it_was = broker.status()["link"].is_null();
        assert!(as_it_was && refused.contains(&words), "{json:.100}: no {words:?}: {refused:?}");
    }
    client.ping().unwrap();
    open(&broker, &link(44_743, "here")).succeeded();
}

/// One of all who ask at once gets it; the others are told.
#[test]
fn of_many_who_ask_at_once_one_opens_the_link() {
    for shards in ["1", "2"] {
        let broker = Broker::start_with("auto", &["--shards", shards]);
        // By different settings: with the same ones all would have what they want.
        let request = |name: u32| {
            format!(
                "{{\"do\":\"link-open\",\"group\":\"239.255.44.54:44745\",\"interface\":\"{}\",\
                 \"name\":\"{name}\"}}",
                support::loopback()
            )
        };
        let asking: Vec<_> = (0..16)
            .map(|name| {
                let (client, request) = (Client::connect(broker.socket()).unwrap(), request(name));
                std::thread::spawn(move || client.control(&request))
            })
            .collect();
        let answers: Vec<_> = asking.into_iter().map(|it| it.join().unwrap()).collect();
        let (opened, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(opened.len(), 1, "{refused:?}");
        let told = |refused: Result<_, Error>| refused.unwrap_err().to_string().contains("already");
        assert!(refused.into_iter().all(told));
        assert!(broker.status()["link"].is_object());
    }
}

/// A port that another has makes no half of a link: with another port it opens.
#[test]
fn a_port_that_is_taken_is_told_and_the_link_can_be_opened_by_another() {
    let broker = Broker::start("auto");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut options = link(44_747, "here");
    options.extend(["--unicast-port".to_owned(), port.clone()]);
    let done = open(&broker, &options).failed(1, &port);
    assert!(!done.stderr.contains("warning"), "of a link that is not there: {done:?}");
    assert!(broker.status()["link"].is_null());
    drop(taken);
    let done = open(&broker, &options).succeeded();
    assert!(done.stderr.contains("warning: the link is open: whoever reaches it"), "{done:?}");
}

/// Whoever asks while the broker ends, or goes before the answer, harms nobody.
#[test]
fn a_link_that_is_asked_for_while_the_broker_ends_or_by_who_is_gone_harms_nobody() {
    let request = |port: u16| {
        let interface = support::loopback();
        format!(
            "{{\"do\":\"link-open\",\"group\":\"239.255.44.54:{port}\",\"interface\":\"{interface}\"}}"
        )
    };
    for round in 0..8 {
        let broker = Broker::start_with("auto", &["--shards", "2"]);
        let client = Client::connect(broker.socket()).unwrap();
        let asking = std::thread::spawn(move || client.control(&request(44_749)));
        if round % 2 == 0 {
            std::thread::yield_now();
        }
        if support::has_signals() {
            broker.process.signal(support::Signal::TERM);
            broker.process.finish().succeeded();
        }
        // Opened, refused, or the connection ended before the answer.
        let _ = asking.join().unwrap();
    }
    let broker = Broker::start_with("auto", &["--shards", "2"]);
    let options = link(44_751, "here");
    let arguments: Vec<&str> =
        ["link", "open"].into_iter().chain(options.iter().map(String::as_str)).collect();
    // Dropping it kills it.
    drop(Process::start(broker.command(&arguments)));
    broker.run(&["emit", "log", "x"]).succeeded();
    // Either it came to asking, or it did not.
    let again = open(&broker, &options);
    assert!(again.status.success() || again.stderr.contains("already"), "{again:?}");
    wait_until("it has its link", || broker.status()["link"].is_object());
}

#[test]
fn without_a_broker_it_exits_with_3() {
    let directory = support::Directory::new();
    let mut open = support::command(["link", "open", "--socket"]);
    open.arg(directory.socket("none"));
    Process::start(open).finish().failed(3, "netcluster serve");
}
