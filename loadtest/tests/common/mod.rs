//! What the tests of runs share: the program, its broker, directories that go.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use netcluster_loadtest::result::{RoleTotals, RunResult};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_netcluster-loadtest");

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory that is gone with the test.
pub struct Directory(pub PathBuf);

impl Directory {
    /// A new one.
    pub fn new() -> Directory {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nc-loadtest-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    /// A file in it.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether the broker's program is there; says so if not.
pub fn has_broker() -> bool {
    let there = Path::new(PROGRAM).with_file_name("netcluster").is_file();
    if !there {
        println!("SKIPPED: no `netcluster` beside {PROGRAM}; run `cargo build` first");
    }
    there
}

/// `run` with these words, not yet started.
pub fn command(line: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("run").args(line.split_whitespace()).stdin(Stdio::null());
    command
}

/// `run` with these words, to its end.
pub fn run(line: &str) -> Output {
    command(line).output().expect("the program runs")
}

/// The result that was printed, and the exit code.
pub fn result_of(output: &Output) -> (RunResult, Option<i32>) {
    let errors = String::from_utf8_lossy(&output.stderr);
    let result = serde_json::from_slice(&output.stdout);
    (result.unwrap_or_else(|error| panic!("{error}: {errors}")), output.status.code())
}

/// Runs it and returns its result, which must be clean and complete.
pub fn clean(line: &str) -> RunResult {
    let (result, code) = result_of(&run(&format!("{line} --json")));
    assert_eq!(code, Some(0), "{line}: {:?} {:#?}", result.notes, result.roles);
    assert!(result.complete, "{line}: {:?}", result.notes);
    result
}

/// The totals of a role, over all machines.
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
