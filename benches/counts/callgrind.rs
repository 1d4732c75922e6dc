//! Running this program under callgrind, and reading what it wrote.
//!
//! ```text
//!   ob=/lib/x86_64-linux-gnu/libc.so.6      whose code follows
//!   fn=__memcpy_sse2_unaligned_erms
//!   0 5120                                  instructions of its own
//!   calls=3 0                               what it called:
//!   0 900                                   inclusive, counted there
//!   totals: 5120
//! ```

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Instructions, by whose code they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// This program's.
    pub own: u64,
    /// The C library's.
    pub library: u64,
}

/// Instructions of the function that is to be collected.
const COLLECT: &str = "--toggle-collect=*counted_pass*";

/// The C library picks its copies by the processor and the sizes of its caches:
/// it shall take those that every x86-64 has.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX2,-AVX,\
-SSE4_2,-SSE4_1,-SSSE3,-BMI1,-BMI2,-LZCNT,-MOVBE,-POPCNT,-RTM,-ERMS,-FSRM,\
-AVX_Fast_Unaligned_Load,-Fast_Unaligned_Copy\
:glibc.cpu.x86_data_cache_size=0x8000:glibc.cpu.x86_shared_cache_size=0x100000\
:glibc.cpu.x86_non_temporal_threshold=0xc0000\
:glibc.malloc.arena_max=1:glibc.malloc.tcache_count=7";

/// The version of valgrind, or why there is none.
pub fn version() -> Result<String, String> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(output) if output.status.success() => Ok(line(&output.stdout)),
        Ok(output) => Err(format!("valgrind --version: {}", output.status)),
        Err(error) => Err(format!("valgrind cannot be run: {error}")),
    }
}

/// The version of the C library.
pub fn library_version() -> String {
    match Command::new("getconf").arg("GNU_LIBC_VERSION").output() {
        Ok(output) => line(&output.stdout),
        Err(error) => format!("unknown (getconf: {error})"),
    }
}

/// Instructions of all counted passes of a path.
pub fn count(path: &str) -> Result<Count, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let file = env::temp_dir().join(format!("netcluster-counts-{}-{path}", std::process::id()));
    let mut option = OsString::from("--callgrind-out-file=");
    option.push(&file);
    // The size of the environment would move the stack.
    let output = Command::new("valgrind")
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("GLIBC_TUNABLES", TUNABLES)
        .args(["--tool=callgrind", "--quiet", COLLECT])
        .args(["--dump-line=no", "--compress-strings=no", "--compress-pos=no"])
        .arg(option)
        .arg(&program)
        .args(["--measure", path])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = fs::read_to_string(&file);
    // There is none if it did not get that far.
    let _ = fs::remove_file(&file);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("valgrind: {}\n{said}", output.status));
    }
    read(&text.map_err(|error| error.to_string())?, &program)
}

/// Adds up what callgrind wrote of `program`.
fn read(text: &str, program: &Path) -> Result<Count, String> {
    let mut count = Count::default();
    let mut is_own = false;
    let mut total = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(object) = line.strip_prefix("ob=") {
            is_own = Path::new(object) == program;
        } else if line.starts_with("calls=") {
            lines.next();
        } else if let Some(sum) = line.strip_prefix("totals:") {
            total = sum.trim().parse::<u64>().ok();
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.split_whitespace().nth(1).and_then(|cost| cost.parse::<u64>().ok());
            let cost = cost.ok_or_else(|| format!("callgrind wrote: {line}"))?;
            *(if is_own { &mut count.own } else { &mut count.library }) += cost;
        }
    }
    match total {
        Some(total) if total == count.own + count.library && count.own > 0 => Ok(count),
        total => Err(format!("{count:?} does not add up to callgrind's total: {total:?}")),
    }
}

fn line(output: &[u8]) -> String {
    String::from_utf8_lossy(output).lines().next().unwrap_or_default().trim().to_owned()
}
