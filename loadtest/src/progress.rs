//! Progress bar, where somebody sees it and the run is long enough.
//!
//! The bar follows the clock towards the expected end, since a run has no steps.

use std::io::{IsTerminal, stderr};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Shortest time that is worth a bar.
const WORTH_IT: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(100);
/// Time that a run takes besides its window, about: start, warm-up, drain.
const RUN_OVERHEAD: Duration = Duration::from_millis(600);

/// Bar over runs of equal length; hidden unless on a terminal and long.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// Number of runs; `None` if nobody knows how many there will be.
    runs: Option<usize>,
    done: usize,
    /// Word for what is counted.
    of: &'static str,
    what: String,
}

impl Progress {
    /// Makes a bar over so many runs with windows of `seconds`.
    pub fn new(runs: usize, seconds: f64) -> Progress {
        let expected = (Duration::from_secs_f64(seconds) + RUN_OVERHEAD).mul_f64(runs as f64);
        let bar = if expected < WORTH_IT || !stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            start(expected)
        };
        Progress::of(bar, Some(runs), "runs")
    }

    /// Makes a bar over runs of which nobody knows how many there will be, of `seconds`
    /// each.
    pub fn counting(of: &'static str, seconds: f64) -> Progress {
        let is_seen = seconds >= WORTH_IT.as_secs_f64() && stderr().is_terminal();
        let bar = if is_seen { start_spinner() } else { ProgressBar::hidden() };
        Progress::of(bar, None, of)
    }

    fn of(bar: ProgressBar, runs: Option<usize>, of: &'static str) -> Progress {
        let progress = Progress { bar, runs, done: 0, of, what: String::new() };
        progress.show();
        progress
    }

    /// Tells what runs from now on.
    pub fn describe(&mut self, what: &str) {
        self.what = what.into();
        self.show();
    }

    /// Moves on by a run that is done.
    pub fn step(&mut self) {
        self.done += 1;
        self.show();
    }

    fn show(&self) {
        self.bar.set_message(self.message());
    }

    fn message(&self) -> String {
        let all = self.runs.map_or(String::new(), |runs| format!("/{runs}"));
        format!("{}{all} {}  {}", self.done, self.of, self.what)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn start_spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
    bar.set_style(style.expect("the template is a constant"));
    bar.enable_steady_tick(TICK);
    bar
}

fn start(expected: Duration) -> ProgressBar {
    let bar = ProgressBar::new(expected.as_millis() as u64);
    let style = ProgressStyle::with_template("{spinner} {bar:30} {elapsed} {msg}");
    bar.set_style(style.expect("the template is a constant"));
    let (ticked, began) = (bar.clone(), Instant::now());
    thread::spawn(move || {
        while !ticked.is_finished() {
            ticked.set_position(began.elapsed().min(expected).as_millis() as u64);
            ticked.tick();
            thread::sleep(TICK);
        }
    });
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_known_number_is_counted_without_one() {
        let mut search = Progress::counting("rates tried", 0.0);
        for _ in 0..15 {
            search.step();
        }
        search.describe("256 events/s");
        assert_eq!(search.message(), "15 rates tried  256 events/s");
        let mut runs = Progress::new(9, 0.0);
        runs.step();
        assert!(runs.message().starts_with("1/9 runs"));
    }
}
