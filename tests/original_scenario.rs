//! Scenario of the original: a broker, a receiver that logs `log`, a sender that emits it
//! with `TESTE`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use netcluster::{Broker, BrokerOptions};
use netcluster_client::Client;
use netcluster_platform::{BackendChoice, is_wine};

/// Builds the client's examples and returns their directory; `None`, with the reason
/// printed, if they are not there and cannot be built: under Wine there is no compiler.
fn examples() -> Option<PathBuf> {
    // target/PROFILE/deps/this-test; the examples go to `debug` beside PROFILE.
    let binary = std::env::current_exe().expect("the test's own path");
    let target = binary.ancestors().nth(3).expect("target/PROFILE/deps/test");
    let built = target.join("debug").join("examples");
    if is_wine() {
        if built.join(program("receiver")).exists() && built.join(program("sender")).exists() {
            return Some(built);
        }
        println!("SKIPPED: build them first: cargo build -p netcluster-client --examples");
        return None;
    }
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--offline", "--package", "netcluster-client", "--examples"])
        .arg("--target-dir")
        .arg(target)
        .stdin(Stdio::null());
    let status = command.status().expect("cargo runs: it runs this test");
    assert!(status.success(), "the examples do not build");
    Some(built)
}

/// Returns the file name of a program.
fn program(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

struct Running(Child);

impl Running {
    fn start(program: &Path, arguments: &[&Path]) -> Running {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        Running(command.spawn().expect("the example runs"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(backend: BackendChoice) {
    if let Err(reason) = netcluster_platform::select_backend(backend) {
        println!("SKIPPED: {reason}");
        return;
    }
    let Some(examples) = examples() else { return };
    let name = format!("nc-original-{}-{backend:?}.sock", std::process::id());
    let socket = if cfg!(windows) {
        PathBuf::from(format!(r"\\?\pipe\{name}"))
    } else {
        std::env::temp_dir().join(name)
    };
    let mut options = BrokerOptions::new(&socket);
    options.backend = backend;
    let broker = Broker::start(options).expect("the broker starts");

    let mut receiver = Running::start(&examples.join(program("receiver")), &[&socket]);
    let probe = Client::connect(&socket).expect("the broker takes clients");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(40);
    while !probe.status().expect("a status").contains("\"listeners\":1") {
        assert!(std::time::Instant::now() < deadline, "the receiver does not listen");
    }
    let mut sender = Running::start(&examples.join(program("sender")), &[&socket, Path::new("2")]);
    let lines = BufReader::new(receiver.0.stdout.take().expect("it is piped")).lines();
    let logged: Vec<String> = lines.take(2).map(|line| line.expect("it is text")).collect();
    assert_eq!(logged, ["TESTE", "TESTE"]);
    assert!(sender.0.wait().expect("it was started here").success());
    drop(receiver);
    drop(broker);
}

#[test]
fn the_receiver_logs_what_the_sender_emits_on_uring() {
    run(BackendChoice::Uring);
}

#[test]
fn the_receiver_logs_what_the_sender_emits_on_poll() {
    run(BackendChoice::Poll);
}
