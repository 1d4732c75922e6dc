//! `netcluster top`: on a real terminal, of a real broker under load.

mod support;

use support::{Broker, Directory, Process, command};

#[test]
fn without_a_terminal_it_says_what_is_for_programs() {
    let broker = Broker::start("auto");
    broker.run(&["top"]).failed(2, "netcluster clients --json");
    broker.run(&["top", "--interval", "1ms"]).failed(2, "at least 100ms");
    broker.run(&["top", "--once", "--sort", "beauty"]).failed(2, "clients has the columns");
    let mut nowhere = command(["top", "--once"]);
    nowhere.arg("--socket").arg(Directory::new().socket("none"));
    Process::start(nowhere).finish().failed(3, "netcluster serve");
}

#[test]
fn it_can_be_printed_once() {
    let broker = Broker::start("auto");
    let _listener = broker.on(&["log.**"]);
    let mut once = vec!["top", "--once", "--interval", "200ms"];
    let page = broker.run(&once).succeeded().stdout;
    for words in
        ["events   in 0/s  out 0/s", " 1 clients ", "netcluster on", "netcluster top", "0/s"]
    {
        assert!(page.contains(words), "{words:?} is not in\n{page}");
    }
    once.extend(["--filter", "CLUSTER ON"]);
    let page = broker.run(&once).succeeded().stdout;
    assert!(page.contains("netcluster on") && !page.contains("netcluster top"), "{page}");
    for (view, words) in [
        ("slow", "nobody is slow"),
        ("channels", "default"),
        ("peers", "there is no link"),
        ("losses", "listeners stalled"),
        ("shards", "PINNED"),
    ] {
        let page = broker.run(&["top", "--once", "--interval", "100ms", "--view", view]);
        let page = page.succeeded().stdout;
        assert!(page.contains(words), "{words:?} is not in\n{page}");
    }
}

#[cfg(target_os = "linux")]
mod terminal {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::{self, JoinHandle};
    use std::time::Duration;

    use netcluster_client::Client;
    use rustix::process::Signal;

    use super::support::{self, Broker, Terminal, backends, serve};

    /// Name of a client that wants to clear the terminal.
    const EVIL: &str = "evil\x1b[2Jname";

    /// An emitter and listeners of which one reads nothing.
    struct Load {
        is_over: Arc<AtomicBool>,
        emitter: Option<JoinHandle<()>>,
        _listener: Client,
        _idle: support::Process,
    }

    impl Load {
        fn start(broker: &Broker) -> Load {
            let connect = |name: &str, channel: &str| {
                let client = Client::builder().name(name).channel(channel);
                client.connect(broker.socket()).unwrap()
            };
            let listener = connect(EVIL, "busy");
            listener.on("load", |_| {}).unwrap();
            // Nobody reads its output.
            let idle = broker.on(&["load", "--channel", "slow"]);
            let (busy, slow) = (connect("emitter", "busy"), connect("waiting", "slow"));
            let is_over = Arc::new(AtomicBool::new(false));
            let over = Arc::clone(&is_over);
            let emitter = thread::spawn(move || {
                // The second waits forever, as its listener does.
                thread::spawn(move || while slow.emit("load", vec![b'x'; 60_000]).is_ok() {});
                while !over.load(Ordering::Relaxed) {
                    for _ in 0..100 {
                        busy.emit("load", b"something".as_slice()).unwrap();
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            });
            Load { is_over, emitter: Some(emitter), _listener: listener, _idle: idle }
        }
    }

    impl Drop for Load {
        fn drop(&mut self) {
            self.is_over.store(true, Ordering::Relaxed);
            if let Some(emitter) = self.emitter.take() {
                let _ = emitter.join();
            }
        }
    }

    fn top(broker: &Broker, arguments: &[&str]) -> Terminal {
        let arguments = [&["top", "--interval", "250ms"], arguments].concat();
        Terminal::start(broker.command(&arguments), (80, 24))
    }

    /// Whether a line has these words, and a rate of thousands behind them.
    fn has_rate(line: &str, words: &str) -> bool {
        let rest = line.split_once(words).map_or("", |(_, rest)| rest);
        rest.split_whitespace().any(|it| {
            let it = it.trim_end_matches("/s");
            it.ends_with('k') || it.parse::<f64>().is_ok_and(|rate| rate >= 1000.0)
        })
    }

    #[test]
    fn a_broker_under_load_is_shown_and_keys_are_followed() {
        for backend in backends() {
            let options = ["--stall-timeout", "10min", "--shards", "2", "--max-queue", "1MiB"];
            let broker = Broker::start_with(backend, &options);
            let load = Load::start(&broker);
            let top = top(&broker, &[]);
            let lines = top.wait_for("rates", |lines| {
                has_rate(&lines[1], "in ")
                    && lines.iter().any(|line| has_rate(line, "emitter"))
                    && lines.iter().any(|line| has_rate(line, "evil\\u{1b}[2J"))
            });
            assert!(lines[0].starts_with("netcluster "), "{lines:#?}");
            assert!(lines[6].starts_with(" 1 clients  2 slow "), "{lines:#?}");
            assert!(lines[7].contains("OUT/s▼"), "{lines:#?}");
            assert_eq!(lines.len(), 24);
            top.type_in("\x1b[C");
            top.wait_for("another column", |lines| lines[7].contains("QUEUED▼"));
            top.type_in("2");
            top.wait_for("the slow listener", |lines| {
                lines.iter().any(|it| it.contains("netcluster on") && it.contains("full"))
                    && lines.iter().any(|it| it.contains("waiting") && it.contains("paused by"))
            });
            top.type_in("3");
            top.wait_for("rates of channels", |lines| {
                lines.iter().any(|line| line.starts_with("busy") && has_rate(line, "busy"))
            });
            top.type_in("/SLO");
            top.wait_for("a filter", |lines| {
                lines[23] == "filter: SLO_" && lines[8].starts_with("slow") && lines[9].is_empty()
            });
            top.type_in("\r?");
            top.wait_for("help", |lines| lines.iter().any(|line| line.starts_with("Ctrl-L")));
            top.type_in("?1p");
            top.wait_for("a pause", |lines| lines[0].ends_with("PAUSED"));
            top.type_in("p");
            top.resize(20, 5);
            top.wait_for("a small screen", |lines| {
                lines.len() == 5
                    && lines[0].starts_with("netc")
                    && lines[2].trim_start().starts_with("CLIENT")
            });
            top.resize(120, 40);
            top.wait_for("a large screen", |lines| lines.len() == 40 && lines[39].contains("Esc"));
            top.check_harmless();
            top.type_in("q");
            assert!(top.ended().success());
            drop(load);
        }
    }

    #[test]
    fn a_restarted_broker_is_found_again_and_a_signal_gives_the_terminal_back() {
        let broker = Broker::start("auto");
        let top = top(&broker, &["--view", "losses"]);
        let pid = |process: &support::Process| format!("pid {} ", process.pid());
        let first = pid(&broker.process);
        top.wait_for("the broker", |lines| lines[0].contains(&first));
        let Broker { process, directory } = broker;
        process.signal(Signal::TERM);
        process.finish().succeeded();
        let lines = top.wait_for("no broker", |lines| lines[0].starts_with("NO ANSWER for "));
        assert!(lines[8].contains("0"), "what was known stays: {lines:#?}");
        let process = serve(&directory.socket("s"), "auto", &[]);
        let second = pid(&process);
        top.wait_for("the next broker", |lines| lines[0].contains(&second));
        top.check_harmless();
        top.signal(Signal::TERM);
        assert!(top.ended().success());
    }

    #[test]
    fn keys_are_heard_while_the_broker_does_not_answer() {
        let broker = Broker::start("auto");
        let top = top(&broker, &[]);
        top.wait_for("clients", |lines| lines.iter().any(|line| line.contains("netcluster top")));
        broker.process.signal(Signal::STOP);
        top.wait_for("trouble", |lines| lines[0].starts_with("NO ANSWER"));
        top.type_in("?");
        top.wait_for("help", |lines| lines.iter().any(|line| line.starts_with("Ctrl-L")));
        broker.process.signal(Signal::CONT);
        top.wait_for("an answer", |lines| lines[0].starts_with("netcluster "));
        top.type_in("\x03");
        assert!(top.ended().success());
    }
}
