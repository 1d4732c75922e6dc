//! Commands that meet a program that is no broker, or a broker that sends them away.

mod support;

#[cfg(unix)]
#[path = "foreign/unix.rs"]
mod unix;

#[cfg(not(unix))]
#[test]
fn a_program_that_is_no_broker_is_recognised() {
    println!("SKIPPED: the stand-in for a broker listens on a local socket of Unix");
}
