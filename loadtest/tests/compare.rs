//! Comparison as it is run: each peer that is installed, shortly; every event comes or is
//! told to be lost.

#![cfg(all(unix, feature = "compare"))]

use std::process::{Command, Output};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_netcluster-loadtest");

fn compare(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("compare").args(arguments).output().expect("the program runs")
}

/// Returns whether the broker can have a core of its own.
fn two_cores() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
}

/// Runs one peer beside the relay under some loads; prints why a peer is skipped.
fn run_shortly(peer: &str) {
    let peers = format!("relay,{peer}");
    let mut loads = vec!["1-1-16", "1-1-64k", "1-3-1k", "2-2-64", "trip-64", "many-50"];
    if two_cores() {
        loads.push("trip2-64");
    }
    let output = compare(&[
        "--json",
        "--broker=/nonexistent",
        "--repeats=1",
        "--seconds=0.2",
        "--peers",
        &peers,
        "--loads",
        &loads.join(","),
    ]);
    let errors = String::from_utf8_lossy(&output.stderr);
    let result: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{peer}: {error} {errors}"));
    let infos = result["peers"].as_array().unwrap();
    let names: Vec<&str> = infos.iter().map(|info| info["name"].as_str().unwrap()).collect();
    assert_eq!(&names[..3], ["netcluster (shm)", "netcluster (sockets)", "relay"]);
    for info in &infos[..2] {
        assert!(info["skipped"].as_str().unwrap().contains("there is no broker"), "{info}");
    }
    let info = infos.iter().find(|info| info["name"] == peer).expect("it was asked for");
    if let Some(reason) = info["skipped"].as_str() {
        println!("SKIPPED: {peer}: {reason}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{peer}: {errors} {result:#}");
    assert_eq!(result["complete"], true, "{result:#}");
    assert_eq!(result["kind"], "compare");
    assert!(!info["version"].as_str().unwrap().is_empty());
    let cells = result["cells"].as_array().unwrap();
    let own: Vec<&Value> = cells.iter().filter(|cell| cell["peer"] == peer).collect();
    let metrics = |load: &str| -> Vec<&str> {
        let cells = own.iter().filter(|cell| cell["load"] == load);
        cells.map(|cell| cell["metric"].as_str().unwrap()).collect()
    };
    let brokerless = peer.starts_with("iceoryx2");
    let cost: &[&str] = if brokerless {
        &["delivered_events", "total_cpu_per_million"]
    } else {
        &["delivered_events", "broker_cpu_per_million", "total_cpu_per_million"]
    };
    for load in ["1→1 16 B", "1→1 64 KB", "1→3 1 KB", "2→2 64 B"] {
        assert_eq!(metrics(load), cost, "{load}");
    }
    for pin in ["all on one core", "broker on a core of its own"] {
        let load = format!("round trip 64 B, {pin}");
        if pin.starts_with("all") || two_cores() {
            assert_eq!(metrics(&load), ["round_trip_p50", "round_trip_p99"], "{load}");
        }
    }
    // A relay knows no events, and without a broker there are no connections.
    let suited = peer != "relay" && !brokerless;
    let many: &[&str] = if suited { &["delivered_events", "broker_rss"] } else { &[] };
    assert_eq!(metrics("50 connections"), many);
    for cell in own {
        // Each loss is counted; here, queues are long enough for there to be none.
        assert_eq!(cell["lost"], 0, "{cell:#} {:#}", result["notes"]);
        assert!(cell["median"].as_f64().unwrap() > 0.0, "{cell:#}");
        assert_eq!(cell["runs"], 1);
    }
    assert!(result["notes"].as_array().unwrap().is_empty(), "{:#}", result["notes"]);
}

#[test]
fn the_relay_delivers_every_event() {
    run_shortly("relay");
}

#[test]
fn nats_delivers_every_event() {
    run_shortly("nats");
}

#[test]
fn redis_delivers_every_event() {
    run_shortly("redis");
}

#[test]
fn mosquitto_delivers_every_event() {
    run_shortly("mosquitto");
}

#[test]
fn zeromq_delivers_every_event() {
    run_shortly("zeromq");
}

#[test]
fn zenoh_delivers_every_event() {
    run_shortly("zenoh");
}

#[test]
fn iceoryx2_delivers_every_event() {
    run_shortly("iceoryx2");
}

#[test]
fn iceoryx2_delivers_every_event_to_those_who_poll() {
    run_shortly("iceoryx2-polling");
}

#[test]
fn the_table_has_a_row_for_each_peer_and_says_who_was_skipped() {
    let output = compare(&[
        "--broker=/nonexistent",
        "--peers=relay",
        "--loads=1-1-16,trip-64,many-20",
        "--repeats=2",
        "--seconds=0.1",
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(
            "| | 1→1 16 B | round trip 64 B, all on one core | 20 connections |\n|---|---|---|---|\n| relay "
        ),
        "{text}"
    );
    // Nothing for it, and no failure.
    assert_eq!(output.status.code(), Some(0), "{text}");
    let row = text.lines().find(|line| line.starts_with("| relay ")).unwrap();
    assert!(row.ends_with(" | – |"), "{text}");
    assert!(text.contains("- netcluster (shm) skipped: there is no broker"), "{text}");
}

#[test]
fn wrong_arguments_are_named() {
    for (arguments, words) in [
        (&["--peers=nobody"][..], "nobody"),
        (&["--loads=2-3-16"], "several emitters need as many listeners"),
        (&["--loads=1-1-16,1-1-16"], "twice"),
        (&["--seconds=0"], "--seconds"),
        (&["--peers=netcluster", "--broker=/nonexistent"], "there is nobody to measure"),
    ] {
        let output = compare(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(words), "{arguments:?}: {errors}");
    }
}
