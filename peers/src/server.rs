//! A peer's own process: found, started with settings that favour it, ended by
//! its id.
//!
//! No persistence, no keep-alive traffic, queues of [`QUEUE_BYTES`] per listener,
//! sockets and files in the run's own directory.
//!
//! Decision: `docs/decisions/031-own-clients-of-other-brokers.md`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Address, Peer, QUEUE_BYTES};

/// Connections of the largest load, with some for emitters: a server that has a lower
/// limit is given this one. Of descriptors there are as many as the system lets us have.
const MAX_CONNECTIONS: usize = 10_100;
const START_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const SOCKET: &str = "bus.sock";
const LOG: &str = "broker.log";
const POLL: Duration = Duration::from_millis(5);
/// Program that runs the brokers of ZeroMQ and Zenoh, which are libraries.
const PYTHON: &str = "python3";
const ZEROMQ: &str = include_str!("servers/zeromq.py");
const ZENOH: &str = include_str!("servers/zenoh.py");
/// Program of the roles of iceoryx2, which lies beside this one or in PATH.
const ICEORYX2: &str = "netcluster-peer-iceoryx2";
/// Command that builds it, beside a load test that was built by the same profile.
const ICEORYX2_BUILD: &str =
    "cargo build --release --manifest-path peers/iceoryx2/Cargo.toml --target-dir target";
/// Directories of servers on systems whose users do not look there.
const MORE_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A peer that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Program of the peer; empty if it is a role of this one.
    pub program: PathBuf,
    /// Version as the peer tells it.
    pub version: String,
}

/// A running peer.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: Address,
}

impl Peer {
    /// Looks whether the peer is installed; the error says in words why not.
    pub fn find(self) -> Result<Found, String> {
        let (program, arguments, before) = match self {
            Peer::Nats => ("nats-server", &["--version"][..], "nats-server: v"),
            Peer::Redis => ("redis-server", &["--version"][..], "Redis server v="),
            // It has no flag for its version alone.
            Peer::Mosquitto => ("mosquitto", &["-h"][..], "mosquitto version "),
            Peer::Zeromq => (PYTHON, &["-c", ZEROMQ, "version"][..], "libzmq "),
            Peer::Zenoh => (PYTHON, &["-c", ZENOH, "version"][..], "zenoh "),
            Peer::Iceoryx2 | Peer::Iceoryx2Polling => (ICEORYX2, &["version"][..], "iceoryx2 "),
        };
        let path = match self.waiting() {
            Some(_) => beside(program).or_else(|| in_path(program)).ok_or_else(|| {
                format!("no {program} in PATH or beside this program ({ICEORYX2_BUILD})")
            }),
            None => in_path(program).ok_or_else(|| format!("no {program} in PATH")),
        }?;
        let version = version_of(&path, arguments, before);
        let version = version.map_err(|error| match self {
            Peer::Zeromq => format!("{PYTHON} cannot import zmq (pip install pyzmq)"),
            Peer::Zenoh => format!("{PYTHON} cannot import zenoh (pip install eclipse-zenoh)"),
            _ => error,
        })?;
        Ok(Found { program: path, version })
    }

    /// Returns the arguments that start the peer for payloads of `size` bytes. Its
    /// settings are a file, if the peer takes one.
    fn arguments(self, directory: &Path, size: usize) -> io::Result<Vec<OsString>> {
        let socket = directory.join(SOCKET);
        // Of events, for those that do not count bytes.
        let queued = (QUEUE_BYTES / size.max(1)).max(1);
        let settings = match self {
            Peer::Nats => format!(
                "host: \"127.0.0.1\"\nport: -1\nports_file_dir: \"{}\"\n\
                 max_payload: 8388608\nmax_pending: {QUEUE_BYTES}\n\
                 write_deadline: \"30s\"\nping_interval: \"1h\"\n",
                directory.display()
            ),
            Peer::Redis => format!(
                "port 0\nunixsocket \"{}\"\nunixsocketperm 700\ndir \"{}\"\n\
                 save \"\"\nappendonly no\nmaxclients {MAX_CONNECTIONS}\n\
                 client-output-buffer-limit pubsub {QUEUE_BYTES} 0 0\n",
                socket.display(),
                directory.display()
            ),
            Peer::Mosquitto => format!(
                "listener 0 {}\nallow_anonymous true\npersistence false\nuser root\n\
                 log_dest stderr\nlog_type error\nlog_type warning\nmax_queued_messages {queued}\n",
                socket.display()
            ),
            Peer::Zeromq => {
                let queued = queued.to_string().into();
                return Ok(vec!["-c".into(), ZEROMQ.into(), socket.into(), queued]);
            }
            Peer::Zenoh => return Ok(vec!["-c".into(), ZENOH.into(), socket.into()]),
            Peer::Iceoryx2 | Peer::Iceoryx2Polling => {
                return Err(io::Error::new(ErrorKind::Unsupported, "it has no server"));
            }
        };
        let path = directory.join("settings.conf");
        fs::write(&path, settings)?;
        Ok(match self {
            Peer::Redis => vec![path.into()],
            _ => vec!["-c".into(), path.into()],
        })
    }
}

impl Server {
    /// Starts a program, whose files are in a directory, and waits until it listens;
    /// `go_on` is asked meanwhile.
    ///
    /// # Errors
    /// If the program does not start, or `go_on` says so.
    pub fn start(
        peer: Peer,
        program: &Path,
        directory: &Path,
        size: usize,
        go_on: impl Fn() -> Result<()>,
    ) -> Result<Server> {
        let mut command = Command::new(program);
        command.args(peer.arguments(directory, size)?);
        let log = File::create(directory.join(LOG))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child =
            command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Server { child, address: Address::Unix(directory.join(SOCKET)) };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if peer == Peer::Nats {
                let path = format!("nats-server_{}.ports", server.child.id());
                server.address = Address::Tcp(nats_port(&directory.join(path)).unwrap_or(0));
            }
            if server.address != Address::Tcp(0) && server.address.connect().is_ok() {
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(directory.join(LOG)).unwrap_or_default();
                bail!("{} did not start: {}", peer.name(), log.trim());
            }
            go_on()?;
            thread::sleep(POLL);
        }
    }

    /// Returns the server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the address at which the server listens.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for Server {
    /// Asks the server to end; kills a server that does not.
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // Once it was waited for, the id may be another's.
        if let (Some(pid), Ok(None)) = (pid, self.child.try_wait()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Returns the version that a program tells behind these words; the error says in words
/// why not.
pub fn version_of(program: &Path, arguments: &[&str], before: &str) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let version = text.lines().find_map(|line| line.trim().strip_prefix(before));
    let version = version.and_then(|rest| rest.split_whitespace().next());
    version.map(str::to_owned).ok_or_else(|| format!("{} tells no version", program.display()))
}

/// Looks for a program of ours where this one is.
fn beside(program: &str) -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(program);
    path.is_file().then_some(path)
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(MORE_DIRECTORIES.map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// Reads the port that NATS chose from the file in which NATS tells it.
fn nats_port(path: &Path) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use netcluster_testkit::Directory;

    use super::*;

    #[test]
    fn the_port_is_read_from_what_the_server_wrote() {
        let directory = Directory::new();
        let path = directory.path().join("ports");
        assert_eq!(nats_port(&path), None);
        fs::write(&path, r#"{"nats":["nats://127.0.0.1:40001"]}"#).unwrap();
        assert_eq!(nats_port(&path), Some(40_001));
        fs::write(&path, r#"{"nats":[]}"#).unwrap();
        assert_eq!(nats_port(&path), None);
    }

    #[test]
    fn no_peer_keeps_anything_on_disk_and_queues_are_bounded() {
        let directory = Directory::new();
        let settings = |peer: Peer, size| {
            let arguments = peer.arguments(directory.path(), size).unwrap();
            fs::read_to_string(arguments.last().unwrap()).unwrap()
        };
        assert!(settings(Peer::Redis, 64).contains("save \"\"\nappendonly no\n"));
        let mosquitto = settings(Peer::Mosquitto, 64 << 10);
        assert!(mosquitto.contains("persistence false\n"));
        assert!(mosquitto.ends_with("max_queued_messages 4096\n"), "{mosquitto}");
        assert!(settings(Peer::Nats, 64).contains("max_pending: 268435456\n"));
        let zeromq = Peer::Zeromq.arguments(directory.path(), 64 << 10).unwrap();
        assert_eq!(zeromq.last().unwrap(), "4096");
    }

    #[test]
    fn what_is_not_installed_is_not_found() {
        assert_eq!(in_path("no-such-program-anywhere"), None);
        assert!(in_path("sh").is_some());
    }
}
