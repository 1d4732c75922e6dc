//! Shared memory without a broker, whose processes are killed: nothing of the run stays
//! behind in `/dev/shm`, or what stays is removed by the next one.

#![cfg(all(target_os = "linux", feature = "compare"))]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use common::{PROGRAM, children_of};
use netcluster_testkit::{wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Returns a comparison of one load that lasts so many seconds, not yet started; `None` if
/// the program of iceoryx2 is missing, which is printed.
fn comparison(seconds: &str) -> Option<Command> {
    let program = "netcluster-peer-iceoryx2";
    let beside = PathBuf::from(PROGRAM).with_file_name(program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = std::env::split_paths(&path).map(|directory| directory.join(program));
    if !beside.is_file() && !all.any(|path| path.is_file()) {
        println!("SKIPPED: no {program} beside {PROGRAM} or in PATH");
        return None;
    }
    let mut command = Command::new(PROGRAM);
    command
        .args(["compare", "--json", "--broker=/nonexistent", "--peers=iceoryx2"])
        .args(["--loads=1-1-16", "--repeats=1", "--seconds", seconds])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    Some(command)
}

/// Returns the names that a comparison has in `/dev/shm`.
fn names_of(process: u32) -> Vec<PathBuf> {
    let start = format!("nclt-{process}-");
    let entries = fs::read_dir("/dev/shm").unwrap().flatten();
    let is_own = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&start);
    entries.filter(is_own).map(|entry| entry.path()).collect()
}

/// Starts a long comparison; returns it and its listener and emitter, once they share
/// memory.
fn start() -> Option<(Child, [i32; 2])> {
    let child = comparison("300")?.spawn().unwrap();
    let processes = wait_for("listener and emitter share memory", || {
        let data = names_of(child.id());
        let shares = data.iter().any(|path| path.extension().is_some_and(|it| it == "data"));
        let id = |path: &PathBuf| path.file_name()?.to_str()?.parse().ok();
        let mut found: Vec<i32> = children_of(&child).iter().filter_map(id).collect();
        // The listener is started first.
        found.sort_unstable();
        found.try_into().ok().filter(|_| shares)
    });
    Some((child, processes))
}

fn kill(process: i32) {
    kill_process(Pid::from_raw(process).expect("it is not 0"), Signal::KILL).unwrap();
}

/// Returns whether a process has ended, even if nobody has asked how.
fn has_ended(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

fn end_of(child: Child) -> (Output, Value) {
    let output = child.wait_with_output().unwrap();
    let result = serde_json::from_slice(&output.stdout).unwrap();
    (output, result)
}

#[test]
fn a_killed_process_ends_the_run_which_leaves_nothing_behind() {
    for (victim, name) in ["listener 0", "emitter 0"].into_iter().enumerate() {
        let Some((child, processes)) = start() else { return };
        let own = child.id();
        kill(processes[victim]);
        let (output, result) = end_of(child);
        assert_eq!(output.status.code(), Some(1), "{result:#}");
        assert_eq!(result["complete"], false);
        let notes = result["notes"].to_string();
        assert!(notes.contains(name) && notes.contains("ended"), "{notes}");
        assert!(names_of(own).is_empty(), "{:?}", names_of(own));
        wait_until("its processes end", || processes.into_iter().all(has_ended));
    }
}

#[test]
fn what_a_killed_comparison_leaves_is_removed_by_the_next_one() {
    let Some((mut child, processes)) = start() else { return };
    kill(child.id() as i32);
    child.wait().unwrap();
    wait_until("its processes end", || processes.into_iter().all(has_ended));
    // What is there now, unless another comparison on this machine began meanwhile.
    let next = comparison("0.1").expect("it was there").spawn().unwrap();
    let (process, (output, result)) = (next.id(), end_of(next));
    assert_eq!(output.status.code(), Some(0), "{result:#}");
    assert!(names_of(child.id()).is_empty(), "{:?}", names_of(child.id()));
    assert!(names_of(process).is_empty(), "{:?}", names_of(process));
}
