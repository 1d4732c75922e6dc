//! Names the shared library for linkers, as `Cargo.toml` has it for cargo-c, which names it
//! by itself.
//!
//! Invariant: the name ends with `NETCLUSTER_ABI_VERSION`; `tests/run` compares them.

#![forbid(unsafe_code)]

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let system = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if env::var_os("CARGO_FEATURE_CAPI").is_some() {
        return;
    }
    match system.as_str() {
        "linux" => println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libnetcluster.so.0.1"),
        "macos" => {
            println!(
                "cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libnetcluster.0.1.dylib"
            );
        }
        _ => {}
    }
}
