//! The driver of the Rust client, for the conformance runner.

#![forbid(unsafe_code)]

fn main() -> std::io::Result<()> {
    netcluster_conformance::rust_driver::run()
}
