//! README and `docs/`, run: every block of code in them is compared with compiled code
//! and run, or run by a shell on a machine of its own, in namespaces, which takes root. A
//! block that no row of `runs/` knows fails, and so does a row without a block.
//!
//! `cargo` is a stand-in that runs what this build has made; where a measurement would
//! take minutes, its script says what is shortened.
#![cfg(target_os = "linux")]

mod runs;
// The snippets are the documents' to the letter.
#[rustfmt::skip]
mod snippets;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use runs::{DOCUMENTS, How, Row};
use support::{Directory, has_machines};

const SNIPPETS: &str = include_str!("snippets.rs");
const PRELUDE: &str = include_str!("prelude.sh");

/// Variable that tells a copy of this program which snippet to run.
const PART: &str = "NC_README_SNIPPET";

/// Number of tries of a block, which waits for others by `sleep`, as people do.
const TRIES: usize = 3;

/// Longest run of a block, in seconds.
const LIMIT_SECONDS: &str = "60";

/// Number of blocks that run at the same time: most of their time they wait.
const AT_ONCE: usize = 4;

/// Script that stands for cargo: it runs what is there, in the same way.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
    "run --release -- "*) shift 3; exec netcluster "$@" ;;
    "run --release -p netcluster-client --example "*)
        shift 5; name=$1; shift; exec "$PROGRAMS/examples/$name" "$@" ;;
    "test --workspace --all-features") echo "the tests: this is one" ;;
    "build --release --workspace") ;;
    *) echo "there is no stand-in for: cargo $*"; exit 1 ;;
esac
"#;

/// Block of code of a document.
struct Block {
    document: &'static str,
    rows: &'static [Row],
    /// Text between the fences.
    text: String,
}

impl Block {
    /// Returns the place of the block's row: the one with the longest beginning that
    /// fits.
    fn row(&self) -> Option<usize> {
        let fits = |(_, (begins, _)): &(usize, &Row)| self.text.starts_with(begins);
        let rows = self.rows.iter().enumerate().filter(fits);
        rows.max_by_key(|(_, (begins, _))| begins.len()).map(|(at, _)| at)
    }

    /// Finds what is done with the block.
    fn how(&self) -> Option<&'static How> {
        self.row().map(|at| &self.rows[at].1)
    }

    /// Names the block for people: where it is, and how it begins.
    fn name(&self) -> String {
        format!("{}: {}", self.document, self.text.lines().next().unwrap_or_default())
    }
}

/// Reads the text of a document.
fn read(document: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// Finds the blocks of code in a text, without their fences.
fn code(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match (&mut open, line.starts_with("```")) {
            (None, true) => open = Some(String::new()),
            (Some(_), true) => blocks.extend(open.take()),
            (Some(block), false) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}

/// Returns the blocks of all documents.
fn blocks() -> Vec<Block> {
    let all = DOCUMENTS.iter().flat_map(|&(document, rows)| {
        code(&read(document)).into_iter().map(move |text| Block { document, rows, text })
    });
    all.collect()
}

#[test]
fn every_block_has_a_row_and_every_row_a_block() {
    let blocks = blocks();
    for (document, rows) in DOCUMENTS {
        let mut found: Vec<usize> = Vec::new();
        for block in blocks.iter().filter(|block| block.document == *document) {
            let row = block.row().unwrap_or_else(|| {
                panic!("no row of tests/readme/runs says how to run {}", block.name())
            });
            assert!(!found.contains(&row), "two blocks begin alike: {}", block.name());
            found.push(row);
        }
        for (at, (begins, _)) in rows.iter().enumerate() {
            assert!(found.contains(&at), "{document} has no block any more that begins {begins:?}");
        }
    }
}

#[test]
fn every_document_with_code_is_run() {
    let docs = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    for entry in docs {
        let name = format!("docs/{}", entry.unwrap().file_name().to_string_lossy());
        let is_run = DOCUMENTS.iter().any(|(document, _)| *document == name);
        let has_code = name.ends_with(".md") && !code(&read(&name)).is_empty();
        assert!(is_run == has_code, "DOCUMENTS in tests/readme/runs lists {name}: {is_run}");
    }
}

/// Returns the compiled code of a snippet as it would stand at the left margin.
fn compiled(name: &str) -> String {
    let begin = format!("    // shown: {name}\n");
    let (_, behind) = SNIPPETS.split_once(&begin).expect("the snippet is there");
    let (code, _) = behind.split_once("    // shown: end\n").expect("it has an end");
    code.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect()
}

#[test]
fn the_rust_of_documents_is_what_is_compiled_here() {
    for block in blocks() {
        if let Some(How::Snippet(name, _)) = block.how() {
            let compiled = compiled(name);
            let document = block.document;
            assert_eq!(
                block.text, compiled,
                "change {document} and tests/readme/snippets.rs together"
            );
        }
    }
}

/// Plays a snippet, if this process is told to.
#[test]
fn snippet_process() {
    let Ok(name) = std::env::var(PART) else { return };
    let ended = match name.as_str() {
        "receiver" => snippets::receiver(),
        "sender" => snippets::sender(),
        "client" => snippets::client(),
        "everywhere" => snippets::everywhere(),
        "embedded" => snippets::embedded(),
        "restart" => snippets::restart(),
        "languages" => snippets::languages(),
        other => panic!("no snippet {other}"),
    };
    ended.unwrap();
}

/// Returns the directory of programs that are not this package's: made by a build of the
/// workspace where all tests are run, else now.
fn programs() -> PathBuf {
    let netcluster = Path::new(env!("CARGO_BIN_EXE_netcluster"));
    let directory = netcluster.parent().unwrap().to_owned();
    let wanted = ["examples/receiver", "examples/sender", "netcluster-loadtest"];
    if !wanted.iter().all(|name| directory.join(name).exists()) {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--workspace", "--all-features", "--bins", "--examples"]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success(), "examples and load test cannot be built");
    }
    directory
}

/// Runs a script on a machine of its own; the error is what a script printed that failed.
fn run(block: &str, script: &str, programs: &Path) -> Result<(), String> {
    let directory = Directory::new();
    let (path, out) = (directory.join("path"), directory.join("out"));
    let built = directory.join("target/release");
    for made in [&path, &out, &built] {
        fs::create_dir_all(made).unwrap();
    }
    for name in ["netcluster", "netcluster-loadtest"] {
        symlink(programs.join(name), path.join(name)).unwrap();
        symlink(programs.join(name), built.join(name)).unwrap();
    }
    let cargo = directory.file("path/cargo", CARGO);
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let block = directory.file("block", block);
    let script = directory.file("script", &format!("{PRELUDE}\n{script}\n"));
    let mut command = Command::new("timeout");
    command.args(["--signal", "KILL", LIMIT_SECONDS]);
    command.args(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "--propagation", "private", "bash"]).arg(&script);
    let search = format!("{}:{}", path.display(), std::env::var("PATH").unwrap());
    command.env("PATH", search).env("BLOCK", &block).env("OUT", &out);
    command.env("PROGRAMS", programs).env("SOURCE", env!("CARGO_MANIFEST_DIR"));
    command.env("TEST_PROGRAM", std::env::current_exe().unwrap());
    for ours in ["XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "NETCLUSTER_SOCKET"] {
        command.env_remove(ours);
    }
    let done = command.current_dir(directory.path()).stdin(Stdio::null()).output().unwrap();
    if done.status.success() {
        return Ok(());
    }
    let (stdout, stderr) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Err(format!("{}\n{stdout}\n{stderr}", done.status))
}

#[test]
fn every_block_works() {
    if !has_machines(&["bash", "unshare", "timeout", "ip", "nft", "openssl"]) {
        return;
    }
    let programs = programs();
    let only = std::env::var("README_BLOCK").unwrap_or_default();
    let blocks: Vec<Block> =
        blocks().into_iter().filter(|block| block.text.starts_with(&only)).collect();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(how) = block.how() else { continue };
                    let script = match how {
                        How::Snippet(_, script) | How::Script(script) => script,
                        How::Elsewhere(why) => {
                            println!("not here: {}: {why}", block.name());
                            continue;
                        }
                    };
                    let mut tries = (0..TRIES).map(|_| run(&block.text, script, &programs));
                    let failed = tries.try_fold(String::new(), |_, tried| match tried {
                        Ok(()) => Err(()),
                        Err(text) => Ok(text),
                    });
                    if let Ok(text) = failed {
                        let name = block.name();
                        failures.lock().unwrap().push(format!("{name}\n{}\n{text}", block.text));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n========\n"));
}
