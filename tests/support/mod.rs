//! Parts that integration tests of the command share: temporary directories with short
//! names, child processes that are ended with their test, bounded waits.
//!
//! Nothing here sleeps to synchronise: a wait is for a condition, with a deadline that
//! only a failure reaches.

// Each test file is a program of its own and uses a part of this.
#![allow(dead_code, unused_imports)]

mod process;
mod system;
#[cfg(target_os = "linux")]
mod terminal;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use netcluster_testkit::{Directory, PATIENCE, wait_until};
pub use process::{Done, Process};
pub use system::{
    NO_SOCKET, Signal, has_signals, is_root, is_socket, is_unix, loopback, mode_and_group,
    own_user, set_mode,
};
#[cfg(target_os = "linux")]
pub use terminal::Terminal;

/// Number of the unprivileged user that every system has ("nobody").
pub const NOBODY: u32 = 65_534;

/// Calls again what a signal interrupts: where there is a time limit, the system does not.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Returns the command under test: that of this build, or another one that
/// `PROGRAM_UNDER_TEST` names.
pub fn netcluster() -> Command {
    match std::env::var_os("PROGRAM_UNDER_TEST") {
        Some(program) => Command::new(program),
        None => Command::new(env!("CARGO_BIN_EXE_netcluster")),
    }
}

/// Returns the command with these arguments.
pub fn command<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = netcluster();
    command.args(arguments);
    command
}

/// Returns the back ends that this machine has.
pub fn backends() -> Vec<&'static str> {
    match netcluster_platform::select_backend(netcluster_platform::BackendChoice::Uring) {
        Ok(_) => vec!["uring", "poll"],
        Err(reason) => {
            println!("SKIPPED on uring: {reason}");
            vec!["poll"]
        }
    }
}

/// Broker in a process of its own, with a socket in a directory of its own.
pub struct Broker {
    pub process: Process,
    pub directory: Directory,
}

impl Broker {
    pub fn start(backend: &str) -> Broker {
        Broker::start_with(backend, &[])
    }

    pub fn start_with(backend: &str, options: &[&str]) -> Broker {
        let directory = Directory::new();
        let process = serve(&directory.socket("s"), backend, options);
        Broker { process, directory }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.socket("s")
    }

    /// Makes a command to this broker.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.arg("--socket").arg(self.socket());
        command
    }

    /// Runs a command to this broker to its end.
    pub fn run(&self, arguments: &[&str]) -> Done {
        Process::start(self.command(arguments)).finish()
    }

    /// Starts `on`, and returns once it listens.
    pub fn on(&self, arguments: &[&str]) -> Process {
        let on = Process::start(self.command(&[&["on"], arguments].concat()));
        on.wait_for_notice("listening to ");
        on
    }

    pub fn status(&self) -> serde_json::Value {
        let done = self.run(&["status", "--json"]).succeeded();
        serde_json::from_str(&done.stdout).unwrap()
    }
}

/// Starts a broker, and returns once clients can connect.
pub fn serve(socket: &Path, backend: &str, options: &[&str]) -> Process {
    let mut command = command(["serve", "--backend", backend]);
    command.args(options).arg("--socket").arg(socket);
    let process = Process::start(command);
    process.wait_for_notice("ready socket=");
    process
}

/// Wraps a command so that it runs as an unprivileged user; `None`, with the
/// reason printed, where that is not possible.
pub fn unprivileged(command: Command) -> Option<Command> {
    if !is_root() {
        return Some(command);
    }
    let wrap = |command: &Command| {
        let mut wrapped = Command::new("setpriv");
        let user = NOBODY.to_string();
        wrapped.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"]);
        wrapped.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
    };
    // The binary may lie where that user cannot go.
    let works = wrap(&self::command(["--version"])).output().is_ok_and(|it| it.status.success());
    if !works {
        println!("SKIPPED: cannot run the command as an unprivileged user (setpriv)");
        return None;
    }
    Some(wrap(&command))
}

/// Returns whether machines can be made of namespaces: by root, and with these programs;
/// prints why not.
#[cfg(target_os = "linux")]
pub fn has_machines(programs: &[&str]) -> bool {
    if !is_root() {
        println!("SKIPPED: only root can have machines of its own");
        return false;
    }
    for program in programs {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        if !found.is_ok_and(|found| found.status.success()) {
            println!("SKIPPED: {program} is not installed");
            return false;
        }
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--net", "--pid", "--fork", "--mount-proc", "true"]);
    let allowed = unshare.output().is_ok_and(|done| done.status.success());
    if !allowed {
        println!("SKIPPED: namespaces are not allowed here (unshare)");
    }
    allowed
}

/// Gives a file or directory to the user of [`unprivileged`].
pub fn give_to_unprivileged(path: &Path) {
    if is_root() {
        system::give(path, NOBODY);
    }
}
