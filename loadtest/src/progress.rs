//! A progress bar, where somebody sees it and it is worth it.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shorter than this nobody looks.
const WORTH_IT: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(100);
/// What a run takes besides its window, about: start, warm-up, drain.
const RUN_OVERHEAD: Duration = Duration::from_millis(600);

/// A bar over runs of equal length; hidden unless on a terminal and long.
pub fn bar(runs: usize, seconds: f64) -> ProgressBar {
    let expected = (Duration::from_secs_f64(seconds) + RUN_OVERHEAD).mul_f64(runs as f64);
    if expected < WORTH_IT || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(runs as u64);
    let style =
        ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len} runs  {elapsed} {msg}");
    bar.set_style(style.expect("the template is a constant"));
    bar.enable_steady_tick(TICK);
    bar
}
