//! House rules as a test of the source tree itself.
//!
//! The rules are listed in CONTRIBUTING.md; each rule below says what it is for. An
//! exception is listed here, with its reason, or it is none.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/wording.rs"]
mod wording;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines: one noun per file.
const MAX_LINES: usize = 500;

/// Files that may be longer, and why.
const LONG_FILES: [(&str, &str); 0] = [];

/// Directories that hold no sources of ours.
const SKIPPED_DIRECTORIES: [&str; 7] =
    [".git", "target", "corpus", "artifacts", "coverage", "node_modules", "dist"];

/// Modules that know no operating system and no clock: a path without `.rs` is a
/// directory or a prefix of file names. Time and seeds come as arguments.
const SANS_IO: [&str; 25] = [
    "wire/src/",
    "link/src/",
    "client/src/core/",
    "src/budget.rs",
    "src/channels.rs",
    "src/connection.rs",
    "src/copies.rs",
    "src/inbound.rs",
    "src/pattern_set.rs",
    "src/outbound.rs",
    "src/placement.rs",
    "src/returning.rs",
    "src/routes.rs",
    "src/shard/",
    "src/target.rs",
    "src/timers.rs",
    "src/trie.rs",
    "platform/src/io.rs",
    "platform/src/slice.rs",
    "platform/src/pool/returns.rs",
    "platform/src/sim/",
    "fuzz/src/",
    "src/mesh.rs",
    "src/sim.rs",
    "src/sim/",
];

/// Words that sans-IO modules must not say outside of comments.
const IO_WORDS: [&str; 9] = [
    "std::net",
    "std::os",
    "std::fs",
    "std::thread",
    "std::env",
    "Instant::now",
    "SystemTime",
    "rustix::",
    "libc::",
];

/// Words that say that something is not finished.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Starts of paths that exist on one machine only. Documents may name places that
/// every machine has.
const MACHINE_PATHS: [&str; 5] = ["/home/", "/Users/", "/root/", "/work/", "C:\\Users"];

/// Packages that are no members of the workspace: they need what others need not.
const APART: [&str; 4] = ["fuzz/", "peers/iceoryx2/", "bindings/c/", "bindings/python/"];

/// Crates that alone may have `unsafe` code: they talk to the operating system, or to C.
const UNSAFE_CRATES: [&str; 3] = ["platform", "shm", "bindings/c"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Lists all files of the tree, by their path from its root, in order.
fn files() -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    let mut directories = vec![root().to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_symlink() {
                continue;
            } else if path.is_dir() {
                if !SKIPPED_DIRECTORIES.contains(&name.as_str()) {
                    directories.push(path);
                }
            } else {
                let relative = path.strip_prefix(root()).expect("it is in the tree");
                files.push((relative.to_string_lossy().replace('\\', "/"), path));
            }
        }
    }
    files.sort();
    files
}

fn texts(is_wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let wanted = files().into_iter().filter(|(name, _)| is_wanted(name));
    wanted
        .map(|(name, path)| {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, text)
        })
        .collect()
}

fn sources() -> Vec<(String, String)> {
    texts(|name| name.ends_with(".rs"))
}

/// Returns whether a file is a source of the package for Node.js.
fn is_script(name: &str) -> bool {
    name.ends_with(".ts") || name.ends_with(".mjs")
}

fn manifests() -> Vec<(String, String)> {
    texts(|name| name.ends_with("Cargo.toml"))
}

/// Returns whether a file holds a module's unit tests, which the module documents.
fn is_tests(name: &str) -> bool {
    name.ends_with("/tests.rs")
}

/// Returns the lines of a source without its comments, with their numbers from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
}

fn assert_none(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

#[test]
fn no_source_file_is_longer_than_a_reader_can_hold() {
    let mut findings = Vec::new();
    let sources = texts(|name| name.ends_with(".rs") || is_script(name));
    for (name, text) in &sources {
        let lines = text.lines().count();
        if lines > MAX_LINES && !LONG_FILES.iter().any(|(long, _)| long == name) {
            findings.push(format!("{name}: {lines} lines"));
        }
    }
    for (long, reason) in LONG_FILES {
        assert!(!reason.is_empty(), "{long}: an exception has a reason");
        let is_long =
            |(name, text): &(String, String)| name == long && text.lines().count() > MAX_LINES;
        assert!(sources.iter().any(is_long), "{long} needs no exception any more");
    }
    assert_none(&findings, &format!("at most {MAX_LINES} lines, one noun per file"));
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let undocumented: Vec<String> = sources()
        .into_iter()
        .filter(|(name, text)| !is_tests(name) && !text.starts_with("//! "))
        .map(|(name, _)| name)
        .collect();
    assert_none(&undocumented, "a source file starts with `//! `: what it is for");
}

#[test]
fn sans_io_modules_know_no_system_and_no_clock() {
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for (name, text) in sources() {
        let module = SANS_IO.iter().find(|module| name.starts_with(*module));
        let Some(module) = module.filter(|_| !is_tests(&name)) else { continue };
        used.insert(*module);
        for (line, code) in code(&text) {
            for word in IO_WORDS.iter().filter(|word| code.contains(*word)) {
                findings.push(format!("{name}:{line}: {word}"));
            }
        }
    }
    for module in SANS_IO {
        assert!(used.contains(module), "{module} is gone: take it off the list");
    }
    assert_none(&findings, "time, seeds and bytes come from outside");
}

#[test]
fn unsafe_code_is_forbidden_everywhere_but_in_three_crates() {
    let mut findings = Vec::new();
    let mut roots = 0;
    for (manifest, text) in manifests() {
        let directory = manifest.trim_end_matches("Cargo.toml");
        if UNSAFE_CRATES.contains(&directory.trim_end_matches('/')) || !text.contains("[package]") {
            continue;
        }
        for file in ["src/lib.rs", "src/main.rs"] {
            let name = format!("{directory}{file}");
            let Ok(source) = fs::read_to_string(root().join(&name)) else { continue };
            roots += 1;
            if !source.contains("#![forbid(unsafe_code)]") {
                findings.push(name);
            }
        }
    }
    assert!(roots >= 5, "the crates are found");
    assert_none(
        &findings,
        "`#![forbid(unsafe_code)]` at the root of every crate but platform, shm and that for C",
    );
}

#[test]
fn nothing_is_left_unfinished() {
    let mut findings = Vec::new();
    let is_text = |name: &str| {
        let extensions = [".rs", ".toml", ".yml", ".sh"];
        extensions.iter().any(|extension| name.ends_with(extension))
            || name.starts_with(".ci/")
            || is_script(name)
    };
    for (name, text) in texts(is_text) {
        for (at, line) in text.lines().enumerate() {
            for word in UNFINISHED.iter().filter(|word| line.contains(*word)) {
                findings.push(format!("{name}:{}: {word}", at + 1));
            }
        }
    }
    assert_none(&findings, "finish it, or open an issue");
}

#[test]
fn every_crate_states_its_licence() {
    let mut findings = Vec::new();
    for (name, text) in manifests() {
        let states = text.contains("license = \"MIT OR Apache-2.0\"")
            || text.contains("license.workspace = true");
        if text.contains("[package]") && !states {
            findings.push(name);
        }
    }
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(root().join(file).is_file(), "{file} is missing");
    }
    assert_none(&findings, "MIT OR Apache-2.0");
}

/// Returns whether a manifest is that of a package with a workspace of its own.
fn is_apart(manifest: &str) -> bool {
    APART.iter().any(|directory| manifest.starts_with(directory))
}

#[test]
fn crates_inherit_the_lints_of_the_workspace() {
    let missing: Vec<String> = manifests()
        .into_iter()
        .filter(|(name, text)| text.contains("[package]") && !is_apart(name))
        .filter(|(_, text)| !text.contains("[lints]\nworkspace = true"))
        .map(|(name, _)| name)
        .collect();
    assert_none(&missing, "`[lints] workspace = true`");
}

#[test]
fn documents_name_no_place_of_one_machine() {
    let mut findings = Vec::new();
    let own_file = "tests/tidy.rs";
    let is_text = |name: &str| {
        let extensions = [".rs", ".md", ".toml"];
        name != own_file
            && (name.starts_with(".ci/")
                || name == "justfile"
                || is_script(name)
                || extensions.iter().any(|extension| name.ends_with(extension)))
    };
    for (name, text) in texts(is_text) {
        for (at, line) in text.lines().enumerate() {
            for path in MACHINE_PATHS.iter().filter(|path| line.contains(*path)) {
                findings.push(format!("{name}:{}: {path}", at + 1));
            }
        }
    }
    assert_none(&findings, "no paths of one machine");
}

#[test]
fn each_claim_about_security_names_a_test_that_exists() {
    let document = fs::read_to_string(root().join("SECURITY.md")).expect("it is there");
    let known: BTreeSet<String> = sources()
        .iter()
        .flat_map(|(_, text)| text.split("fn ").skip(1).map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|rest| Some(rest.split_once(['(', '<'])?.0.to_owned()))
        .collect();
    let named: Vec<&str> =
        document.split("[`").skip(1).filter_map(|rest| Some(rest.split_once("`]")?.0)).collect();
    assert!(named.len() > 20, "SECURITY.md names its tests as [`name`]: {named:?}");
    let missing: Vec<String> =
        named.iter().filter(|name| !known.contains(**name)).map(|name| (*name).into()).collect();
    assert_none(&missing, "SECURITY.md names a test that is not there");
}
