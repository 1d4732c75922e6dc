//! Events through the commands: `emit`, `on`, `status`, `demo`, on each back end.

mod support;

use support::{Broker, Process, Signal, backends, command, has_signals, own_user, wait_until};

#[test]
fn an_emitted_event_is_printed() {
    for backend in backends() {
        let broker = Broker::start(backend);
        let on = broker.on(&["log.*", "--count", "2"]);
        broker.run(&["emit", "other", "not heard"]).succeeded();
        broker.run(&["emit", "log.web", "hello"]).succeeded();
        broker.run(&["emit", "log.db", "two\nlines \u{1b}[2J"]).succeeded();
        let done = on.finish().succeeded();
        assert_eq!(done.stdout, "log.web hello\nlog.db two\\nlines \\u{1b}[2J\n", "{backend}");
    }
}

#[test]
fn each_line_of_standard_input_is_an_event() {
    const LINES: usize = 20_000;
    for backend in backends() {
        let broker = Broker::start(backend);
        let on = broker.on(&["log", "--count", &LINES.to_string(), "--format", "raw"]);
        let lines: String = (0..LINES).map(|number| format!("line {number}\n")).collect();
        // The last line has no end.
        let input = lines.trim_end().to_owned();
        let emit = Process::start_with_input(broker.command(&["emit", "log"]), input);
        let printed = on.finish().succeeded().stdout;
        assert!(printed == lines, "{backend}: other lines arrived than were emitted");
        emit.finish().succeeded();
    }
}

#[test]
fn nothing_emitted_is_lost_when_emit_ends() {
    for backend in backends() {
        let broker = Broker::start(backend);
        let mut on = broker.on(&["log", "--format", "raw"]);
        // More than all socket buffers on the way hold, while nobody reads.
        let payload = "x".repeat(1000);
        let input: String = (0..4000).map(|number| format!("{number} {payload}\n")).collect();
        Process::start_with_input(broker.command(&["emit", "log"]), input).finish().succeeded();
        for number in 0..4000 {
            assert_eq!(on.line(), format!("{number} {payload}"), "{backend}");
        }
    }
}

#[test]
fn json_is_checked_made_compact_and_printed_as_objects() {
    for backend in backends() {
        let broker = Broker::start_with(backend, &["--node-id", "beef"]);
        let on = broker.on(&["log", "--count", "4", "--format", "json"]);
        broker.run(&["emit", "log", "--json", "{\"b\": 1, \"a\": [1.50]}"]).succeeded();
        broker.run(&["emit", "log", "--json", "{"]).failed(1, "not JSON");
        let command = broker.command(&["emit", "log", "--json"]);
        let done = Process::start_with_input(command, "\"good\"\nbad\n\"never\"\n").finish();
        done.failed(1, "line 2: not JSON");
        let command = broker.command(&["emit", "log"]);
        Process::start_with_input(command, &b"\xff\xfe\ntext"[..]).finish().succeeded();

        let printed = on.finish().succeeded().stdout;
        let lines: Vec<serde_json::Value> =
            printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0]["event"], "log");
        assert!(printed.starts_with("{\"event\":\"log\""), "{printed}");
        assert!(printed.contains("\"encoding\":\"json\",\"data\":{\"b\":1,\"a\":[1.50]}}"));
        assert_eq!(lines[0]["source"]["node"], "0000beef");
        assert_ne!(lines[0]["source"]["client"], 0);
        assert_eq!(lines[0]["sequence"], 1);
        assert_eq!((&lines[1]["encoding"], &lines[1]["data"]), (&"json".into(), &"good".into()));
        assert_eq!(lines[2]["encoding"], "bytes");
        assert_eq!(lines[2]["data_base64"], "//4=");
        assert_eq!((&lines[3]["encoding"], &lines[3]["data"]), (&"text".into(), &"text".into()));
        assert_ne!(lines[1]["source"], lines[2]["source"]);
    }
}

#[test]
fn channels_are_isolated() {
    for backend in backends() {
        let broker = Broker::start(backend);
        let red = broker.on(&["log", "--channel", "red", "--count", "1"]);
        let blue = broker.on(&["log", "--channel", "blue", "--count", "1"]);
        let plain = broker.on(&["log", "--count", "1"]);
        for channel in ["blue", "red", "default"] {
            broker.run(&["emit", "log", channel, "--channel", channel]).succeeded();
        }
        assert_eq!(red.finish().succeeded().stdout, "log red\n");
        assert_eq!(blue.finish().succeeded().stdout, "log blue\n");
        assert_eq!(plain.finish().succeeded().stdout, "log default\n");
    }
}

#[test]
fn an_event_that_matches_several_patterns_is_printed_once() {
    let broker = Broker::start("auto");
    let on = broker.on(&["a.*", "a.b", "**", "--count", "2"]);
    broker.run(&["emit", "a.b", "1"]).succeeded();
    broker.run(&["emit", "c", "2"]).succeeded();
    assert_eq!(on.finish().succeeded().stdout, "a.b 1\nc 2\n");
}

#[test]
fn an_event_is_printed_at_once_also_without_a_count() {
    let broker = Broker::start("auto");
    let mut on = broker.on(&["log"]);
    for number in 0..10 {
        broker.run(&["emit", "log", &number.to_string()]).succeeded();
        assert_eq!(on.line(), format!("log {number}"));
    }
}

#[test]
fn listening_ends_in_time_and_says_if_that_was_early() {
    let broker = Broker::start("auto");
    // Long enough for a busy machine to come to listening.
    broker.on(&["log", "--timeout", "3s"]).finish().succeeded();
    let on = broker.on(&["log", "--timeout", "3s", "--count", "1"]);
    on.finish().failed(4, "--count");
}

#[test]
fn ctrl_c_ends_listening_with_0() {
    if !has_signals() {
        return;
    }
    for signal in [Signal::INT, Signal::TERM] {
        let broker = Broker::start("auto");
        let on = broker.on(&["log"]);
        on.signal(signal);
        on.finish().succeeded();
    }
}

#[test]
fn a_broken_pipe_ends_quietly() {
    let broker = Broker::start("auto");
    let mut on = broker.on(&["log"]);
    broker.run(&["emit", "log", "1"]).succeeded();
    assert_eq!(on.line(), "log 1");
    on.close_stdout();
    broker.run(&["emit", "log", "2"]).succeeded();
    let done = on.finish().succeeded();
    assert!(!done.stderr.contains("error"), "{done:?}");
}

#[test]
fn a_payload_over_the_limit_is_refused_and_nothing_else_breaks() {
    // The command line of Windows has room for 32 KiB.
    let limit_kib: usize = if cfg!(windows) { 16 } else { 64 };
    for backend in backends() {
        let broker = Broker::start_with(backend, &["--max-payload", &format!("{limit_kib}KiB")]);
        let on = broker.on(&["log", "--count", "2", "--format", "raw"]);
        let large = "x".repeat((limit_kib << 10) + 1);
        broker.run(&["emit", "log", &large]).failed(1, "--max-payload");
        let command = broker.command(&["emit", "log"]);
        let input = format!("first\n{large}\nnever\n");
        Process::start_with_input(command, input).finish().failed(1, "line 2: ");
        broker.run(&["emit", "log", &large[1..]]).succeeded();
        assert_eq!(on.finish().succeeded().stdout, format!("first\n{}\n", &large[1..]));
    }
}

#[test]
fn a_stuck_listener_is_disconnected_told_why_and_shown_in_status() {
    for backend in backends() {
        let options = ["--max-queue", "64KiB", "--stall-timeout", "200ms"];
        let broker = Broker::start_with(backend, &options);
        let mut stuck = broker.on(&["log", "--format", "raw"]);
        let mut other = broker.on(&["other"]);
        // More than all buffers on the way hold, while nobody reads its output.
        let input = format!("{}\n", "x".repeat(1000)).repeat(20_000);
        let emit = Process::start_with_input(broker.command(&["emit", "log"]), input);
        wait_until("it is disconnected", || broker.status()["totals"]["stalled"] != 0);
        emit.finish().succeeded();
        let status = broker.status();
        let closed = &status["closed_by_broker"][0];
        assert!(closed["reason"].as_str().unwrap().len() > 10, "{backend}: {closed}");
        let page = broker.run(&["status"]).succeeded().stdout;
        assert!(page.contains("CLOSED"), "{page}");
        broker.run(&["emit", "other", "undisturbed"]).succeeded();
        assert_eq!(other.line(), "other undisturbed");

        // Read on, it hears why, and comes back.
        stuck.discard_stdout();
        for notice in ["Stalled", "listening again", "lost: "] {
            stuck.wait_for_notice(notice);
        }
    }
}

#[test]
fn status_shows_who_is_connected_and_what_they_did() {
    for backend in backends() {
        let broker = Broker::start_with(backend, &["--node-id", "c0ffee", "--shards", "2"]);
        let on = broker.on(&["log.*", "alarm", "--channel", "red"]);
        broker.run(&["emit", "log.web", "x", "--channel", "red"]).succeeded();
        broker.run(&["emit", "nobody.hears", "x", "--channel", "red"]).succeeded();

        // Those that emitted may be on their way out yet.
        wait_until("only the listener and status are there", || {
            broker.status()["clients"].as_array().unwrap().len() == 2
        });
        let status = broker.status();
        assert_eq!(status["node"], "00c0ffee");
        assert_eq!(status["pid"], broker.process.pid());
        assert_eq!(status["backend"], backend);
        assert_eq!(status["shards"].as_array().unwrap().len(), 2);
        assert!(status["memory"]["limit_bytes"].as_u64().unwrap() > 0);
        let totals = &status["totals"];
        assert_eq!(totals["events_in"], 2);
        assert_eq!(totals["events_out"], 1);
        assert_eq!(totals["events_unheard"], 1);
        assert_eq!(totals["listeners"], 2);
        let red = status["channels"].as_array().unwrap().iter();
        let red = red.clone().find(|channel| channel["name"] == "red").unwrap();
        assert_eq!((&red["clients"], &red["listeners"]), (&1.into(), &2.into()));
        let clients = status["clients"].as_array().unwrap();
        let listener = clients.iter().find(|client| client["channel"] == "red").unwrap();
        assert_eq!(listener["name"], "netcluster on");
        assert_eq!(listener["pid"], on.pid());
        let (user, group) = own_user();
        assert_eq!((&listener["uid"], &listener["gid"]), (&user.into(), &group.into()));
        assert_eq!(listener["events_out"], 1);
        assert_eq!(listener["state"], "open");

        let page = broker.run(&["status"]).succeeded().stdout;
        for word in ["node 00c0ffee", backend, "CHANNEL", "red", "netcluster on", "STATE", "open"] {
            assert!(page.contains(word), "{word:?} is not in:\n{page}");
        }
        let pid = on.pid().to_string();
        assert!(page.lines().any(|line| line.contains("netcluster on") && line.contains(&pid)));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn status_is_as_wide_as_its_terminal_and_as_it_likes_in_a_pipe() {
    let broker = Broker::start(backends()[0]);
    let program = broker.command(&["status"]);
    let words = std::iter::once(program.get_program()).chain(program.get_args());
    let words: Vec<String> = words.map(|word| format!("{word:?}")).collect();
    let widest = |columns: u32| {
        // `script` runs a command in a terminal of its own.
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &format!("stty cols {columns} rows 24; {}", words.join(" "))]);
        if script.arg("/dev/null").output().is_err() {
            return None;
        }
        let page = Process::start(script).finish().succeeded().stdout;
        page.lines().map(|line| line.trim_end().chars().count()).max()
    };
    let Some(narrow) = widest(80) else { return println!("SKIPPED: there is no `script`") };
    let page = broker.run(&["status"]).succeeded().stdout;
    let piped = page.lines().map(|line| line.chars().count()).max();
    assert!((60..=80).contains(&narrow), "{narrow}");
    assert!(piped > Some(80), "{page}");
    assert!(widest(300) > Some(80));
}

#[test]
fn the_demo_shows_events_and_ends_by_itself() {
    for backend in backends() {
        let done = Process::start(command(["demo", "--backend", backend])).finish().succeeded();
        for word in [backend, "greeting.5", "got all", "a second", "netcluster serve"] {
            assert!(done.stdout.contains(word), "{word:?} is not in:\n{}", done.stdout);
        }
    }
}
