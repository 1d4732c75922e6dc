//! The settings of the link and the keys of brokers, on the command line.

mod support;

use std::path::Path;
use std::process::Stdio;

use support::{
    Directory, NO_SOCKET, Process, command, give_to_unprivileged, is_unix, loopback,
    mode_and_group, set_mode, unprivileged,
};

const KEY_BYTES: usize = 32;

fn keygen(path: &Path) -> support::Done {
    let mut command = command(["link", "keygen"]);
    command.arg(path);
    Process::start(command).finish()
}

/// Runs `serve` with a link, which cannot come further than its settings.
fn serve(options: &[&str], key_files: &[&Path]) -> support::Done {
    let mut command = command(["serve", "--socket", NO_SOCKET, "--link", "239.255.44.54:4454"]);
    command.args(options);
    for file in key_files {
        command.arg("--key-file").arg(file);
    }
    Process::start(command).finish()
}

/// Checks that the settings were good: only the socket stands in the way.
#[track_caller]
fn is_good(done: support::Done) -> String {
    done.failed(1, "nowhere").stderr
}

#[test]
fn a_made_key_is_32_random_bytes_for_its_owner_alone() {
    let directory = Directory::new();
    let keys = ["a", "b"].map(|name| {
        let path = directory.join(name);
        let done = keygen(&path).succeeded();
        assert_eq!(done.stdout, "");
        assert!(done.stderr.contains("made the key "), "{done:?}");
        assert!(cfg!(windows) || mode_and_group(&path).0 == 0o600);
        std::fs::read(&path).unwrap()
    });
    assert_ne!(keys[0], keys[1]);
    assert!(keys.iter().all(|key| key.len() == KEY_BYTES));
}

#[test]
fn help_tells_how_to_use_a_key_and_how_to_change_it() {
    let help = Process::start(command(["link", "keygen", "--help"])).finish().succeeded().stdout;
    for words in ["Examples:", "--key-file old --key-file", "netcluster link keygen "] {
        assert!(help.contains(words), "{words:?} is not in:\n{help}");
    }
}

#[test]
fn a_key_is_never_overwritten() {
    let directory = Directory::new();
    let path = directory.file("key", "precious");
    keygen(&path).failed(1, "not overwritten");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    keygen(&directory.join("missing/key")).failed(1, "cannot write");
}

#[test]
fn without_a_path_the_key_goes_to_the_current_directory() {
    let directory = Directory::new();
    let mut here = command(["link", "keygen"]);
    here.current_dir(directory.path());
    Process::start(here).finish().succeeded();
    assert_eq!(std::fs::read(directory.join("netcluster.key")).unwrap().len(), KEY_BYTES);
}

#[test]
fn a_dash_writes_the_key_and_nothing_else_to_standard_output() {
    let output = command(["link", "keygen", "-"]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(output.stdout.len(), KEY_BYTES);
}

#[test]
fn a_broker_takes_one_key_or_two_for_a_rotation() {
    let directory = Directory::new();
    let [old, new, third] = ["old", "new", "third"].map(|name| directory.join(name));
    for path in [&old, &new, &third] {
        keygen(path).succeeded();
    }
    for keys in [&[&*old][..], &[&old, &new]] {
        let log = is_good(serve(&[], keys));
        assert!(!log.contains("the link is open") && !log.contains("other users"), "{log}");
    }
    serve(&[], &[&old, &new, &third]).failed(2, "at most two key files");
    serve(&[], &[&old, &old]).failed(2, "hold the same key");
}

#[test]
fn a_file_that_is_no_key_is_refused_with_how_to_make_one() {
    let directory = Directory::new();
    let refused = |text: &str, words: &str| {
        let done = serve(&[], &[&directory.file("key", text)]).failed(2, words);
        assert!(done.stderr.contains("netcluster link keygen "), "{done:?}");
    };
    refused("", "exactly 32 bytes, but has 0");
    refused(&"x".repeat(31), "but has 31");
    refused(&"x".repeat(33), "but has more");
    refused(&"\0".repeat(32), "all zeros");
    serve(&[], &[&directory.join("none")]).failed(2, "netcluster link keygen");
    serve(&[], &[directory.path()]).failed(2, "cannot read the key file");
}

#[test]
fn a_key_file_without_permission_is_refused() {
    if !is_unix("files have lists of who may do what; these have tests of their own") {
        return;
    }
    let directory = Directory::new();
    let path = directory.join("key");
    keygen(&path).succeeded();
    give_to_unprivileged(&path);
    set_mode(&path, 0o000);
    let mut serve = command(["serve", "--socket", NO_SOCKET, "--link", "--key-file"]);
    serve.arg(&path);
    let Some(serve) = unprivileged(serve) else { return };
    Process::start(serve).finish().failed(2, "cannot read the key file");
}

#[test]
fn a_key_that_others_can_read_brings_a_warning() {
    if !is_unix("files have lists of who may do what; these have tests of their own") {
        return;
    }
    let directory = Directory::new();
    let path = directory.join("key");
    keygen(&path).succeeded();
    for (mode, warns) in [(0o640, false), (0o644, true), (0o602, true)] {
        set_mode(&path, mode);
        let log = is_good(serve(&[], &[&path]));
        assert_eq!(log.contains("other users can read or change"), warns, "{mode:o}: {log}");
    }
}

#[test]
fn an_open_link_says_so_once_and_a_reserved_address_too() {
    let log = is_good(serve(&[], &[]));
    assert_eq!(log.matches("the link is open").count(), 1, "{log}");
    assert_eq!(log.matches("WARN").count(), 1, "{log}");

    let arguments = ["serve", "--socket", NO_SOCKET, "--link", "224.0.0.0:4454"];
    let log = is_good(Process::start(command(arguments)).finish());
    assert_eq!(log.matches("224.0.0.0/24").count(), 1, "{log}");
    assert_eq!(log.matches("WARN").count(), 2, "{log}");

    let alone = is_good(Process::start(command(["serve", "--socket", NO_SOCKET])).finish());
    assert!(!alone.contains("link"), "{alone}");
}

#[test]
fn the_table_of_the_file_sets_the_link_and_its_mistakes_name_the_line() {
    let directory = Directory::new();
    let with_file = |text: &str| {
        let file = directory.file("c.toml", &format!("socket = '{NO_SOCKET}'\n{text}"));
        let mut command = command(["serve", "--config"]);
        command.arg(file);
        Process::start(command).finish()
    };
    let log = is_good(with_file("[link]\ncluster = 'office'\npeer = ['db1', 'db2:99']\n"));
    assert!(log.contains("the link is open"), "{log}");
    with_file("[link]\ngroups = 65\n").failed(2, "groups must be between 1 and 64");
    with_file("[link]\n\nadress = 'x'\n").failed(2, "c.toml:4:1: unknown field `adress`");
    with_file("[link]\nrate = '5Mbit/s'\n").failed(2, "c.toml:3:8: write bytes a second");
    with_file("max-payload = '65MiB'\n[link]\n").failed(2, "at most 64 MiB");
    with_file("[channels.x]\npressure = 'all'\n").failed(2, "c.toml:3:12: ");
}

fn check(options: &[&str]) -> support::Done {
    Process::start(command([&["link", "check"], options].concat())).finish()
}

/// Returns whether `link check --json` found all well, and its report.
fn checked(options: &[&str]) -> (bool, serde_json::Value) {
    let here = ["--json", "--interface", loopback(), "--socket", NO_SOCKET];
    let done = check(&[&here, options].concat());
    assert!(matches!(done.code(), Some(0 | 1)), "{done:?}");
    let report: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(report["ok"], done.status.success(), "{report:#}");
    (done.status.success(), report)
}

fn level_of(report: &serde_json::Value, about: &str) -> String {
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["about"] == about);
    found.map_or_else(String::new, |finding| finding["level"].as_str().unwrap().to_owned())
}

#[test]
fn a_check_refuses_the_settings_that_serve_refuses() {
    let directory = Directory::new();
    check(&["--link", "10.0.0.1:4454"]).failed(2, "no multicast address");
    check(&["--mtu", "100"]).failed(2, "mtu must be between");
    check(&["--key-file", "/nowhere/key"]).failed(2, "cannot read the key file");
    check(&["--config", "/nowhere/c.toml"]).failed(2, "cannot read the configuration");
    let file = directory.file("c.toml", "[link]\ngroups = 65\n");
    check(&["--config", file.to_str().unwrap()]).failed(2, "groups must be between 1 and 64");
    check(&["--peer", "a b"]).failed(2, "db1:4454");
}

#[test]
fn help_of_the_check_tells_its_exit_code_and_the_links_settings() {
    let help = check(&["--help"]).succeeded().stdout;
    for words in ["--json", "--config", "--link", "--interface", "--peer", "exits with 1"] {
        assert!(help.contains(words), "{words:?} is not in:\n{help}");
    }
}

#[test]
fn an_interface_that_is_not_there_is_a_problem_that_names_those_that_are() {
    let done = check(&["--interface", "nowhere0"]);
    assert_eq!(done.code(), Some(1), "{done:?}");
    assert!(done.stdout.contains("PROBLEM  no network interface has the name"), "{done:?}");
    assert!(done.stdout.contains("there are: "), "{done:?}");
    assert_eq!(done.stderr, "", "what is wrong is the result, not an error");
}

#[test]
fn alone_on_the_loopback_interface_a_check_hears_itself_and_misses_others() {
    let directory = Directory::new();
    let file = directory.file("c.toml", "[link]\naddress = '239.255.44.54:44711'\n");
    let config = file.to_str().unwrap();
    let (is_well, report) = checked(&["--config", config, "--cluster", "check-alone"]);
    assert!(!is_well);
    let group = report["group"].as_str().unwrap();
    assert_eq!(group, "239.255.44.54:44711", "the file is read, too");
    assert_eq!(report["cluster"], "check-alone");
    assert_eq!(report["interface"]["is_loopback"], true);
    assert_eq!(level_of(&report, "loopback"), "ok", "{report:#}");
    assert_eq!(level_of(&report, "nobody"), "problem", "{report:#}");
    assert_eq!(report["peers"].as_array().map(Vec::len), Some(0));
}

/// Starts a broker on the loopback interface, linked at this port.
fn linked(port: u16, name: &str, options: &[&str]) -> support::Broker {
    let group = format!("239.255.44.54:{port}");
    let link = ["--link", &group, "--interface", loopback(), "--node-name", name];
    support::Broker::start_with("auto", &[&link, options].concat())
}

/// Returns whether the loopback interface carries multicast here; prints that it does
/// not.
fn carries_multicast(report: &serde_json::Value) -> bool {
    let carries = level_of(report, "loopback") == "ok";
    if !carries {
        println!("SKIPPED: no multicast on the loopback interface: {report:#}");
    }
    carries
}

#[test]
fn a_check_finds_the_brokers_that_run_and_how_they_are_reached() {
    let directory = Directory::new();
    let key = directory.join("key");
    keygen(&key).succeeded();
    let sealed = ["--cluster", "check-well", "--key-file", key.to_str().unwrap()];
    let brokers = ["alpha", "beta"].map(|name| linked(44_712, name, &sealed));
    let link = ["--link", "239.255.44.54:44712"];
    let (is_well, report) = checked(&[&link[..], &sealed].concat());
    if !carries_multicast(&report) {
        return;
    }
    assert!(is_well, "{report:#}");
    let peers = report["peers"].as_array().unwrap();
    assert_eq!(peers.len(), 2, "{report:#}");
    for (peer, name) in peers.iter().zip(["alpha", "beta"]) {
        assert_eq!(peer["name"], name, "{report:#}");
        for what in ["answers", "hears_multicast", "is_multicast_heard", "is_local"] {
            assert_eq!(peer[what], true, "{what}: {report:#}");
        }
        assert_eq!(peer["takes_large_multicast"], true, "{report:#}");
        assert_eq!(peer["takes_large_unicast"], true, "{report:#}");
        assert!(peer["round_trip_us"].as_u64().is_some(), "{report:#}");
    }
    // It was no peer of theirs: they have each other.
    let status = brokers[0].status();
    assert_eq!(status["link"]["peers"].as_array().map(Vec::len), Some(1), "{status:#}");
    assert_eq!(status["link"]["counters"]["handshakes_expired"], 0, "{status:#}");
}

#[test]
fn emit_tells_how_many_other_brokers_take_an_event() {
    let (_, report) = checked(&["--link", "239.255.44.54:44719"]);
    if !carries_multicast(&report) {
        return;
    }
    // From the second shard the question crosses to the one that has the link.
    for shards in ["1", "2"] {
        let options = ["--cluster", "audience", "--shards", shards];
        let brokers = ["alpha", "beta"].map(|name| linked(44_719, name, &options));
        let tells = |event: &str, expected: &str| {
            support::wait_until(expected, || {
                let done = brokers[0].run(&["emit", event, "x", "--verbose"]).succeeded();
                done.stdout == format!("{event}: {expected}\n")
            });
        };
        let _here = brokers[0].on(&["here"]);
        tells("here", "1 client");
        let there = brokers[1].on(&["there"]);
        tells("there", "0 clients, and the channel goes to 1 other broker");
        tells("here", "1 client, and the channel goes to 1 other broker");
        there.signal(support::Signal::KILL);
        tells("here", "1 client");
    }
}

#[test]
fn a_check_tells_what_differs_when_a_broker_is_set_up_otherwise() {
    let directory = Directory::new();
    let key = directory.join("key");
    keygen(&key).succeeded();
    let _broker = linked(44_713, "alpha", &["--cluster", "check-differs", "--groups", "4"]);
    let check = |options: &[&str]| {
        let link = ["--link", "239.255.44.54:44713"];
        checked(&[&link[..], options].concat())
    };
    let (is_well, settings) = check(&["--cluster", "check-differs"]);
    if !carries_multicast(&settings) {
        return;
    }
    assert!(!is_well);
    assert_eq!(level_of(&settings, "settings"), "problem", "{settings:#}");
    let text = settings["findings"].to_string();
    assert!(text.contains("over 4 groups, here it is 16"), "{settings:#}");

    let (is_well, other) = check(&["--cluster", "check-other", "--groups", "4"]);
    assert!(!is_well);
    assert_eq!(level_of(&other, "cluster"), "note", "{other:#}");
    assert_eq!(level_of(&other, "nobody"), "problem", "{other:#}");

    let keyed = ["--cluster", "check-differs", "--key-file", key.to_str().unwrap()];
    let (is_well, sealed) = check(&keyed);
    assert!(!is_well);
    assert_eq!(level_of(&sealed, "key"), "problem", "{sealed:#}");
    assert!(sealed["findings"].to_string().contains("has no key; here it is"), "{sealed:#}");
}

#[test]
fn a_named_peer_is_reached_by_unicast_at_its_own_port() {
    let options = ["--cluster", "check-named", "--unicast-port", "44724"];
    let _broker = linked(44_714, "alpha", &options);
    let named = ["--cluster", "check-named", "--peer", "127.0.0.1:44724"];
    // At another group: nothing of it is heard by multicast.
    let link = ["--link", "239.255.44.54:44715"];
    let (is_well, report) = checked(&[&link[..], &named].concat());
    assert!(is_well, "{report:#}");
    assert_eq!(report["peers"][0]["name"], "alpha", "{report:#}");
    assert_eq!(level_of(&report, "unicast-only"), "warning", "{report:#}");
    let gone = ["--cluster", "check-named", "--peer", "127.0.0.1:44725"];
    let (is_well, report) = checked(&[&link[..], &gone].concat());
    assert!(!is_well);
    assert_eq!(level_of(&report, "peer"), "problem", "{report:#}");
}

#[test]
fn waiting_for_a_cluster_that_is_none_is_said() {
    let wait = ["on", "--wait-cluster", "5s", "--quiet", "--timeout", "200ms", "**"];
    let broker = support::Broker::start("auto");
    let done = broker.run(&wait).succeeded();
    assert!(done.stderr.contains("the broker has no link, so only events"), "{done:?}");
    let alone = linked(44_716, "alpha", &["--cluster", "wait-nobody"]);
    let done = alone.run(&wait).succeeded();
    assert!(done.stderr.contains("is linked with no other"), "{done:?}");
}
