//! Children that can be killed: the test binary itself, told by its environment
//! to play a part.
//!
//! A part is a `#[test]` that does nothing unless [`part`] says so.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use netcluster::Broker;
use netcluster_platform::BackendChoice;

use super::{Bed, Directory, Raw, wait_until};

const PART: &str = "NC_TEST_PART";
const SOCKET: &str = "NC_TEST_SOCKET";
const BACKEND: &str = "NC_TEST_BACKEND";
const SHARDS: &str = "NC_TEST_SHARDS";
const SHARING: &str = "NC_TEST_SHARING";

/// Returns the socket, if this process is to play `name`.
pub fn part(name: &str) -> Option<PathBuf> {
    let mine = std::env::var(PART).is_ok_and(|part| part == name);
    mine.then(|| std::env::var_os(SOCKET).expect("a part is told the socket").into())
}

/// Process that plays a part; killed at the end of the test if not before.
pub struct Played(pub Child);

impl Played {
    /// Starts the part `test`, which is the name of the `#[test]` that plays it.
    pub fn start(test: &str, socket: &Path, more: impl FnOnce(&mut Command)) -> Played {
        let binary = std::env::current_exe().expect("the test's own path");
        let mut command = Command::new(binary);
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        Played::spawn(command, test, socket, more)
    }

    /// Starts a part by another program, which runs what stands behind its own arguments.
    pub fn start_under(
        wrapper: &[String],
        test: &str,
        socket: &Path,
        more: impl FnOnce(&mut Command),
    ) -> Played {
        let binary = std::env::current_exe().expect("the test's own path");
        let [program, arguments @ ..] = wrapper else {
            return Played::start(test, socket, more);
        };
        let mut command = Command::new(program);
        command.args(arguments).arg(binary);
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        Played::spawn(command, test, socket, more)
    }

    fn spawn(
        mut command: Command,
        test: &str,
        socket: &Path,
        more: impl FnOnce(&mut Command),
    ) -> Played {
        command.env(PART, test).env(SOCKET, socket).stdin(Stdio::null()).stdout(Stdio::null());
        more(&mut command);
        Played(command.spawn().expect("the test binary runs"))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Kills the process, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let status = self.0.wait().expect("it was started here");
        assert!(was_killed(status), "it ended before it was killed: {status}");
    }

    /// Sends the process a signal.
    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(process, signal).expect("it runs");
    }

    /// Stops the process as it is, and waits until it stands.
    #[cfg(target_os = "linux")]
    pub fn stop(&self) {
        self.signal(rustix::process::Signal::STOP);
        let path = format!("/proc/{}/stat", self.id());
        wait_until("the process stands", || {
            std::fs::read_to_string(&path).expect("it is there").contains(") T ")
        });
    }

    /// Counts the descriptors that the process has open.
    pub fn descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.id());
        std::fs::read_dir(directory).expect("it runs").count()
    }

    /// Returns the resident memory of the process.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let text = std::fs::read_to_string(path).expect("it runs");
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("a running process");
        let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
        kib.expect("a number of KiB") << 10
    }
}

#[cfg(unix)]
fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

/// Returns whether the process failed: that it was killed looks like any other failure.
#[cfg(not(unix))]
fn was_killed(status: ExitStatus) -> bool {
    !status.success()
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Broker in a process of its own.
pub struct RemoteBus {
    pub process: Played,
    pub path: PathBuf,
    pub log: PathBuf,
    directory: Option<Directory>,
}

/// Plays the part of a broker; to be called by a `#[test]` of the same binary that is
/// named `broker_process`.
pub fn play_broker() {
    let Some(path) = part("broker_process") else { return };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let number = |name: &str| std::env::var(name).expect("a broker is told its back end");
    let backend =
        if number(BACKEND) == "Uring" { BackendChoice::Uring } else { BackendChoice::Poll };
    let bed = Bed::new(backend, number(SHARDS).parse().expect("a number of shards"));
    let bed = if number(SHARING) == "true" { bed.sharing() } else { bed };
    let broker = Broker::start(bed.options(&path)).expect("the broker starts");
    broker.join().expect("an orderly end");
}

impl RemoteBus {
    pub fn start(bed: &Bed) -> RemoteBus {
        RemoteBus::start_under(bed, &[])
    }

    /// Starts a broker with at most so many open descriptors.
    pub fn start_limited(bed: &Bed, descriptors: usize) -> RemoteBus {
        let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        RemoteBus::start_under(bed, &["sh".into(), "-c".into(), script])
    }

    /// Starts a broker by another program, as [`Played::start_under`].
    pub fn start_under(bed: &Bed, wrapper: &[String]) -> RemoteBus {
        let directory = Directory::new();
        let (path, log) = (directory.socket("s"), directory.join("log"));
        let process = spawn_broker(bed, &path, &log, wrapper);
        RemoteBus { process, path, log, directory: Some(directory) }
    }

    /// Starts the broker's successor at the same socket, after [`Played::kill`].
    pub fn restart(&mut self, bed: &Bed) {
        self.process = spawn_broker(bed, &self.path, &self.log, &[]);
    }

    /// Returns what the broker has logged so far.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).expect("it has a log")
    }
}

fn spawn_broker(bed: &Bed, path: &Path, log: &Path, wrapper: &[String]) -> Played {
    let more = |command: &mut Command| {
        let log = std::fs::File::create(log).expect("a log file");
        command
            .env(BACKEND, format!("{:?}", bed.backend))
            .env(SHARDS, bed.shards.to_string())
            .env(SHARING, bed.is_sharing.to_string())
            .stderr(log);
    };
    let mut process = Played::start_under(wrapper, "broker_process", path, more);
    wait_until("the broker answers", || {
        if let Some(status) = process.0.try_wait().expect("it was started here") {
            panic!("{status}: {}", std::fs::read_to_string(log).unwrap_or_default());
        }
        // What answers may still be the predecessor, whose end takes a moment.
        Raw::pid_of(path) == Some(process.id())
    });
    process
}
