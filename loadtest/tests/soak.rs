//! Endurance runs in short: some disturbances each, and what a run makes of a fault.

#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{PROGRAM, children_of, has_broker};
use netcluster_testkit::{Directory, wait_until};
use serde_json::Value;

fn soak(line: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["run", "soak"]).args(line.split_whitespace()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn outcome(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

/// Has these disturbances come once each; nothing may be wrong.
fn passes(disturbances: &str) -> Value {
    let line = format!("--duration 5s --seed 7 --json --disturb {disturbances}");
    let output = soak(&line).output().expect("the program runs");
    let result = outcome(&output);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(result["emitted"].as_u64() > Some(0) && result["delivered"].as_u64() > Some(0));
    assert_eq!(result["silently_missing"], 0);
    if let Some(skipped) = result["skipped"].as_object().filter(|skipped| !skipped.is_empty()) {
        println!("SKIPPED: {skipped:?}");
    }
    let rounds = result["rounds"].as_array().expect("a list").len();
    let skipped = result["skipped"].as_object().expect("a table").len();
    assert!(rounds >= disturbances.split(',').count() - skipped, "{errors}");
    result
}

#[test]
fn what_becomes_of_brokers_costs_nothing_that_is_not_told() {
    if has_broker() {
        passes("kill-broker,restart-broker,takeover,stop-broker,full-directory");
    }
}

#[test]
fn what_clients_do_costs_others_nothing() {
    if has_broker() {
        let result = passes("churn,kill-clients,stop-reader,kick,reload,full-recording");
        let processes = result["trends"].as_array().expect("a list").iter();
        let processes: Vec<&str> = processes.filter_map(|of| of["process"].as_str()).collect();
        assert!(processes.contains(&"broker of m2") && processes.contains(&"recorder"));
    }
}

#[test]
fn what_the_network_does_is_told_or_mended() {
    if has_broker() && netcluster_testkit::netns::missing().is_none() {
        passes("blink,partition,packet-loss");
    } else {
        println!("SKIPPED: no broker beside the program, or no network namespaces");
    }
}

/// A recorder that dies is a fault: the run fails, says in which round and how it is run
/// again, and keeps the logs of the brokers.
#[test]
fn a_fault_fails_the_run_and_keeps_the_logs() {
    if !has_broker() {
        return;
    }
    let out = Directory::new();
    let line = format!("--duration 5s --seed 7 --disturb churn --out {}", out.path().display());
    let child = soak(&line).spawn().expect("the program starts");
    let recorder = || {
        children_of(&child).into_iter().find(|process| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            line.split(|&byte| byte == 0).any(|word| word == b"record")
        })
    };
    wait_until("there is a recorder", || recorder().is_some());
    let process = recorder().expect("it was there");
    let pid = process.file_name().and_then(|name| name.to_str()).expect("a number");
    let killed = Command::new("kill").args(["-KILL", pid]).status().expect("there is kill");
    assert!(killed.success());
    let output = child.wait_with_output().expect("it ends");
    let page = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{page}");
    assert!(page.contains("FAULT: round 1 (churn"), "{page}");
    assert!(page.contains("again: run soak --seed 7"), "{page}");
    assert!(logs_in(&out.path().join("logs")) >= 2);
    let result: Value =
        serde_json::from_str(&fs::read_to_string(out.path().join("soak.json")).unwrap()).unwrap();
    assert_eq!(result["passed"], false);
}

fn logs_in(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

#[test]
fn arguments_that_do_not_fit_say_what_does() {
    for (line, words) in [
        ("run soak --seconds 5", "--duration"),
        ("run soak --netns 2", "--duration"),
        ("run soak --duration 2", "90s, 15m or 2h"),
        ("run soak --duration 5s --disturb rain", "kill-broker"),
        ("run soak --emit-rate 0", "--emit-rate"),
        ("run telemetry --duration 5s", "--seconds"),
        ("run telemetry --seed 5", "run soak"),
    ] {
        let mut command = Command::new(PROGRAM);
        let output = command.args(line.split_whitespace()).output().expect("the program runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
        assert!(errors.contains(words), "{line}: {errors}");
    }
}
