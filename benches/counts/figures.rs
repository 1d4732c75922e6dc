//! The committed figures: `benches/counts.toml`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

use serde::Deserialize;

/// Where they are, from the root of the tree.
pub const FILE: &str = "benches/counts.toml";

const HEAD: &str = "\
# Instructions in 1,000 events of the hottest paths, and with what they were counted.
# Compared by `cargo bench --bench counts`, written by the same with `-- --accept`.
# `own` is the program's code; `library` is the C library's: copies and allocations.
";

/// Instructions in 1,000 events.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    pub own: u64,
    pub library: u64,
}

/// All of them, and what they depend on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    pub rustc: String,
    pub glibc: String,
    pub valgrind: String,
    pub paths: BTreeMap<String, Figure>,
}

impl Figures {
    /// Those that are committed.
    pub fn read() -> Figures {
        let text = fs::read_to_string(file()).unwrap_or_else(|error| panic!("{FILE}: {error}"));
        toml::from_str(&text).unwrap_or_else(|error| panic!("{FILE}: {error}"))
    }

    /// Puts these in their place.
    pub fn write(&self) {
        let Figures { rustc, glibc, valgrind, paths } = self;
        let mut text = format!(
            "{HEAD}rustc = \"{rustc}\"\nglibc = \"{glibc}\"\nvalgrind = \"{valgrind}\"\n\n[paths]\n"
        );
        for (name, Figure { own, library }) in paths {
            writeln!(text, "{name} = {{ own = {own}, library = {library} }}")
                .expect("memory takes it");
        }
        fs::write(file(), text).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    }
}

/// The tree that cargo runs this in, or that it was built in.
fn file() -> PathBuf {
    let root = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    root.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).join(FILE)
}
