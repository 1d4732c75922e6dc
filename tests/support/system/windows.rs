//! Windows: a pipe is no file, and a console event cannot be sent to one process
//! of a console alone.

use std::path::Path;
use std::process::Child;

/// Path of a socket that no broker can have.
pub const NO_SOCKET: &str = r"C:\nowhere\s";

/// Stand-in for a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    pub const INT: Signal = Signal(2);
    pub const KILL: Signal = Signal(9);
    pub const TERM: Signal = Signal(15);
    pub const HUP: Signal = Signal(1);
}

/// Returns an address of the loopback interface, whose name depends on the language.
pub fn loopback() -> &'static str {
    "127.0.0.1"
}

pub fn signal(child: &mut Child, signal: Signal) {
    assert_eq!(signal, Signal::KILL, "a test cannot send this here");
    child.kill().unwrap();
}

/// Returns whether tests can send signals; prints that they cannot.
#[must_use]
pub fn has_signals() -> bool {
    println!("SKIPPED: a console event cannot be sent to one process alone");
    false
}

pub fn is_root() -> bool {
    false
}

/// Returns the numbers that stand for users and groups without numbers.
pub fn own_user() -> (u32, u32) {
    (u32::MAX, u32::MAX)
}

pub fn give(_: &Path, _: u32) {}

pub fn set_mode(_: &Path, _: u32) {}

pub fn mode_and_group(_: &Path) -> (u32, u32) {
    (0, 0)
}

pub fn is_socket(_: &Path) -> bool {
    false
}
