//! Holdings of long-lived processes, sampled while nothing is on the way: whether they grow.
//!
//! A series is that of one process, or of a machine's brokers one after the other, whose
//! descriptors, mappings and threads must not grow from one to the next either. The first
//! quarter of a run is left out: allocators, pools and caches fill. What is left must not grow
//! by more than the limit of its measure, at the lower end of the slope's 95 % interval.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::slope;
use crate::usage::Usage;

/// Share of a series that is left out, from its start.
const WARM_UP: f64 = 0.25;
/// Memory that may be added in an hour, in KiB. 256 KiB are 2.2 GB in a year; two hours of
/// samples with the noise of an allocator's pages (some hundred KiB) tell less from nothing.
const MAX_KIB_PER_H: f64 = 256.0;
/// Number of anything else that may be added in an hour: one of them each ten rounds would be
/// over 30.
const MAX_COUNT_PER_H: f64 = 2.0;
/// Span below which slopes are shown and not judged: a page is much in a minute.
const MIN_SPAN: Duration = Duration::from_secs(1800);
/// Number of descriptors and threads by which a short run may end above its warm-up:
/// connections that take shared memory have more of each than others. Mappings are memory
/// there: the allocator makes some for each thread once it is first busy.
const SHORT_ALLOWANCE: f64 = 16.0;

/// Holdings of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Holdings {
    rss_kib: f64,
    descriptors: f64,
    mappings: f64,
    threads: f64,
}

impl Holdings {
    /// Reads those of a process; `None` if it is gone.
    pub fn of(pid: u32) -> Option<Holdings> {
        let process = Path::new("/proc").join(pid.to_string());
        let count = |name: &str| Some(fs::read_dir(process.join(name)).ok()?.count() as f64);
        Some(Holdings {
            rss_kib: Usage::of(pid).rss_bytes as f64 / 1024.0,
            descriptors: count("fd")?,
            mappings: fs::read_to_string(process.join("maps")).ok()?.lines().count() as f64,
            threads: count("task")?,
        })
    }
}

/// Series of all processes.
#[derive(Debug, Default)]
pub struct Resources {
    series: BTreeMap<(String, &'static str), Vec<(f64, f64)>>,
}

/// Trend of a measure of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Process.
    pub process: String,
    /// Measure.
    pub measure: String,
    /// Samples, the warm-up included.
    pub samples: usize,
    /// Value behind the warm-up.
    pub first: f64,
    /// Value at the end.
    pub last: f64,
    /// Highest value.
    pub most: f64,
    /// Slope an hour, and the ends of its 95 % interval; `None` if there are too few samples.
    pub per_hour: Option<[f64; 3]>,
    /// Slope that is allowed.
    pub limit_per_hour: f64,
    /// Whether it grows.
    pub grows: bool,
}

impl Resources {
    /// Books what a process holds. Of one that is not the same process all the time memory is
    /// no series.
    pub fn sample(&mut self, at: Duration, process: &str, pid: u32, is_one_process: bool) {
        let Some(holdings) = Holdings::of(pid) else { return };
        if is_one_process {
            self.book(at, process, "RSS KiB", holdings.rss_kib);
        }
        self.book(at, process, "descriptors", holdings.descriptors);
        self.book(at, process, "mappings", holdings.mappings);
        self.book(at, process, "threads", holdings.threads);
    }

    /// Books the number of files in a directory.
    pub fn files(&mut self, at: Duration, name: &str, directory: &Path) {
        let count = fs::read_dir(directory).map_or(0, Iterator::count);
        self.book(at, name, "files", count as f64);
    }

    fn book(&mut self, at: Duration, process: &str, measure: &'static str, value: f64) {
        let hours = at.as_secs_f64() / 3600.0;
        self.series.entry((process.to_owned(), measure)).or_default().push((hours, value));
    }

    /// Returns the trend of each series.
    pub fn trends(&self) -> Vec<Trend> {
        let series = self.series.iter();
        series.filter_map(|((process, measure), points)| trend(process, measure, points)).collect()
    }
}

fn trend(process: &str, measure: &str, points: &[(f64, f64)]) -> Option<Trend> {
    let warm_up = (points.len() as f64 * WARM_UP).ceil() as usize;
    let settled = points.get(warm_up..).filter(|points| !points.is_empty())?;
    let is_memory = measure.starts_with("RSS");
    let limit_per_hour = if is_memory { MAX_KIB_PER_H } else { MAX_COUNT_PER_H };
    let slope = slope::slope(settled);
    let (first, last) = (settled[0], settled[settled.len() - 1]);
    let is_long = last.0 - first.0 >= MIN_SPAN.as_secs_f64() / 3600.0;
    let grows = if is_long {
        slope.is_some_and(|slope| slope.low > limit_per_hour)
    } else {
        !is_memory && measure != "mappings" && last.1 > first.1 + SHORT_ALLOWANCE
    };
    Some(Trend {
        process: process.to_owned(),
        measure: measure.to_owned(),
        samples: points.len(),
        first: first.1,
        last: last.1,
        most: points.iter().map(|point| point.1).fold(0.0, f64::max),
        per_hour: slope.map(|slope| [slope.low, slope.median, slope.high]),
        limit_per_hour,
        grows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend_of(measure: &'static str, of: impl Fn(u32) -> f64) -> Trend {
        let mut resources = Resources::default();
        for round in 0..240 {
            resources.book(Duration::from_secs(u64::from(round) * 30), "it", measure, of(round));
        }
        resources.trends().remove(0)
    }

    #[test]
    fn a_leak_grows_and_a_warm_up_does_not() {
        let warm_up = trend_of("RSS KiB", |round| 9000.0 + f64::from(round.min(50)) * 100.0);
        assert!(!warm_up.grows, "{warm_up:?}");
        let leak = trend_of("RSS KiB", |round| 9000.0 + f64::from(round) * 4.0);
        assert!(leak.grows, "{leak:?}");
        assert!(trend_of("descriptors", |round| f64::from(round / 10)).grows);
        assert!(!trend_of("descriptors", |round| f64::from(round % 3)).grows);
    }

    #[test]
    fn a_process_that_is_gone_is_no_sample() {
        let mut resources = Resources::default();
        resources.sample(Duration::ZERO, "gone", u32::MAX, true);
        assert!(resources.trends().is_empty());
        resources.sample(Duration::ZERO, "own", std::process::id(), true);
        assert_eq!(resources.series.len(), 4);
    }
}
