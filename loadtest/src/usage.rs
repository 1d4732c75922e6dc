//! What processes cost: CPU time, memory, context switches, out of `/proc`.
//!
//! CPU time comes from `schedstat` of every thread (nanoseconds); where the
//! kernel has none, from `stat` (10 ms ticks). A thread that ends between two
//! readings takes its time with it: no role ends a thread while it is measured.
//! Elsewhere than on Linux every reading is zero.

use std::fs;
use std::path::Path;

/// One reading of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time of all threads, in nanoseconds.
    pub cpu_ns: u64,
    /// Times a thread slept or was taken off its core.
    pub context_switches: u64,
    /// Resident memory now.
    pub rss_bytes: u64,
    /// The most resident memory there ever was.
    pub peak_rss_bytes: u64,
}

impl Usage {
    /// Of the process with this id; zeros if it is gone.
    pub fn of(pid: u32) -> Usage {
        let process = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let mut usage = Usage {
            rss_bytes: field(&status, "VmRSS:") * 1024,
            peak_rss_bytes: field(&status, "VmHWM:") * 1024,
            ..Usage::default()
        };
        let mut scheduled = true;
        for task in fs::read_dir(process.join("task")).into_iter().flatten().flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            usage.context_switches += field(&status, "voluntary_ctxt_switches:")
                + field(&status, "nonvoluntary_ctxt_switches:");
            match fs::read_to_string(task.path().join("schedstat")) {
                Ok(schedstat) => usage.cpu_ns += first_number(&schedstat),
                Err(_) => scheduled = false,
            }
        }
        if !scheduled {
            let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
            usage.cpu_ns = ticks(&stat) * 1_000_000_000 / ticks_per_second();
        }
        usage
    }

    /// CPU and context switches since an earlier reading.
    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            context_switches: self.context_switches.saturating_sub(earlier.context_switches),
            ..self
        }
    }
}

/// The number behind a label at the start of a line.
fn field(status: &str, label: &str) -> u64 {
    status.lines().find_map(|line| line.strip_prefix(label)).map_or(0, first_number)
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// User plus system ticks. The command may hold spaces and parentheses, so the
/// fields are counted from the last one.
fn ticks(stat: &str) -> u64 {
    let Some((_, fields)) = stat.rsplit_once(')') else { return 0 };
    fields.split_whitespace().skip(11).take(2).map(first_number).sum()
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
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

    #[test]
    fn ticks_are_counted_behind_an_awkward_command() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 40 2 0 0 20";
        assert_eq!(ticks(stat), 42);
    }
}
