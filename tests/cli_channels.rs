//! Settings of channels, with brokers and clients as processes.

mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use support::{Broker, Process, backends, wait_until};

/// Starts a broker with this configuration.
fn broker(backend: &str, text: &str, options: &[&str]) -> Broker {
    let directory = support::Directory::new();
    let file = directory.file("n.toml", text);
    let options = [&["--config", file.to_str().unwrap()], options].concat();
    Broker::start_with(backend, &options)
}

#[test]
fn events_are_copied_into_other_channels_in_order_and_once() {
    let text =
        "[channels.raw]\nforward-to = ['log.*', 'all']\n[channels.'log.a']\nforward-to = 'all'";
    for backend in backends() {
        for shards in ["1", "3"] {
            let broker = broker(backend, text, &["--shards", shards]);
            let listen = |channel: &str| broker.on(&["n", "--format", "raw", "--channel", channel]);
            let mut hear = ["raw", "log.a", "log.b", "all"].map(listen);
            let mut other = listen("default");
            let input: String = (0..3000).map(|number| format!("{number}\n")).collect();
            let emit = broker.command(&["emit", "n", "--channel", "raw"]);
            Process::start_with_input(emit, input).finish().succeeded();
            broker.run(&["emit", "n", "of a", "--channel", "log.a"]).succeeded();
            for listener in &mut hear {
                for number in 0..3000 {
                    assert_eq!(listener.line(), number.to_string(), "{backend} {shards}");
                }
            }
            assert_eq!(hear[1].line(), "of a");
            assert_eq!(hear[3].line(), "of a");
            // Nothing goes back, nor into channels that no pattern names.
            for (channel, listener) in [("raw", &mut hear[0]), ("default", &mut other)] {
                broker.run(&["emit", "n", "own", "--channel", channel]).succeeded();
                assert_eq!(listener.line(), "own", "{channel}");
            }
            let asked = ["emit", "n", "x", "--verbose", "--channel", "raw"];
            let asked = broker.run(&asked).succeeded().stdout;
            assert!(asked.contains("4 clients"), "{asked}");
        }
    }
}

#[test]
fn a_listener_that_stops_is_taken_out_of_all_channels() {
    let broker = broker("auto", "[channels.raw]\nforward-to = '**'", &["--shards", "2"]);
    drop(broker.on(&["n", "--channel", "there"]));
    wait_until("it is gone", || {
        let asked = ["emit", "n", "x", "--verbose", "--channel", "raw"];
        broker.run(&asked).succeeded().stdout.contains("0 clients")
    });
}

#[test]
fn a_cycle_is_refused_by_name_and_with_its_line() {
    let directory = support::Directory::new();
    let text = "[channels.a]\nforward-to = 'b.*'\n[channels.'b.c']\nforward-to = ['a']\n";
    let file = directory.file("n.toml", text);
    let check = support::command(["config", "check", file.to_str().unwrap()]);
    let done = Process::start(check).finish();
    let done = done.failed(2, "n.toml:2:1: channels.a.forward-to: ");
    assert!(done.stderr.contains("a -> b.c -> a"), "{done:?}");
}

#[test]
fn an_event_that_is_too_large_for_its_channel_is_refused_to_its_emitter() {
    let broker = broker("auto", "[channels.small]\nmax-payload = 100\n", &[]);
    let large = "x".repeat(101);
    let emit = |channel: &str| broker.run(&["emit", "n", &large, "--channel", channel]);
    emit("default").succeeded();
    let done = emit("small");
    assert_eq!(done.code(), Some(1), "{done:?}");
    assert!(done.stderr.contains("100"), "{done:?}");
}

#[test]
fn who_emits_more_than_its_channel_lets_waits_and_loses_nothing() {
    for backend in backends() {
        let text =
            "[channels.slow]\nmax-event-rate = 1000\n[channels.thin]\nmax-rate = '64KiB/s'\n";
        for (channel, shared) in [("slow", "auto"), ("thin", "auto"), ("thin", "off")] {
            let broker = broker(backend, text, &["--shared-memory", shared]);
            let mut on = broker.on(&["n", "--format", "raw", "--channel", channel]);
            let mut free = broker.on(&["n", "--format", "raw"]);
            // Half a second's worth, of which a tenth of a second is free.
            let line = "x".repeat(64);
            let input: String = (0..700).map(|number| format!("{number} {line}\n")).collect();
            let began = Instant::now();
            let emit = broker.command(&["emit", "n", "--channel", channel]);
            let emit = Process::start_with_input(emit, input);
            // Meanwhile others go on.
            broker.run(&["emit", "n", "free"]).succeeded();
            assert_eq!(free.line(), "free");
            for number in 0..700 {
                assert_eq!(on.line(), format!("{number} {line}"), "{backend} {channel}");
            }
            emit.finish().succeeded();
            // What is charged is paid before the next chunk is read: a second one follows.
            broker.run(&["emit", "n", "last", "--channel", channel]).succeeded();
            assert!(began.elapsed() > Duration::from_millis(100), "{backend} {channel}");
        }
    }
}

#[test]
fn a_channel_that_is_not_for_the_network_stays_on_its_machine() {
    for (at, backend) in backends().into_iter().enumerate() {
        let port = 44_751 + at as u16;
        let group = format!("239.255.44.54:{port}");
        let link = |name: &'static str| {
            let interface = support::loopback();
            let options = ["--link", &group, "--interface", interface, "--node-name", name];
            let cluster = ["--cluster", "channels", "--peer", "127.0.0.1"];
            options.into_iter().chain(cluster).map(str::to_owned).collect::<Vec<_>>()
        };
        let start = |name, text: &str, shards| {
            let options = [link(name), vec!["--shards".into(), shards]].concat();
            broker(backend, text, &options.iter().map(String::as_str).collect::<Vec<_>>())
        };
        // What comes from there in `open` is copied into `mine` here, and goes no further.
        let here = "[channels.mine]\nnetwork = false\n[channels.open]\nforward-to = 'mine'\n";
        let here = start("here", here, "2".to_owned());
        let there = start("there", "", "1".to_owned());
        let mut mine = here.on(&["n", "--channel", "mine"]);
        let mut far_mine = there.on(&["n", "--channel", "mine"]);
        let mut far_open = there.on(&["n", "--channel", "open", "--wait-cluster", "60s"]);
        wait_until("each knows the other", || {
            [&here, &there].iter().all(|broker| {
                broker.status()["link"]["peers"].as_array().is_some_and(|it| it.len() == 1)
            })
        });
        // It listens to `open` for the sake of `mine` alone.
        wait_until("the other knows that", || {
            let asked = ["emit", "other", "x", "--verbose", "--channel", "open"];
            there.run(&asked).succeeded().stdout.contains("to 1 other broker")
        });
        there.run(&["emit", "n", "from there", "--channel", "open"]).succeeded();
        assert_eq!(mine.line(), "n from there");
        assert_eq!(far_open.line(), "n from there");
        there.run(&["emit", "n", "not for here", "--channel", "mine"]).succeeded();
        assert_eq!(far_mine.line(), "n not for here");
        let asked = ["emit", "n", "stays", "--verbose", "--channel", "mine"];
        let asked = here.run(&asked).succeeded().stdout;
        assert!(!asked.contains("other broker"), "{asked}");
        assert_eq!(mine.line(), "n stays");
        here.run(&["emit", "n", "open", "--channel", "open"]).succeeded();
        assert_eq!(mine.line(), "n open");
        assert_eq!(far_open.line(), "n open");
        there.run(&["emit", "n", "end", "--channel", "mine"]).succeeded();
        assert_eq!(far_mine.line(), "n end", "{backend}: nothing of here came between");
    }
}

#[test]
fn an_emitter_that_waits_for_its_rate_is_read_to_its_end_when_it_goes() {
    let broker = broker("auto", "[channels.slow]\nmax-event-rate = 500\n", &[]);
    let mut on = broker.on(&["n", "--format", "raw", "--channel", "slow"]);
    let emit = broker.command(&["emit", "n", "--channel", "slow"]);
    let (emit, mut input) = Process::start_with_pipe(emit);
    for number in 0..200 {
        writeln!(input, "{number}").unwrap();
    }
    drop(input);
    emit.finish().succeeded();
    for number in 0..200 {
        assert_eq!(on.line(), number.to_string());
    }
}
