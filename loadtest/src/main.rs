//! Program of the load test; everything is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Allocator: emitters and listeners allocate in the client as fast as in a program that
/// cares.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(unix)]
fn main() -> ExitCode {
    use clap::Parser;

    netcluster_loadtest::main(netcluster_loadtest::args::Arguments::parse())
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("error: the load generator measures by what Unix tells of processes");
    ExitCode::from(2)
}
