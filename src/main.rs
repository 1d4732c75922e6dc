//! The `netcluster` command: a broker and the tools to talk to it.

#![forbid(unsafe_code)]

mod cli;

/// Most allocations of a broker are small and freed by the thread that made them.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
