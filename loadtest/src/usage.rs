//! Cost of processes: CPU time, memory, context switches, out of `/proc`.
//!
//! CPU time is the process's own clock (nanoseconds, threads that have ended with it).
//! Context switches are those of the threads that there are. Elsewhere than on Linux
//! every reading is zero.

use std::fs;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::time::Duration;

#[cfg(target_os = "linux")]
use nix::{time::ClockId, unistd::Pid};

/// Reading of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time of all threads, in nanoseconds.
    pub cpu_ns: u64,
    /// Times a thread slept or was taken off its core.
    pub context_switches: u64,
    /// Resident memory now.
    pub rss_bytes: u64,
    /// Part of the resident memory that is shared with others.
    pub shared_bytes: u64,
    /// Most resident memory that there ever was.
    pub peak_rss_bytes: u64,
}

impl Usage {
    /// Reads the process with this id; zeros if it is gone.
    pub fn of(pid: u32) -> Usage {
        let process = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let mut usage = Usage {
            cpu_ns: cpu_ns(pid),
            rss_bytes: field(&status, "VmRSS:") * 1024,
            shared_bytes: field(&status, "RssShmem:") * 1024,
            peak_rss_bytes: field(&status, "VmHWM:") * 1024,
            ..Usage::default()
        };
        for task in fs::read_dir(process.join("task")).into_iter().flatten().flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            usage.context_switches += field(&status, "voluntary_ctxt_switches:")
                + field(&status, "nonvoluntary_ctxt_switches:");
        }
        usage
    }

    /// Returns CPU and context switches since an earlier reading.
    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            context_switches: self.context_switches.saturating_sub(earlier.context_switches),
            ..self
        }
    }
}

/// Reads the number behind a label at the start of a line.
fn field(status: &str, label: &str) -> u64 {
    status.lines().find_map(|line| line.strip_prefix(label)).map_or(0, first_number)
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Reads the CPU-time clock of a process.
#[cfg(target_os = "linux")]
fn cpu_ns(pid: u32) -> u64 {
    let clock = i32::try_from(pid).map(|pid| ClockId::pid_cpu_clock_id(Pid::from_raw(pid)));
    let Ok(Ok(now)) = clock.map(|clock| clock.and_then(ClockId::now)) else { return 0 };
    u64::try_from(Duration::from(now).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(not(target_os = "linux"))]
fn cpu_ns(_pid: u32) -> u64 {
    0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_uses_cpu_and_memory() {
        let before = Usage::of(std::process::id());
        let mut sum = 0u64;
        for value in 0..20_000_000u64 {
            sum = std::hint::black_box(sum ^ value);
        }
        let used = Usage::of(std::process::id()).since(before);
        assert!(used.cpu_ns > 0, "{sum}");
        assert!(used.peak_rss_bytes >= used.rss_bytes && used.rss_bytes > 0);
    }

    #[test]
    fn a_process_that_is_gone_reads_as_zero() {
        assert_eq!(Usage::of(u32::MAX), Usage::default());
    }
}
