//! One network namespace: made, entered, removed.
//!
//! A namespace belongs to a thread: whoever enters does so on a new one, which
//! then ends. Processes and sockets made there stay in it.
//!
//! Invariant: no thread but those made here ever changes its namespace.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::sweep;

/// Network namespace, which is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Namespace {
    name: String,
    path: PathBuf,
}

impl Namespace {
    /// Makes a namespace of this name.
    pub fn new(name: &str) -> Result<Namespace> {
        let output = Command::new("ip").args(["netns", "add", name]).output();
        check("ip netns add", output)?;
        let path = Path::new(sweep::DIRECTORY).join(name);
        Ok(Namespace { name: name.into(), path })
    }

    /// Returns the namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of the file that stands for the namespace.
    #[cfg(test)]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a task in the namespace.
    pub fn enter<T: Send>(&self, task: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| -> io::Result<T> {
                let file = File::open(&self.path)?;
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(task())
            });
            match inside.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs a tool in the namespace; `line` is split at spaces.
    pub fn run(&self, program: &str, line: &str) -> Result<()> {
        self.ask(program, line).map(drop)
    }

    /// Runs a tool in the namespace and returns what the tool printed.
    pub fn ask(&self, program: &str, line: &str) -> Result<String> {
        let output = self.enter(|| {
            Command::new(program).args(line.split_whitespace()).stdin(Stdio::null()).output()
        })?;
        check(&format!("{program} {line}"), output)
    }

    /// Runs a tool in the namespace that reads its standard input.
    pub fn feed(&self, program: &str, line: &str, input: &str) -> Result<()> {
        let output = self.enter(|| -> io::Result<Output> {
            let mut child = Command::new(program)
                .args(line.split_whitespace())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            child.stdin.take().expect("the input is a pipe").write_all(input.as_bytes())?;
            child.wait_with_output()
        })?;
        check(&format!("{program} {line}"), output).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        sweep::remove(&self.name);
    }
}

/// Returns what a tool printed, if the tool succeeded.
fn check(what: &str, output: io::Result<Output>) -> Result<String> {
    let output = output.with_context(|| format!("cannot run {what}"))?;
    if !output.status.success() {
        bail!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
