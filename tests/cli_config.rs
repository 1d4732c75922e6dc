//! The configuration on the command line: made, checked, shown, and where it comes from.

mod support;

use support::{Broker, Directory, NO_SOCKET, Process, command};

fn run(arguments: &[&str]) -> support::Done {
    Process::start(command(arguments)).finish()
}

#[test]
fn a_file_is_made_once_is_right_and_serves() {
    let directory = Directory::new();
    let file = directory.join("n.toml");
    let path = file.to_str().unwrap();
    run(&["config", "init", path]).succeeded();
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(run(&["config", "init", "-"]).succeeded().stdout, text);
    run(&["config", "init", path]).failed(1, "is there already, and is left as it is");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let done = run(&["config", "check", path]).succeeded();
    assert_eq!(done.stdout, format!("{path}: right, 0 settings\n"));
    let broker = Broker::start_with("auto", &["--config", path]);
    assert_eq!(broker.status()["clients"][0]["max_queue"], 8 << 20);
}

#[test]
fn check_says_what_is_wrong_and_starts_nothing() {
    let directory = Directory::new();
    let bad = directory.file("bad.toml", "shards = 2\n[link]\nttl = 300\n");
    let text = "bad.toml:3:7: ";
    let path = bad.to_str().unwrap();
    run(&["config", "check", path]).failed(2, text);
    run(&["serve", "--check", "--config", path]).failed(2, text);
    let range = directory.file("range.toml", "\n spin-us = 51");
    let path = range.to_str().unwrap();
    run(&["config", "check", path]).failed(2, "range.toml:2:2: spin-us must be at most 50");
    let good = directory.file("good.toml", &format!("socket = '{NO_SOCKET}'\n[link]\n"));
    let done = run(&["serve", "--check", "--config", good.to_str().unwrap()]).succeeded();
    assert!(done.stdout.ends_with("good.toml: right, 2 settings\n"), "{done:?}");
    assert!(done.stderr.contains("warning: the link is open"), "{done:?}");
    let key = directory.file("key.toml", "[link]\nkey-file = '/nowhere/key'");
    run(&["config", "check", key.to_str().unwrap()]).failed(2, "/nowhere/key");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let directory = Directory::new();
    let text = "node-id = '0000000a'\nmax-queue = '1MiB'\nmax-patterns = 5\n";
    let file = directory.file("n.toml", text);
    let mut show = command(["config", "show", "--json", "--node-id", "c"]);
    show.env("NETCLUSTER_CONFIG", &file)
        .env("NETCLUSTER_NODE_ID", "b")
        .env("NETCLUSTER_MAX_QUEUE", "2MiB")
        .env("NETCLUSTER_PIN", "");
    let shown = Process::start(show).finish().succeeded().stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let of = |key: &str| (shown[key]["value"].clone(), shown[key]["from"].as_str().unwrap());
    assert_eq!(of("node-id"), ("0000000c".into(), "--node-id"));
    assert_eq!(of("max-queue"), ("2MiB".into(), "NETCLUSTER_MAX_QUEUE"));
    let (value, from) = of("max-patterns");
    assert!(value == 5 && from.ends_with("n.toml:3:1"), "{value} {from}");
    assert_eq!(of("pin"), (false.into(), "default"));
    let mut serve = command(["serve"]);
    serve.env("NETCLUSTER_SHARDS", "70");
    Process::start(serve).finish().failed(2, "NETCLUSTER_SHARDS: shards must be between 1 and 64");
}

#[test]
fn the_schema_is_json() {
    let schema = run(&["config", "schema"]).succeeded().stdout;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["properties"]["shards"]["maximum"], 64);
}
