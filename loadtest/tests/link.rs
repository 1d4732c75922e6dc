//! Measurements of the link as they are run, over a network of namespaces where there can
//! be one.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::{Command, Output};

use netcluster_testkit::netns;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_netcluster-loadtest");

fn link(line: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("link").args(line.split_whitespace());
    command.output().expect("the program runs")
}

/// Runs one row and returns it; `None` where there can be no network.
fn row(line: &str) -> Option<Value> {
    if let Some(why) = netns::missing() {
        println!("SKIPPED: {why}");
        return None;
    }
    let output = link(&format!("{line} --seconds 0.2 --repeats 1 --json"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {} {errors}", output.status);
    let rows: Value = serde_json::from_slice(&output.stdout).expect("the output is JSON");
    Some(rows[0].clone())
}

fn assert_clean(row: &Value) {
    for key in ["lost", "duplicated", "corrupt"] {
        assert_eq!(row["counts"][key], 0, "{key} in {row:#}");
    }
    assert!(row["counts"]["received"].as_u64().unwrap() > 0, "{row:#}");
}

#[test]
fn every_event_crosses_the_link_once() {
    for line in ["", "--cut --size 64 --key", "--senders 2 --receivers 1", "--rate 1000 --loss 2"] {
        for backend in ["--backend auto", "--backend poll"] {
            let Some(row) = row(&format!("{line} {backend}")) else { return };
            assert_clean(&row);
        }
    }
}

#[test]
fn the_link_stands_beside_plain_packets() {
    let Some(row) = row("--cut --baseline") else { return };
    assert_clean(&row);
    assert_eq!(row["beside"], "raw");
    assert_eq!(row["numbers"][0]["ratio"]["runs"], 1);
}

#[test]
fn every_event_comes_from_client_to_client() {
    if !Path::new(PROGRAM).with_file_name("netcluster").is_file() {
        println!("SKIPPED: no `netcluster` beside {PROGRAM}; run `cargo build` first");
        return;
    }
    let Some(row) = row("--level brokers --receivers 2") else { return };
    assert_clean(&row);
}

#[test]
fn errors_say_what_to_do() {
    for (line, words) in [
        ("--size 8", "--size must be from 24"),
        ("--receivers 0", "--receivers must be at least 1"),
        ("--senders 2 --baseline", "one of --senders"),
        ("--table --row nothing", "no row's name holds nothing"),
        ("--loss 90", "--loss must be from 0"),
    ] {
        let output = link(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
        assert!(errors.contains(words), "{line}: {errors}");
    }
}
