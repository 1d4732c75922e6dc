//! Arguments of an endurance run, which `run soak` takes beside those of a scenario.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::disturbance::Kind;

/// Shortest and longest run.
const DURATIONS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(7 * 86_400));
/// Duration of a run of which nothing is said.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(7200);
/// Events per second of each emitter, at the most: what is measured is no throughput.
const MAX_RATE: f64 = 20_000.0;

/// Arguments of an endurance run.
#[derive(Clone, Debug, Args)]
pub struct SoakArgs {
    /// soak: how long [default: 2h]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// soak: seed of the order and the details of disturbances [default: drawn, and printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// soak: only these disturbances, with commas between
    #[arg(long, value_name = "KIND,…", value_enum, value_delimiter = ',')]
    pub disturb: Vec<Kind>,
    /// soak: events per second of each emitter
    #[arg(long, value_name = "N", default_value_t = 400.0)]
    pub emit_rate: f64,
}

impl SoakArgs {
    /// Checks that an ordinary scenario was given none of them.
    ///
    /// # Errors
    /// If it was.
    pub fn unused(&self) -> Result<()> {
        if self.duration.is_some() || self.seed.is_some() || !self.disturb.is_empty() {
            bail!("--duration, --seed and --disturb are for `run soak`; others take --seconds");
        }
        Ok(())
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Which argument is out of its range.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.emit_rate.is_finite() && (1.0..=MAX_RATE).contains(&self.emit_rate),
            "--emit-rate: from 1 to {MAX_RATE}"
        );
        Ok(())
    }
}

/// Reads a duration such as `90s`, `15m` or `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("a time such as 90s, 15m or 2h, not {text}");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let duration = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    if !(DURATIONS.0..=DURATIONS.1).contains(&duration) {
        return Err("from 5 seconds to a week".into());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_a_range() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        for text in ["", "90", "h", "-1h", "1s", "9999h", "1d", "nanh", "1µ"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
