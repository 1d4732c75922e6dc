//! The Rust client passes the suite, and the suite sees what is wrong.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The broker's program: of another package, in the same directory.
fn broker() -> PathBuf {
    let broker =
        Path::new(env!("CARGO_BIN_EXE_netcluster-conformance")).with_file_name("netcluster");
    assert!(broker.is_file(), "build the workspace: cargo build --workspace");
    broker
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_netcluster-conformance"))
        .arg("--broker")
        .arg(broker())
        .args(arguments)
        .output()
        .expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_rust_client_passes() {
    let driver = env!("CARGO_BIN_EXE_rust-driver");
    let done = run(&["--client", driver]);
    let printed = text(&done.stdout);
    assert!(done.status.success(), "{printed}\n{}", text(&done.stderr));
    assert!(printed.contains(" 0 failed, 0 not applicable"), "all apply: {printed}");
}

/// A driver that answers everything and does nothing, without any capability.
#[test]
fn a_client_that_does_nothing_fails() {
    let script = r#"sh -c 'echo "{\"driver\":\"none\",\"capabilities\":[]}"; n=0; while read line; do n=$((n+1)); echo "{\"id\":$n,\"ok\":{\"source\":\"0/0\"}}"; done'"#;
    let done = run(&["--client", script, "--only", "no_broker", "--only", "pulling"]);
    let printed = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{printed}");
    assert!(printed.contains("FAILED          no_broker"), "{printed}");
    assert!(printed.contains("not applicable  pulling"), "{printed}");
    assert!(printed.contains("0 passed, 1 failed, 1 not applicable"), "{printed}");
}

#[test]
fn mistakes_are_told() {
    for arguments in [&["--only", "nothing-like-that"][..], &["--client", "/nowhere/driver"]] {
        let done = run(arguments);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {}", text(&done.stdout));
        assert!(text(&done.stderr).starts_with("error: "), "{arguments:?}");
    }
}
