//! `serve --metrics`: what Prometheus gets, and that the dashboard and the rules ask for
//! nothing else.
#![cfg(unix)]

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::{Broker, Directory, Process, backends, loopback, wait_until};

/// Metrics of libraries and of Prometheus itself, which a broker does not have.
const FOREIGN: [&str; 1] = ["up"];

/// Returns the address at which a broker says that its metrics are.
fn address(broker: &Broker) -> String {
    broker.process.wait_for_notice("metrics at ");
    let notices = broker.process.notices();
    let place = notices.split("metrics at ").nth(1).unwrap();
    place.split("/metrics").next().unwrap().to_owned()
}

fn exchange(mut connection: impl Read + Write, request: &str) -> (String, String) {
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

fn connect(address: &str) -> TcpStream {
    let connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    connection
}

fn get(address: &str, path: &str) -> (String, String) {
    exchange(connect(address), &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|it| it.status.success());
    if !found {
        println!("SKIPPED: {program} is not installed (Debian: apt install prometheus)");
    }
    found
}

/// Has promtool read something, and returns what it says if that is wrong.
fn promtool(arguments: &[&str], input: &str) -> Result<(), String> {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = promtool.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(()) } else { Err(text(&done.stdout) + &text(&done.stderr)) }
}

/// Returns the names of metrics in a text, whatever else is in it.
fn names(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_word(c));
    words.filter(|word| word.starts_with("netcluster_")).map(str::to_owned).collect()
}

/// A broker with a link and some traffic, and its metrics by TCP.
fn linked(backend: &str) -> Broker {
    let options = ["--metrics", "127.0.0.1:0", "--link", "--interface", loopback()];
    // Tests that run at the same time are not to find each other.
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let cluster = format!("metrics-{}-{number}", std::process::id());
    let port = ["--unicast-port", "0", "--cluster", &cluster];
    let broker = Broker::start_with(backend, &[&options[..], &port].concat());
    let mut listener = broker.on(&["log"]);
    broker.run(&["emit", "log", "x"]).succeeded();
    assert_eq!(listener.line(), "log x");
    broker
}

#[test]
fn a_scrape_has_what_the_status_has_and_promtool_likes_it() {
    for backend in backends() {
        let broker = linked(backend);
        let address = address(&broker);
        let _listener = broker.on(&["log", "--channel", "red"]);
        let (status, text) = get(&address, "/metrics");
        assert_eq!(status, "HTTP/1.1 200 OK");
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse::<f64>().unwrap()
        };
        assert_eq!(value("netcluster_events_received_total"), 1.0);
        assert_eq!(value("netcluster_events_queued_total"), 1.0);
        assert_eq!(value("netcluster_fan_out_targets_count"), 1.0);
        assert_eq!(value("netcluster_fan_out_targets_bucket{le=\"1\"}"), 1.0);
        assert_eq!(value("netcluster_channel_clients{channel=\"red\"}"), 1.0);
        assert!(value("netcluster_clients") >= 2.0);
        assert!(value("netcluster_memory_limit_bytes") > 0.0);
        assert_eq!(value("netcluster_link_peers"), 0.0);
        if has("promtool") {
            assert_eq!(promtool(&["check", "metrics"], &text), Ok(()));
        }
    }
}

#[test]
fn health_and_readiness_are_told_and_nothing_else_is_there() {
    let broker = Broker::start_with("auto", &["--metrics", "127.0.0.1:0"]);
    let address = address(&broker);
    assert_eq!(get(&address, "/healthz"), ("HTTP/1.1 200 OK".into(), "ok\n".into()));
    assert_eq!(get(&address, "/readyz"), ("HTTP/1.1 200 OK".into(), "ready\n".into()));
    assert_eq!(get(&address, "/").0, "HTTP/1.1 404 Not Found");
    let post = exchange(connect(&address), "POST /metrics HTTP/1.1\r\n\r\n");
    assert_eq!(post.0, "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(exchange(connect(&address), "nonsense\r\n\r\n").0, "HTTP/1.1 400 Bad Request");
    let head = exchange(connect(&address), "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert_eq!(head, ("HTTP/1.1 200 OK".into(), String::new()));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000));
    assert_eq!(exchange(connect(&address), &long[..8500]).0.split(' ').nth(1), Some("431"));

    // Its connection was kicked: the next scrape makes another.
    let clients = broker.status()["clients"].as_array().cloned().unwrap();
    let own = clients.iter().find(|it| it["name"] == "netcluster metrics").unwrap();
    broker.run(&["kick", &own["client"].to_string()]).succeeded();
    wait_until("it is well again", || get(&address, "/healthz").0 == "HTTP/1.1 200 OK");

    let drain = Process::start(broker.command(&["drain", "--notice", "20s", "--no-wait"]));
    drain.finish().succeeded();
    wait_until("it is not ready any more", || {
        get(&address, "/readyz").0 == "HTTP/1.1 503 Service Unavailable"
    });
    assert_eq!(get(&address, "/healthz").0, "HTTP/1.1 200 OK");
}

/// Slow ones could keep everybody else out, for ever.
#[test]
fn who_says_nothing_is_cut_off_and_does_not_keep_others_out() {
    let broker = Broker::start_with("auto", &["--metrics", "127.0.0.1:0"]);
    let address = address(&broker);
    let mut slow: Vec<TcpStream> = (0..40).map(|_| connect(&address)).collect();
    for connection in &mut slow {
        // Those beyond the limit are closed already.
        let _ = connection.write_all(b"GET /metr");
    }
    for _ in 0..5 {
        assert_eq!(get(&address, "/healthz").0, "HTTP/1.1 200 OK");
    }
    for mut connection in slow {
        let mut rest = Vec::new();
        // Closed, or reset as it had said something that nobody read.
        let _ = connection.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
}

/// Slow ones that were cut off could come again, and had the place before others did.
#[test]
fn who_says_nothing_again_and_again_keeps_nobody_out() {
    const SLOW: usize = 24;
    let broker = Broker::start_with("auto", &["--metrics", "127.0.0.1:0"]);
    let address = address(&broker);
    let is_over = AtomicBool::new(false);
    let served = thread::scope(|scope| {
        for _ in 0..SLOW {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let mut connection = connect(&address);
                    // It is cut off, and tries again.
                    let _ = connection.write_all(b"G").and_then(|()| connection.read(&mut [0]));
                }
            });
        }
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let served = (0..40).filter(|_| {
            let mut answer = String::new();
            let mut connection = connect(&address);
            // One that is cut off before it could say something is not served.
            connection.write_all(request.as_bytes()).is_ok()
                && connection.read_to_string(&mut answer).is_ok()
                && answer.contains(" 200 ")
        });
        let served = served.count();
        is_over.store(true, Ordering::Relaxed);
        served
    });
    assert!(served >= 10, "{served} of 40");
}

/// Bytes behind a request took the answer away.
#[test]
fn an_answer_comes_also_to_who_says_more() {
    let broker = Broker::start_with("auto", &["--metrics", "127.0.0.1:0"]);
    let address = address(&broker);
    let many = "GET /healthz HTTP/1.1\r\n\r\n".repeat(2000);
    assert_eq!(exchange(connect(&address), &many), ("HTTP/1.1 200 OK".into(), "ok\n".into()));
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(60_000));
    assert_eq!(exchange(connect(&address), &long).0.split(' ').nth(1), Some("431"));
}

#[test]
fn a_unix_socket_will_do_and_one_that_was_left_is_replaced() {
    let directory = Directory::new();
    let path = directory.join("metrics");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let option = format!("unix:{}", path.display());
    let broker = Broker::start_with("auto", &["--metrics", &option]);
    broker.process.wait_for_notice("metrics at unix:");
    let request = "GET /healthz HTTP/1.1\r\n\r\n";
    assert_eq!(exchange(UnixStream::connect(&path).unwrap(), request).1, "ok\n");

    // One that is in use is not taken away, and the broker says so.
    let socket = directory.socket("other");
    let mut command = support::command(["serve", "--metrics", &option, "--socket"]);
    command.arg(&socket);
    Process::start(command).finish().failed(1, "cannot serve metrics at");
    assert_eq!(exchange(UnixStream::connect(&path).unwrap(), request).1, "ok\n");
    let mut command = support::command(["serve", "--metrics", "nonsense", "--socket"]);
    command.arg(&socket);
    Process::start(command).finish().failed(2, "unix:PATH");
}

/// The system refuses connections to a file as to a socket that was left: files of others
/// were removed.
#[test]
fn a_file_that_is_no_socket_stays_where_it_is() {
    let directory = Directory::new();
    let (file, link) = (directory.file("precious", "kept"), directory.join("link"));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link] {
        let option = format!("unix:{}", path.display());
        let mut command = support::command(["serve", "--metrics", &option, "--socket"]);
        command.arg(directory.socket("s"));
        Process::start(command).finish().failed(1, "no socket");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "kept");
    }
    assert!(link.is_symlink());
}

#[test]
fn dashboard_and_rules_name_only_metrics_that_a_broker_has() {
    let broker = linked("auto");
    let scraped = names(&get(&address(&broker), "/metrics").1);
    for name in ["contrib/grafana/netcluster.json", "contrib/prometheus/netcluster.rules.yml"] {
        let asked = names(&file(name));
        assert!(asked.len() > 10, "{name}: {asked:?}");
        let missing: Vec<_> = asked.difference(&scraped).collect();
        assert!(missing.is_empty(), "{name} names what no broker has: {missing:?}");
    }
    if has("promtool") {
        let rules = "contrib/prometheus/netcluster.rules.yml";
        assert_eq!(promtool(&["check", "rules", rules], ""), Ok(()));
        let tests = "contrib/prometheus/netcluster.rules.test.yml";
        assert_eq!(promtool(&["test", "rules", tests], ""), Ok(()));
    }
}

/// The expressions of the dashboard, as Grafana would send them.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&file("contrib/grafana/netcluster.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let expression = |target: &Value| target["expr"].as_str().unwrap().to_owned();
    let filled = |it: String| it.replace("$__rate_interval", "1m").replace("$instance", ".*");
    targets.map(expression).map(filled).collect()
}

/// Asks Prometheus; none while it does not answer.
fn query(address: &str, expression: &str) -> Option<Value> {
    let mut encoded = String::new();
    for byte in expression.bytes() {
        encoded += &format!("%{byte:02X}");
    }
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let request = format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

#[test]
fn a_real_prometheus_scrapes_a_real_broker_and_answers_the_dashboard() {
    if !has("prometheus") {
        return;
    }
    let broker = linked("auto");
    let directory = Directory::new();
    let rules: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/prometheus/netcluster.rules.yml");
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
         scrape_configs:\n  - job_name: netcluster\n    static_configs: [{{targets: ['{}']}}]\n",
        rules.display(),
        address(&broker)
    );
    let config = directory.file("prometheus.yml", &config);
    // A port that is free now.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let web = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
    command.arg(format!("--web.listen-address={web}"));
    let _prometheus = Process::start_telling(command, Stdio::null());
    let has_value = |expression: &str| {
        let answer = query(&web, expression).unwrap_or_default();
        answer["data"]["result"].as_array().is_some_and(|result| !result.is_empty())
    };
    wait_until("it has scraped twice", || has_value("rate(netcluster_events_received_total[1m])"));
    assert!(FOREIGN.iter().all(|name| has_value(&format!("{name}{{job=\"netcluster\"}} == 1"))));
    for expression in expressions() {
        let answer = query(&web, &expression).expect("it answers");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        assert!(has_value(&expression), "{expression} has no value");
    }
    let alerts = query(&web, "ALERTS{alertname!=\"NetclusterRestarted\"}").unwrap();
    assert_eq!(alerts["data"]["result"], Value::Array(Vec::new()), "nothing is wrong");
}
