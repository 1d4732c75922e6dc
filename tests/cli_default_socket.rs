//! Choice of the broker when nobody names a socket: the search of commands and clients,
//! what is said when it finds none, and a socket that somebody removed.
//!
//! The system's socket has one fixed place. These tests have a `/run` of their own, in a
//! mount namespace, which takes root.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{
    Broker, Directory, Process, Signal, backends, command, give_to_unprivileged, has_machines,
    unprivileged, wait_until,
};

const SYSTEM_SOCKET: &str = "/run/netcluster/default.sock";

/// Machine with a `/run` of its own, and perhaps root's broker.
struct Machine {
    /// First process of the machine, whose namespace the others enter.
    first: Process,
    /// Runtime directory of an unprivileged user.
    runtime: Directory,
}

impl Machine {
    /// Starts a machine; `None`, with the reason printed, where there cannot be one. The
    /// first process runs `script`, in which `$0` is the command.
    fn start(script: &str) -> Option<Machine> {
        if !has_machines(&["unshare", "nsenter", "setpriv"]) {
            return None;
        }
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-euc"]);
        unshare.arg(format!("mount -t tmpfs tmpfs /run; echo ready socket= >&2; {script}"));
        unshare.arg(env!("CARGO_BIN_EXE_netcluster"));
        let first = Process::start(unshare);
        first.wait_for_notice("ready socket=");
        let runtime = Directory::new();
        give_to_unprivileged(runtime.path());
        Some(Machine { first, runtime })
    }

    /// Starts a machine with root's broker, whose socket has this mode.
    fn with_broker(mode: &str) -> Option<Machine> {
        let machine = Machine::start(&format!("exec \"$0\" serve --socket-mode {mode}"))?;
        machine.first.wait_for_notice("ready socket=/run/");
        Some(machine)
    }

    /// Makes a command on this machine, run by root.
    fn root(&self, arguments: &[&str]) -> Command {
        self.inside(command(arguments))
    }

    /// Makes a command on this machine, run by a user that is not root.
    fn user(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("XDG_RUNTIME_DIR", self.runtime.path());
        self.inside(unprivileged(command).expect("setpriv works for root"))
    }

    fn inside(&self, command: Command) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--mount", "--target", &self.first.pid().to_string()]);
        nsenter.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            nsenter.env(name, value.unwrap_or_default());
        }
        nsenter.env_remove("RUNTIME_DIRECTORY").env_remove("NETCLUSTER_SOCKET");
        nsenter
    }

    fn own_socket(&self) -> String {
        self.runtime.join("netcluster/default.sock").to_str().unwrap().to_owned()
    }

    /// Returns the process id of the broker whose status is shown to the user.
    fn used_by_user(&self) -> u64 {
        let done = Process::start(self.user(&["status", "--json"])).finish().succeeded();
        let status: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
        status["pid"].as_u64().unwrap()
    }
}

#[test]
fn a_users_commands_use_the_systems_broker_until_he_has_his_own() {
    let Some(machine) = Machine::with_broker("0666") else { return };
    assert_eq!(machine.used_by_user(), u64::from(machine.first.pid()));
    let on = Process::start(machine.user(&["on", "log", "--count", "1"]));
    on.wait_for_notice(SYSTEM_SOCKET);
    Process::start(machine.root(&["emit", "log", "x"])).finish().succeeded();
    assert_eq!(on.finish().succeeded().stdout, "log x\n");

    // His own comes first, and says that there are two now.
    let own = Process::start(machine.user(&["serve"]));
    own.wait_for_notice(&format!("ready socket={}", machine.own_socket()));
    let words = format!("a broker of the system runs as pid {}", machine.first.pid());
    assert!(own.notices().contains(&words), "{}", own.notices());
    let own_pid = machine.used_by_user();
    assert_ne!(own_pid, u64::from(machine.first.pid()));
    // Killed, it leaves a socket at which nobody is.
    own.signal(Signal::KILL);
    own.finish();
    assert!(Path::new(&machine.own_socket()).exists());
    assert_eq!(machine.used_by_user(), u64::from(machine.first.pid()));
}

#[test]
fn what_is_said_names_each_socket_and_why_it_is_not_used() {
    let Some(machine) = Machine::with_broker("0600") else { return };
    let text = Process::start(machine.user(&["status"])).finish().failed(3, "no broker").stderr;
    let own = machine.own_socket();
    assert!(text.contains(&format!("{own}: there is no socket")), "{text}");
    assert!(text.contains(&format!("{SYSTEM_SOCKET}: no permission")), "{text}");
    assert!(text.contains("netcluster serve") && text.contains("NETCLUSTER_SOCKET"), "{text}");

    // One that hangs is the one that is meant, and is named.
    let broker = Process::start(machine.user(&["serve"]));
    broker.wait_for_notice("ready socket=");
    broker.signal(Signal::STOP);
    let text = Process::start(machine.user(&["status"])).finish().failed(3, "welcome").stderr;
    broker.signal(Signal::CONT);
    assert!(text.contains(&format!("the broker at {own} is pid ")), "{text}");
}

#[test]
fn a_socket_that_the_environment_names_is_used_alone() {
    let Some(machine) = Machine::with_broker("0666") else { return };
    let other = machine.runtime.join("other.sock");
    let with = |arguments: &[&str]| {
        let mut command = machine.user(arguments);
        command.env("NETCLUSTER_SOCKET", &other);
        command
    };
    let done = Process::start(with(&["emit", "log", "x"])).finish();
    let text = done.failed(3, "no broker answers at").stderr;
    assert!(text.contains(other.to_str().unwrap()) && !text.contains("/run/"), "{text}");
    let broker = Process::start(with(&["serve"]));
    broker.wait_for_notice(&format!("ready socket={}", other.display()));
    Process::start(with(&["emit", "log", "x"])).finish().succeeded();
    let explicit = with(&["status", "--socket", SYSTEM_SOCKET, "--json"]);
    let text = Process::start(explicit).finish().succeeded().stdout;
    assert!(text.contains(&format!("\"pid\": {}", machine.first.pid())), "{text}");
    // Nobody typed it, but somebody chose it.
    let mut missing = machine.user(&["serve"]);
    missing.env("NETCLUSTER_SOCKET", machine.runtime.join("missing/s"));
    Process::start(missing).finish().failed(1, "does not exist");
}

#[test]
fn a_broker_uses_the_directory_that_the_service_manager_made() {
    let directory = Directory::new();
    let mut serve = command(["serve"]);
    serve.env("RUNTIME_DIRECTORY", directory.path()).env_remove("NETCLUSTER_SOCKET");
    let broker = Process::start(serve);
    let socket = directory.join("default.sock");
    broker.wait_for_notice(&format!("ready socket={}", socket.display()));
    let mut emit = command(["emit", "log", "x"]);
    emit.env("NETCLUSTER_SOCKET", &socket);
    Process::start(emit).finish().succeeded();
}

#[test]
fn a_removed_socket_comes_back_and_clients_find_the_broker_again() {
    for backend in backends() {
        for shards in ["1", "2"] {
            let broker = Broker::start_with(backend, &["--shards", shards]);
            let mut on = broker.on(&["log"]);
            for round in ["once", "twice"] {
                fs::remove_file(broker.socket()).unwrap();
                wait_until("the socket is back", || broker.socket().exists());
                broker.run(&["emit", "log", round]).succeeded();
                assert_eq!(on.line(), format!("log {round}"), "{backend}");
            }
            let notices = broker.process.notices();
            assert_eq!(notices.matches("the socket was removed, and is made again").count(), 2);
            // It is the same broker, and still the only one.
            let words = format!("as pid {} on", broker.process.pid());
            let mut second = command(["serve", "--socket"]);
            second.arg(broker.socket());
            Process::start(second).finish().failed(5, &words);
            broker.process.signal(Signal::TERM);
            let socket = broker.socket();
            broker.process.finish().succeeded();
            assert!(!socket.exists());
        }
    }
}

#[test]
fn what_has_taken_the_sockets_place_is_told_once_and_left_alone() {
    let broker = Broker::start("auto");
    fs::remove_file(broker.socket()).unwrap();
    fs::write(broker.socket(), "mine").unwrap();
    broker.process.wait_for_notice("something else has taken the place of");
    fs::remove_file(broker.socket()).unwrap();
    broker.process.wait_for_notice("is made again: keep");
    broker.run(&["emit", "log", "x"]).succeeded();
    let notices = broker.process.notices();
    assert_eq!(notices.matches("something else has taken").count(), 1, "{notices}");
}
