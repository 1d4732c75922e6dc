//! Agents over TCP: tokens, versions, one run at a time, death in mid-run, and
//! several of them in namespaces.

#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{PROGRAM, clean, command, has_broker, result_of, role, run};
use netcluster_testkit::Directory;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Number of silent connections at a time: more than an agent greets at once (64), and
/// than its backlog holds.
const FLOOD: usize = 200;

/// Process of an agent, which ends with its input.
struct Agent {
    child: Child,
    address: String,
}

impl Agent {
    fn start(line: &str) -> Agent {
        let mut child = Command::new(PROGRAM)
            .args(["agent", "--until-eof", "--listen", "127.0.0.1:0"])
            .args(line.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.trim().rsplit(' ').next().unwrap().to_owned();
        Agent { child, address }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn refused(line: &str, words: &str) {
    let output = run(line);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
    assert!(errors.contains(words), "{line}: {errors}");
}

#[test]
fn an_agent_with_the_same_token_runs_one_scenario_after_another() {
    if !has_broker() {
        return;
    }
    let directory = Directory::new();
    let token = directory.file("token", TOKEN).display().to_string();
    let other = directory.file("other", "fedcba9876543210").display().to_string();
    let agent = Agent::start(&format!("--token-file {token}"));
    let line = format!("telemetry --seconds 0.3 --agent {}", agent.address);
    refused(&line, "needs a token");
    refused(&format!("{line} --token-file {other}"), "another token");
    for _ in 0..2 {
        let result = clean(&format!("{line} --token-file {token}"));
        assert!(role(&result, "collector").delivered > 0);
        assert_eq!(result.machines[0].address, agent.address);
    }
}

#[test]
fn what_others_can_reach_needs_a_token() {
    let output = Command::new(PROGRAM).args(["agent", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--token-file"));
}

#[test]
fn an_agent_of_another_version_is_told_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let agent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let nonce = vec![1; 32];
        let hello = serde_json::json!({
            "program": "netcluster-loadtest", "version": "0.0.1", "nonce": nonce,
        });
        writeln!(stream, "{hello}").unwrap();
        let _ = stream.read(&mut [0; 1]);
    });
    refused(&format!("telemetry --agent {address}"), "is version 0.0.1");
    agent.join().unwrap();
}

#[test]
fn who_is_no_coordinator_is_sent_away_and_does_no_harm() {
    if !has_broker() {
        return;
    }
    let agent = Agent::start("");
    for nonsense in ["GET / HTTP/1.1\r\n\r\n", "{}\n", "{\"program\":\"x\"}\n"] {
        let mut stream = std::net::TcpStream::connect(&agent.address).unwrap();
        stream.write_all(nonsense.as_bytes()).unwrap();
        let mut said = Vec::new();
        // It may be closed with what was written unread.
        let _ = stream.read_to_end(&mut said);
        assert!(!String::from_utf8_lossy(&said).contains("welcome"));
    }
    clean(&format!("telemetry --seconds 0.2 --agent {}", agent.address));
}

/// Eight silent connections were enough to keep everybody else out.
#[test]
fn the_silent_lock_nobody_out() {
    if !has_broker() {
        return;
    }
    let directory = Directory::new();
    let token = directory.file("token", TOKEN).display().to_string();
    let agent = Agent::start(&format!("--token-file {token}"));
    let is_over = AtomicBool::new(false);
    let came = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut silent = std::collections::VecDeque::new();
            while !is_over.load(Ordering::Relaxed) {
                silent.push_back(std::net::TcpStream::connect(&agent.address).unwrap());
                came.fetch_add(1, Ordering::Relaxed);
                if silent.len() > FLOOD {
                    silent.pop_front();
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        while came.load(Ordering::Relaxed) < FLOOD && !flood.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let line =
            format!("telemetry --seconds 0.2 --agent {} --token-file {token}", agent.address);
        let result = clean(&line);
        is_over.store(true, Ordering::Relaxed);
        assert!(role(&result, "collector").delivered > 0);
        flood.join().unwrap();
    });
}

#[test]
fn an_agent_has_one_run_at_a_time_and_its_death_leaves_a_partial_result() {
    if !has_broker() {
        return;
    }
    let mut agent = Agent::start("");
    let start = || {
        let mut long = command(&format!("telemetry --seconds 60 --json --agent {}", agent.address));
        long.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut long = start();
    // Busy from the greeting on.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        // The short one came first, and this one was sent away.
        if long.try_wait().unwrap().is_some() {
            long = start();
        }
        let output = run(&format!("telemetry --seconds 0.1 --agent {}", agent.address));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if errors.contains("busy with another run") {
            assert_eq!(output.status.code(), Some(2));
            break;
        }
        assert!(Instant::now() < deadline, "never busy: {errors}");
    }
    std::thread::sleep(Duration::from_secs(4));
    agent.child.kill().unwrap();
    let output = long.wait_with_output().unwrap();
    if output.stdout.is_empty() {
        println!("SKIPPED: this machine is too slow to begin within seconds");
        return;
    }
    let (result, code) = result_of(&output);
    assert_eq!(code, Some(1));
    assert!(!result.complete && !result.machines[0].complete);
    assert!(result.notes.iter().any(|note| note.contains("died in the run")), "{:?}", result.notes);
    assert!(role(&result, "sensors").emitted > 0, "what was told until then counts");
}

/// Finds the process of a run that was started last: an emitter's.
#[cfg(target_os = "linux")]
fn last_role(parent: u32) -> Option<i32> {
    let mut found: Vec<(u64, i32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state, parent, and so on.
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let is_child = fields.get(1) == Some(&parent.to_string().as_str());
        if is_child && command.ends_with(b"\0role\0") {
            found.push((fields[19].parse().unwrap(), pid));
        }
    }
    found.into_iter().max().map(|(_, pid)| pid)
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_is_killed_leaves_what_all_others_counted() {
    if !has_broker() {
        return;
    }
    let mut line = command("telemetry --seconds 60 --json");
    let mut run = line.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let Some(pid) = last_role(run.id()).and_then(rustix::process::Pid::from_raw) else {
        run.kill().unwrap();
        run.wait().unwrap();
        println!("SKIPPED: this machine is too slow to begin within seconds");
        return;
    };
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let output = run.wait_with_output().unwrap();
    if output.stdout.is_empty() {
        println!("SKIPPED: this machine is too slow to begin within seconds");
        return;
    }
    let (result, code) = result_of(&output);
    assert_eq!(code, Some(1));
    assert!(!result.complete && result.seconds < 60.0);
    assert!(result.notes.iter().any(|note| note.contains("died in the run")), "{:?}", result.notes);
    assert!(role(&result, "collector").delivered > 0, "its listeners are still asked");
    assert!(role(&result, "sensors").emitted > 0, "its last tick counts");
}

#[cfg(target_os = "linux")]
#[test]
fn three_machines_hear_each_other_in_spite_of_losses_and_a_cut() {
    if !has_broker() {
        return;
    }
    if let Some(why) = netcluster_testkit::netns::missing() {
        println!("SKIPPED: {why}");
        return;
    }
    let result = clean("cluster-3 --netns 3 --seconds 1 --loss 1 --partition m2:0.4:0.2");
    assert_eq!(result.machines.len(), 3);
    let emitted = role(&result, "producers").emitted;
    // Two clients on each of three machines hear everything.
    assert_eq!(role(&result, "consumers").delivered, 6 * emitted);
    assert!(result.latencies.iter().any(|of| of.role.ends_with("from other machines")));
    assert!(result.notes.iter().any(|note| note.contains("cut off")), "{:?}", result.notes);
    let repaired = result.counters.values().filter_map(|of| of.get("link_repaired")).sum::<u64>();
    assert!(repaired > 0, "{:?}", result.counters);
}
