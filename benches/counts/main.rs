//! Instructions of the hottest paths, counted by callgrind under gungraun, beside the
//! figures that are committed in `counts.toml`: a path that has become longer shows on a
//! machine whose times say nothing.
//!
//! ```text
//!   cargo bench --bench counts               measures, fails if a count rose
//!   cargo bench --bench counts -- '*fan*'    only paths whose name is like this
//!   cargo bench --bench counts -- --accept   measures, writes counts.toml
//!
//!   this program ──▶ gungraun-runner ──▶ valgrind ──▶ this program, one path
//!      limits ────────────▲      └── counts, or that one is above its limit
//! ```
//! Instructions are not time: their number knows nothing of caches, of branches that were
//! guessed wrong, nor of system calls. The other benches measure those.
//!
//! What could make counts differ between machines is fixed: the paths run over the
//! simulator in virtual time and from one seed, without encryption, whose implementation
//! follows the processor; the program is built for the baseline of x86-64, as a release
//! is; the C library is told to use no more than that, and there is no other environment.
//! Figures hold for one compiler and one C library: with others nothing is compared, and
//! this says so.

mod paths;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig};
use paths::{PATHS, Path};
use serde::{Deserialize, Serialize};

/// Passes before the count, after which connections, caches and queues are as they stay.
const WARM_UP_PASSES: usize = 10;
/// Passes that are counted.
const PASSES: usize = 10;

/// Rise of a count above its figure that is allowed, in percent.
const MAX_RISE_PERCENT: u64 = 5;

const FILE: &str = "benches/counts.toml";
const ACCEPT: &str = "cargo bench --bench counts -- --accept";
/// Option of the runner when the figures are wanted: then there is no limit.
const AS_JSON: &str = "--output-format=json";

const HEAD: &str = "\
# Instructions in 1,000 events of the hottest paths, the C library's among them, and
# with what they were counted. Compared by `cargo bench --bench counts`, written by the
# same with `-- --accept`.
";

/// Whether this is built for more than every processor of this architecture has.
const IS_ABOVE_BASELINE: bool =
    cfg!(any(target_feature = "sse3", target_feature = "avx", target_feature = "bmi1"));

/// Tunables that make the C library take the copies that every x86-64 has: it picks them
/// by the processor and the sizes of its caches.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX2,-AVX,\
-SSE4_2,-SSE4_1,-SSSE3,-BMI1,-BMI2,-LZCNT,-MOVBE,-POPCNT,-RTM,-ERMS,-FSRM,\
-AVX_Fast_Unaligned_Load,-Fast_Unaligned_Copy\
:glibc.cpu.x86_data_cache_size=0x8000:glibc.cpu.x86_shared_cache_size=0x100000\
:glibc.cpu.x86_non_temporal_threshold=0xc0000\
:glibc.malloc.arena_max=1:glibc.malloc.tcache_count=7";

/// Committed figures, and what they depend on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figures {
    rustc: String,
    glibc: String,
    valgrind: String,
    paths: BTreeMap<String, u64>,
}

/// Benchmarks that are given to gungraun.
mod counted {
    use super::{PASSES, configuration, ready};
    use gungraun::{library_benchmark, library_benchmark_group};

    // Of this alone the instructions count. What it returns is dropped later.
    #[library_benchmark(setup = ready)]
    #[bench::receive_one_name(args = ("receive_one_name"), config = configuration("receive_one_name"))]
    #[bench::receive_1000_names(args = ("receive_1000_names"), config = configuration("receive_1000_names"))]
    #[bench::fan_out_1_to_8(args = ("fan_out_1_to_8"), config = configuration("fan_out_1_to_8"))]
    #[bench::fan_out_apart_2_to_8(args = ("fan_out_apart_2_to_8"), config = configuration("fan_out_apart_2_to_8"))]
    #[bench::link_64_b(args = ("link_64_b"), config = configuration("link_64_b"))]
    #[bench::link_1_kb(args = ("link_1_kb"), config = configuration("link_1_kb"))]
    #[bench::link_64_b_repairs(args = ("link_64_b_repairs"), config = configuration("link_64_b_repairs"))]
    fn passes(mut pass: Box<dyn FnMut()>) -> Box<dyn FnMut()> {
        for _ in 0..PASSES {
            pass();
        }
        pass
    }

    library_benchmark_group!(name = paths, benchmarks = passes);
    gungraun::main!(library_benchmark_groups = paths);

    pub fn run() {
        main();
    }
}

fn main() -> ExitCode {
    let has = |wanted: &str| env::args().skip(1).any(|argument| argument == wanted);
    if has("--gungraun-run") || has(AS_JSON) {
        counted::run();
        return ExitCode::SUCCESS;
    }
    let reason = match found() {
        Ok(found) if has("--accept") => return accept(found),
        Ok(_) if has("--quick") => "--quick is for times".into(),
        Ok(found) => match other(&Figures::read(), &found) {
            Some(reason) => reason,
            None => {
                // Ends this process with another status if a count is above its limit.
                counted::run();
                return ExitCode::SUCCESS;
            }
        },
        Err(reason) => reason,
    };
    println!("SKIPPED: instruction counts: {reason}");
    if has("--accept") { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Finds what the figures of this machine depend on, or why none can be had.
fn found() -> Result<Figures, String> {
    if !cfg!(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")) {
        return Err("figures are of x86-64 Linux with glibc".into());
    } else if cfg!(debug_assertions) {
        return Err("this is not an optimised build".into());
    } else if IS_ABOVE_BASELINE {
        return Err("built for other processors than a release is; unset target-cpu".into());
    }
    said_by("gungraun-runner", "--version")?;
    Ok(Figures {
        rustc: said_by(&env::var("RUSTC").unwrap_or("rustc".into()), "--version")?,
        glibc: said_by("getconf", "GNU_LIBC_VERSION")?,
        valgrind: said_by("valgrind", "--version")?,
        paths: BTreeMap::new(),
    })
}

/// Returns the reason why two sets of figures cannot be compared, if so.
fn other(of: &Figures, found: &Figures) -> Option<String> {
    let (is, was) = ((&found.rustc, &found.glibc), (&of.rustc, &of.glibc));
    (is != was).then(|| format!("figures are of {was:?}, this is {is:?}; new ones: {ACCEPT}"))
}

/// Returns the first line of what a program says.
fn said_by(program: &str, argument: &str) -> Result<String, String> {
    match Command::new(program).arg(argument).output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("").trim().into())
        }
        Ok(output) => Err(format!("{program} {argument}: {}", output.status)),
        Err(error) => Err(format!("{program} cannot be run: {error}")),
    }
}

/// Writes the present counts as the figures.
fn accept(mut figures: Figures) -> ExitCode {
    let program = env::current_exe().expect("a program knows its file");
    let output = Command::new(program).args(["--bench", AS_JSON]).stderr(Stdio::inherit()).output();
    let output = output.expect("it runs a second time");
    for count in serde_json::Deserializer::from_slice(&output.stdout).into_iter() {
        let count: serde_json::Value = count.expect("the runner writes JSON");
        let name = count["id"].as_str().expect("a path has a name");
        let total = &count["profiles"][0]["data"]["total"]["metrics"];
        let total = total["Ir"]["values"]["new"].as_u64().expect("instructions were counted");
        figures.paths.insert(name.to_owned(), total * 1000 / events(name));
    }
    assert_eq!(figures.paths.len(), PATHS.len(), "{}", output.status);
    figures.write();
    println!("written to {FILE}");
    ExitCode::SUCCESS
}

impl Figures {
    fn read() -> Figures {
        let text = fs::read_to_string(FILE).unwrap_or_else(|error| panic!("{FILE}: {error}"));
        toml::from_str(&text).unwrap_or_else(|error| panic!("{FILE}: {error}"))
    }

    fn write(&self) {
        let text = HEAD.to_owned() + &toml::to_string(self).expect("figures are plain");
        fs::write(FILE, text).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    }
}

fn path(name: &str) -> &'static Path {
    PATHS.iter().find(|path| path.name == name).expect("a path of this name")
}

/// Returns the number of a path's events whose instructions are counted.
fn events(name: &str) -> u64 {
    (path(name).prepare)().0 * PASSES as u64
}

/// Makes a path ready for its counted passes.
fn ready(name: &str) -> Box<dyn FnMut()> {
    let mut pass = (path(name).prepare)().1;
    (0..WARM_UP_PASSES).for_each(|_| pass());
    pass
}

/// Returns how a path is counted, and its limit.
fn configuration(name: &str) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::with_args(["--cache-sim=no", "--dump-line=no"]);
    callgrind.format([EventKind::Ir]);
    if !env::args().any(|argument| argument == AS_JSON) {
        let figures = Figures::read();
        let figure = figures.paths.get(name);
        let figure = figure.unwrap_or_else(|| panic!("{name} has no figure: {ACCEPT}"));
        let limit = figure * events(name) / 1000 * (100 + MAX_RISE_PERCENT) / 100;
        callgrind.hard_limits([(EventKind::Ir, limit)]);
    }
    let mut configuration = LibraryBenchmarkConfig::default();
    configuration.env("GLIBC_TUNABLES", TUNABLES).tool(callgrind);
    configuration
}
