//! The C interface of netcluster: `libnetcluster` over the blocking client.
//!
//! What C programs need to know stands in the head of the header, which is made from
//! `cbindgen.toml` and the comments here. Every exported function runs in [`guard`], so
//! that no panic crosses the border; what can be checked of its arguments is checked, and
//! told as a code. The names in `symbols.txt` are the library's ABI.
//!
//! Invariant: `unsafe` is here because pointers come from C; each block says why its
//! pointer may be used.
// The rules for pointers are the same for all functions: the head of the header.
#![allow(clippy::missing_safety_doc)]

mod asking;
mod client;
mod error;
mod input;
mod lifecycle;
mod listening;
mod message;
mod options;
mod subscription;
mod user;

use std::ffi::{CStr, c_char};

/// The version of this library, NUL-terminated.
const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version holds no NUL"),
    };

/// Version of the ABI; `cbindgen.toml` and `build.rs` name it, too.
const ABI_VERSION: &CStr = c"0.1";

/// Returns the version of the library that is loaded, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn netcluster_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Returns the version of the ABI of the library that is loaded. A program that was
/// compiled with another NETCLUSTER_ABI_VERSION must not use it.
#[unsafe(no_mangle)]
pub extern "C" fn netcluster_abi_version() -> *const c_char {
    ABI_VERSION.as_ptr()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Calls within which a panic becomes a code.
    const GUARDED: [&str; 7] =
        ["guard(", "guard_or(", "add(", "set(", "connect(", "emit(", "emit_string("];

    /// Functions that return what is there.
    const PLAIN: [&str; 5] = [
        "netcluster_abi_version",
        "netcluster_error_name",
        "netcluster_last_broker_code",
        "netcluster_last_error",
        "netcluster_version",
    ];

    #[test]
    fn no_exported_function_lets_a_panic_through() {
        let mut plain = Vec::new();
        let mut exported = Vec::new();
        let sources = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
        for source in sources {
            let text = fs::read_to_string(source.unwrap().path()).unwrap();
            for function in text.split("\n#[unsafe(no_mangle)]\n").skip(1) {
                let (function, _) = function.split_once("\n}\n").unwrap();
                let (head, body) = function.split_once('{').unwrap();
                let name = head.split(['(', ' ']).find(|word| word.starts_with("netcluster_"));
                let name = name.unwrap().to_owned();
                if !GUARDED.iter().any(|guarded| body.contains(guarded)) {
                    plain.push(name.clone());
                }
                exported.push(name);
            }
        }
        plain.sort();
        exported.sort();
        assert_eq!(plain, PLAIN);
        let listed: Vec<&str> = include_str!("../symbols.txt").lines().collect();
        assert_eq!(exported, listed);
    }
}
