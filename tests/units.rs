//! Units of `contrib/systemd`, as systemd reads them. `.ci/package clean` runs them.

#![cfg(target_os = "linux")]

mod support;

use std::path::Path;
use std::process::Command;

use support::Directory;

/// Units in a directory of their own, with a program that is there; `None`, with the reason
/// printed, where nothing can read them.
fn units(directory: &Directory) -> Option<Command> {
    let found = Command::new("systemd-analyze").arg("--version").output();
    if !found.is_ok_and(|found| found.status.success()) {
        println!("SKIPPED: systemd-analyze is not installed");
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd");
    for name in ["netcluster.service", "netcluster.socket"] {
        let unit = std::fs::read_to_string(source.join(name)).unwrap();
        let program = env!("CARGO_BIN_EXE_netcluster");
        std::fs::write(directory.join(name), unit.replace("/usr/bin/netcluster", program)).unwrap();
    }
    let mut reader = Command::new("systemd-analyze");
    reader.current_dir(directory.path());
    Some(reader)
}

#[test]
fn systemd_finds_nothing_wrong_with_them() {
    let directory = Directory::new();
    let Some(mut reader) = units(&directory) else { return };
    reader.args(["verify", "--man=no", "./netcluster.service", "./netcluster.socket"]);
    let done = reader.output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}");
    assert!(!told.contains("netcluster"), "{told}");
}

/// Exposure from 0 to 10, by systemd's own measure; a service that does nothing about it has 9.6.
#[test]
fn the_broker_may_do_little_but_its_work() {
    let directory = Directory::new();
    let Some(mut reader) = units(&directory) else { return };
    reader.args(["security", "--offline=true", "--no-pager", "--threshold=20"]);
    let done = reader.arg("./netcluster.service").output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    if String::from_utf8_lossy(&done.stderr).contains("unrecognized option") {
        println!("SKIPPED: this systemd-analyze rates no file (--offline)");
        return;
    }
    assert!(done.status.success(), "{told}");
    // Without these it could not use io_uring.
    let unit = std::fs::read_to_string(directory.join("netcluster.service")).unwrap();
    assert!(unit.contains("SystemCallFilter=io_uring_setup io_uring_enter io_uring_register"));
}
