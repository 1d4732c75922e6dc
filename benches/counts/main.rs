//! Instructions of the hottest paths, counted by callgrind, beside the figures
//! that are committed in `counts.toml`: a path that has become longer shows on a
//! machine whose times say nothing.
//!
//! ```text
//!   cargo bench --bench counts               measures, fails if a count rose
//!   cargo bench --bench counts -- fan        only paths with this in their name
//!   cargo bench --bench counts -- --accept   measures, writes counts.toml
//!
//!   this program ──▶ valgrind ──▶ this program --measure PATH
//!        └── reads what valgrind wrote
//! ```
//! A count is no time: it knows nothing of caches, of branches that were guessed
//! wrong, nor of system calls. The other benches measure those.
//!
//! What could make counts differ between machines is fixed: the paths run over
//! the simulator in virtual time and from one seed, without encryption, whose
//! implementation follows the processor; the program is built for the baseline of
//! x86-64, as a release is; the C library is told to use no more than that, and
//! its part is counted by itself. Figures hold for one compiler: with another one
//! nothing is compared, and this says so.

mod callgrind;
mod figures;
mod paths;
#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::process::{Command, ExitCode};

use callgrind::Count;
use figures::{Figure, Figures};
use paths::{PATHS, Path};

/// Passes before the count: connections, caches and queues are then as they stay.
const WARM_UP_PASSES: usize = 10;
/// Passes that are counted.
const PASSES: usize = 10;

/// By how much a count may rise above its figure.
const MAX_RISE_PERCENT: f64 = 5.0;
/// Below so many instructions in 1,000 events a rise of some percent is nothing.
const MIN_FIGURE: u64 = 100;

const ACCEPT: &str = "cargo bench --bench counts -- --accept";

/// Built for more than every processor of this architecture has.
const IS_ABOVE_BASELINE: bool =
    cfg!(any(target_feature = "sse3", target_feature = "avx", target_feature = "bmi1"));

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let mut is_accepted = false;
    let mut filter = None;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--measure" => {
                measure(&arguments.next().expect("--measure PATH"));
                return ExitCode::SUCCESS;
            }
            "--accept" => is_accepted = true,
            // What cargo says, and what is meant for criterion.
            option if option.starts_with('-') => {}
            _ => filter = Some(argument),
        }
    }
    let rustc = rustc();
    let figures = Figures::read();
    let reason = match unfit() {
        None if !is_accepted => other_compiler(&figures, &rustc),
        reason => reason,
    };
    match (reason, is_accepted) {
        (Some(reason), false) => {
            println!("SKIPPED: instruction counts: {reason}");
            ExitCode::SUCCESS
        }
        (Some(reason), true) => {
            eprintln!("nothing can be accepted: {reason}");
            ExitCode::FAILURE
        }
        (None, false) => check(&figures, filter.as_deref().unwrap_or_default()),
        (None, true) => accept(&figures, rustc),
    }
}

/// What valgrind runs: one path, of which only [`counted_pass`] counts.
fn measure(name: &str) {
    let path = PATHS.iter().find(|path| path.name == name).expect("a path of this name");
    let mut pass = (path.prepare)().1;
    (0..WARM_UP_PASSES).for_each(|_| pass());
    (0..PASSES).for_each(|_| counted_pass(&mut *pass));
}

/// Callgrind collects while this runs; it knows it by name.
#[inline(never)]
fn counted_pass(pass: &mut dyn FnMut()) {
    pass();
}

/// Why no count can be taken here, if so.
fn unfit() -> Option<String> {
    if !cfg!(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")) {
        Some("figures are of x86-64 Linux with glibc".into())
    } else if cfg!(debug_assertions) {
        Some("this is not an optimised build".into())
    } else if IS_ABOVE_BASELINE {
        Some("built for other processors than a release is; unset target-cpu".into())
    } else {
        callgrind::version().err()
    }
}

fn other_compiler(figures: &Figures, rustc: &str) -> Option<String> {
    (figures.rustc != rustc)
        .then(|| format!("figures are of {}, this is {rustc}; new ones: {ACCEPT}", figures.rustc))
}

fn rustc() -> String {
    let program = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|error| format!("no compiler to be asked: {error}"))
}

/// A path's instructions in 1,000 events.
fn figure(path: &Path) -> Figure {
    let Count { own, library } = callgrind::count(path.name).unwrap_or_else(|error| {
        panic!("{}: {error}", path.name);
    });
    let events = (path.prepare)().0 * PASSES as u64;
    Figure { own: own * 1000 / events, library: library * 1000 / events }
}

/// The change in percent; small figures hardly change.
fn rise(now: u64, before: u64) -> f64 {
    (now as f64 - before as f64) * 100.0 / before.max(MIN_FIGURE) as f64
}

fn print_head() {
    println!(
        "{:<22} {:>10} {:>8} {:>14} {:>8}",
        "per 1,000 events", "own code", "change", "C library", "change"
    );
}

/// Prints a row; returns the larger rise.
fn print_row(name: &str, now: Figure, before: Figure, same_library: bool) -> f64 {
    let own = rise(now.own, before.own);
    let library = rise(now.library, before.library);
    let shown = if same_library { format!("{library:+.1} %") } else { "-".into() };
    println!("{name:<22} {:>10} {own:>+6.1} % {:>14} {shown:>8}", now.own, now.library);
    if same_library { own.max(library) } else { own }
}

fn check(figures: &Figures, filter: &str) -> ExitCode {
    let glibc = callgrind::library_version();
    let same_library = figures.glibc == glibc;
    if !same_library {
        let of = &figures.glibc;
        println!(
            "SKIPPED: the C library's part of the counts: figures are of {of}, this is {glibc}"
        );
    }
    print_head();
    let (mut risen, mut fallen, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for path in PATHS.iter().filter(|path| path.name.contains(filter)) {
        let Some(&before) = figures.paths.get(path.name) else {
            unknown.push(path.name);
            continue;
        };
        let rise = print_row(path.name, figure(path), before, same_library);
        if rise > MAX_RISE_PERCENT {
            risen.push(path.name);
        } else if rise < -MAX_RISE_PERCENT {
            fallen.push(path.name);
        }
    }
    if !fallen.is_empty() {
        println!("fewer than the figures say: {}; so that it stays: {ACCEPT}", fallen.join(", "));
    }
    if risen.is_empty() && unknown.is_empty() {
        return ExitCode::SUCCESS;
    }
    if !risen.is_empty() {
        eprintln!("more than {MAX_RISE_PERCENT} % above the figures: {}", risen.join(", "));
        eprintln!("what makes them up: callgrind_annotate, see BENCHMARKS.md");
    }
    if !unknown.is_empty() {
        eprintln!("without a figure: {}", unknown.join(", "));
    }
    eprintln!("if it is worth it, commit the new figures: {ACCEPT}");
    ExitCode::FAILURE
}

fn accept(before: &Figures, rustc: String) -> ExitCode {
    let glibc = callgrind::library_version();
    let same_library = before.glibc == glibc;
    let valgrind = callgrind::version().unwrap_or_default();
    let mut figures = Figures { rustc, glibc, valgrind, paths: Default::default() };
    print_head();
    for path in PATHS {
        let now = figure(path);
        let old = before.paths.get(path.name).copied().unwrap_or(now);
        print_row(path.name, now, old, same_library);
        figures.paths.insert(path.name.to_owned(), now);
    }
    figures.write();
    println!("written to {}", figures::FILE);
    ExitCode::SUCCESS
}
