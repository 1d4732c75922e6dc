//! The program; everything is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

/// Emitters and listeners allocate in the client: as fast as in a program that
/// cares.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    netcluster_loadtest::main(netcluster_loadtest::args::Arguments::parse())
}
