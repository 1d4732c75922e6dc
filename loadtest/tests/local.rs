//! Program as it is run: short runs over the relay, and over the broker where its program
//! lies beside this one; an interrupt; wrong flags.

#![cfg(unix)]

mod common;

use std::fs;
use std::process::{Command, Output, Stdio};

use common::{PROGRAM, children_of, has_broker};
use netcluster_testkit::{wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn local(line: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("local").args(line.split_whitespace());
    command.output().expect("the program runs")
}

fn json(line: &str) -> Value {
    let output = local(&format!("{line} --json"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {} {errors}", output.status);
    serde_json::from_slice(&output.stdout).expect("the output is JSON")
}

fn assert_clean(value: &Value, received: u64) {
    for key in ["lost", "duplicated", "corrupt"] {
        assert_eq!(value[key], 0, "{key} in {value:#}");
    }
    assert_eq!(value["received"], received, "{value:#}");
    assert!(value["events_per_s"].as_f64().unwrap() > 0.0, "{value:#}");
}

#[test]
fn every_event_comes_once_over_the_baselines() {
    for (line, received) in [
        ("--size 16 --count 20000", 20_000),
        ("--size 70000 --count 300", 300),
        ("--listeners 3 --size 1000 --count 5000", 15_000),
        ("--emitters 2 --listeners 2 --events 2 --count 5000 --verify full", 10_000),
    ] {
        for baseline in ["relay", "bare"] {
            assert_clean(&json(&format!("--only {baseline} {line}")), received);
        }
    }
}

#[test]
fn a_broken_event_is_found_and_told_by_the_exit_code() {
    // A broken payload has no sequence to go by, so its event counts as lost too.
    for (line, lost, duplicated, corrupt) in [
        ("relay --inject lose", 1, 0, 0),
        ("relay --inject repeat", 0, 1, 0),
        ("relay --inject corrupt", 1, 0, 1),
        ("bare --inject lose", 1, 0, 0),
    ] {
        let output = local(&format!("--count 1000 --json --only {line}"));
        assert_eq!(output.status.code(), Some(1), "{line}");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = ["lost", "duplicated", "corrupt"].map(|key| value[key].as_u64().unwrap());
        assert_eq!(found, [lost, duplicated, corrupt], "{line}");
    }
}

#[test]
fn a_round_trip_over_the_relay_has_latencies() {
    let value = json("--only relay --round-trip --count 200");
    // An event there and its answer.
    assert_clean(&value, 400);
    assert!(value["latency_us"]["p99"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_rate_is_kept_on_average() {
    for baseline in ["relay", "bare"] {
        let value = json(&format!("--only {baseline} --rate 1000 --count 200"));
        assert_clean(&value, 200);
        // Never faster than asked; how much slower depends on the machine.
        assert!(value["events_per_s"].as_f64().unwrap() < 1100.0, "{value:#}");
        assert!(value["latency_us"]["p50"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn every_event_comes_once_over_the_broker() {
    if !has_broker() {
        return;
    }
    for (line, received) in [
        ("--size 16 --count 20000", 20_000),
        ("--emitters 2 --listeners 2 --events 2 --count 5000", 10_000),
        ("--emitters 2 --listeners 2 --events 1 --count 5000", 20_000),
        ("--round-trip --count 200", 400),
        ("--round-trip --pin one --count 200", 400),
        ("--connections 20 --count 20000", 20_000),
        ("--patterns 1000 --count 5000", 5_000),
    ] {
        assert_clean(&json(line), received);
    }
}

#[test]
fn every_event_comes_once_whatever_is_shared() {
    if !has_broker() {
        return;
    }
    for (line, received) in [
        ("--size 16 --count 200000", 200_000),
        ("--listeners 3 --size 1000 --count 5000", 15_000),
        ("--round-trip --count 2000 --spin-us 20", 4_000),
        ("--connections 20 --count 20000", 20_000),
        ("--count 20000 --slow-reader --stuck", 20_000),
    ] {
        for choice in ["auto", "off"] {
            let value = json(&format!("{line} --shared-memory {choice}"));
            assert_clean(&value, received);
            if choice == "off" {
                assert_eq!(value["shared_clients"], 0, "{line}: {value:#}");
            }
        }
    }
    // Those beside are checked, and not counted.
    let value = json("--count 20000 --shared-memory off --beside auto");
    assert_clean(&value, 20_000);
}

#[test]
fn memory_is_shared_unless_it_is_off() {
    if !has_broker() {
        return;
    }
    let value = json("--seconds 0.2 --size 1000 --baseline sockets --repeats 1");
    assert_eq!(value["baseline"]["is"], "sockets");
    assert_eq!(value["baseline"]["shared_clients"], 0, "{value:#}");
    for ratio in ["events_per_s", "total_cpu"] {
        assert_eq!(value["ratio"][ratio]["runs"], 1, "{ratio}");
    }
    if value["shared_clients"] == 0 {
        println!("SKIPPED: clients that share memory: the broker offers none here");
        return;
    }
    // Emitter and listener; the third asks the broker about itself.
    assert_eq!(value["shared_clients"], 2, "{value:#}");
    assert!(value["broker_shared_drained_bytes"].as_u64().unwrap() > 0, "{value:#}");
    // Each of many, and who emits to them.
    let value = json("--connections 20 --seconds 0.2 --shared-memory auto");
    assert_eq!(value["shared_clients"], 21, "{value:#}");
}

#[test]
fn pairs_have_a_ratio() {
    if !has_broker() {
        return;
    }
    for (flag, baseline) in
        [("--baseline", "relay"), ("--baseline bare", "bare"), ("--baseline sockets", "sockets")]
    {
        let value = json(&format!("--count 5000 {flag} --repeats 2"));
        assert_clean(&value, 10_000);
        assert_eq!(value["baseline"]["is"], baseline);
        assert_eq!(value["baseline"]["received"], 10_000);
        for ratio in ["events_per_s", "total_cpu"] {
            assert_eq!(value["ratio"][ratio]["runs"], 2, "{ratio}");
        }
    }
}

#[test]
fn an_interrupt_ends_all_processes_and_leaves_no_files() {
    let scratch = std::env::temp_dir().join(format!("nc-lt-test-{}", std::process::id()));
    fs::create_dir_all(&scratch).unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["local", "--only", "relay", "--seconds", "300"])
        .env("TMPDIR", &scratch)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let children = wait_for("there are relay, listener and emitter", || {
        Some(children_of(&child)).filter(|found| found.len() == 3)
    });
    let pid = Pid::from_raw(child.id() as i32).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = wait_for("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    wait_until("its children end", || children.iter().all(|child| !child.exists()));
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    fs::remove_dir(&scratch).unwrap();
}

#[test]
fn errors_say_what_to_do() {
    for (line, words) in [
        ("--size 8", "--size must be from 16"),
        ("--broker /nonexistent/netcluster", "cargo build --release"),
        ("--broker /bin/false --count 5", "the broker did not start"),
        ("--emitters 2 --baseline", "fed by one emitter each"),
        ("--round-trip --baseline bare", "--baseline relay"),
        ("--sice 16", "--size"),
    ] {
        let output = local(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
        assert!(errors.contains(words), "{line}: {errors}");
    }
}
