//! `netcluster cluster`: one table of all machines, and the alarm for one that is missing.

#![cfg(target_os = "linux")]

#[path = "support/hosts.rs"]
mod hosts;
mod support;

use hosts::{Broker, GROUP_V4, Site, any_backend};
use serde_json::Value;
use support::{Signal, wait_until};

const LINK: [&str; 4] = ["--link", GROUP_V4, "--interface", "eth0"];

/// Returns whether nobody is missing, and the machines as JSON.
fn cluster(broker: &Broker<'_>) -> (bool, Value) {
    let done = broker.start(0, &["cluster", "--json"]).finish();
    assert!(matches!(done.code(), Some(0 | 1)), "{done:?}");
    (done.status.success(), serde_json::from_str(&done.stdout).expect("JSON"))
}

fn machine<'a>(cluster: &'a Value, name: &str) -> &'a Value {
    let mut machines = cluster["machines"].as_array().expect("a list").iter();
    machines.find(|it| it["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn one_table_shows_all_machines_with_what_they_told() {
    let Some(site) = Site::new(3) else { return };
    let key = site.key();
    for options in [vec![], vec!["--key-file", &key]] {
        let brokers = site.brokers(any_backend(), &[&LINK[..], &options].concat());
        let _clients = [brokers[2].client(), brokers[2].client()];
        let listener = brokers[2].listener();
        let emitter = brokers[1].client();
        hosts::count(&emitter, 0..1000);
        listener.take_counts(1, 1000);
        wait_until("host0 knows the others' state", || {
            let (is_well, cluster) = cluster(&brokers[0]);
            assert!(is_well, "nobody is expected");
            let told = machine(&cluster, "host2");
            told["clients"] == 3 && told["state"] == "linked"
        });
        // Who sends data knows the time that it takes.
        let trip = |json: &Value| machine(json, "host2")["round_trip_us"].is_u64();
        wait_until("host1 knows the way to host2", || trip(&cluster(&brokers[1]).1));
        let (_, json) = cluster(&brokers[0]);
        assert_eq!(machine(&json, "host0")["state"], "here");
        assert_eq!(machine(&json, "host1")["version"], env!("CARGO_PKG_VERSION"));
        assert!(machine(&json, "host1")["age_ms"].as_u64().unwrap() < 10_000);
        assert_eq!((&json["schema"], json["missing"].as_array().unwrap().len()), (&1.into(), 0));
        let page = brokers[1].start(1, &["cluster"]).finish().succeeded().stdout;
        let names: Vec<_> =
            page.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(names, ["host1", "host0", "host2"], "{page}");
    }
}

#[test]
fn a_broker_that_is_expected_and_missing_is_an_alarm_until_it_comes() {
    let Some(site) = Site::new(3) else { return };
    let all = ["--expect-peer", "host0", "--expect-peer", "host1", "--expect-peer", "host2"];
    let options = [&LINK[..], &all].concat();
    let metrics = [&options[..], &["--metrics", "127.0.0.1:9464"]].concat();
    let first = site.broker(0, any_backend(), &metrics);
    let second = site.broker(1, any_backend(), &options);
    wait_until("two are linked", || first.peers().len() == 1);
    let done = first.start(0, &["cluster"]).finish();
    let done = done.failed(1, "expected, and missing: host2");
    let row = done.stdout.lines().find(|line| line.starts_with("host2")).expect("a row");
    assert!(row.contains("MISSING"), "{row}");
    let (_, json) = cluster(&first);
    assert_eq!(json["missing"], serde_json::json!(["host2"]));
    first.process.wait_for_notice("host2 is expected (--expect-peer) and not linked");
    let page = first.start(0, &["peers"]).finish().succeeded().stdout;
    assert!(page.contains("! expected (--expect-peer) and not linked: host2"), "{page}");
    let scrape = || hosts::run(site.host(0), "curl", "-s http://127.0.0.1:9464/metrics");
    let text = scrape();
    for line in [
        "netcluster_expected_peer_missing{peer=\"host1\"} 0",
        "netcluster_expected_peer_missing{peer=\"host2\"} 1",
        "netcluster_peers_missing 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let third = site.broker(2, any_backend(), &options);
    wait_until("nobody is missing", || cluster(&first).0 && cluster(&second).0);
    first.process.wait_for_notice("host2, which was expected, is linked");
    assert!(scrape().contains("netcluster_peers_missing 0"));
    third.process.signal(Signal::KILL);
    wait_until("it is missing again", || !cluster(&first).0);
    let page = first.start(0, &["status", "--json"]).finish().succeeded().stdout;
    let status: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(status["link"]["missing_peers"], serde_json::json!(["host2"]));
}

#[test]
fn who_is_expected_changes_while_the_broker_runs() {
    let Some(site) = Site::new(1) else { return };
    let write = |names: &str| {
        let text = format!("[link]\naddress = \"{GROUP_V4}\"\ninterface = \"eth0\"\n{names}\n");
        site.file("expect.toml", &text)
    };
    let path = write("");
    let broker = site.broker(0, any_backend(), &["--config", path.to_str().unwrap()]);
    assert!(cluster(&broker).0);
    write("expect-peer = [\"host1\"]");
    let done = broker.start(0, &["reload"]).finish().succeeded();
    assert_eq!(done.stdout, "changed: link.expect-peer\n");
    let (is_well, json) = cluster(&broker);
    assert_eq!((is_well, &json["missing"]), (false, &serde_json::json!(["host1"])));
    write("");
    broker.start(0, &["reload"]).finish().succeeded();
    assert!(cluster(&broker).0);
}
