//! Parts that the tests of runs share: the program and its broker.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use netcluster_loadtest::result::{RoleTotals, RunResult};

/// Program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_netcluster-loadtest");

/// Returns whether the broker's program is there; prints that it is not.
pub fn has_broker() -> bool {
    let there = Path::new(PROGRAM).with_file_name("netcluster").is_file();
    if !there {
        println!("SKIPPED: no `netcluster` beside {PROGRAM}; run `cargo build` first");
    }
    there
}

/// Makes a `run` with these words, not yet started.
pub fn command(line: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("run").args(line.split_whitespace()).stdin(Stdio::null());
    command
}

/// Carries out a `run` with these words, to its end.
pub fn run(line: &str) -> Output {
    command(line).output().expect("the program runs")
}

/// Reads the result that was printed; returns also the exit code.
pub fn result_of(output: &Output) -> (RunResult, Option<i32>) {
    let errors = String::from_utf8_lossy(&output.stderr);
    let result = serde_json::from_slice(&output.stdout);
    (result.unwrap_or_else(|error| panic!("{error}: {errors}")), output.status.code())
}

/// Carries out a `run` and returns its result, which must be clean and complete.
pub fn clean(line: &str) -> RunResult {
    let (result, code) = result_of(&run(&format!("{line} --json")));
    assert_eq!(code, Some(0), "{line}: {:?} {:#?}", result.notes, result.roles);
    assert!(result.complete, "{line}: {:?}", result.notes);
    result
}

/// Sums up the totals of a role over all machines.
pub fn role(result: &RunResult, name: &str) -> RoleTotals {
    let mut of = result.roles.iter().filter(|role| role.name == name);
    let mut sum = of.next().unwrap_or_else(|| panic!("no role {name}")).clone();
    for other in of {
        sum.emitted += other.emitted;
        sum.delivered += other.delivered;
        sum.lost += other.lost;
    }
    sum
}

/// Returns the `/proc` directories of a process's children.
pub fn children_of(child: &Child) -> Vec<PathBuf> {
    let parent = child.id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_child = |process: &PathBuf| {
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1))
            == Some(parent.as_str())
    };
    processes.filter(is_child).collect()
}
