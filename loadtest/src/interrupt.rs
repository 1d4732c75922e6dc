//! Ctrl-C and SIGTERM: asked about, never acted on by themselves, so that the
//! processes of a run are ended in order and what was measured is printed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Delay with which an interrupt is seen at the latest.
const POLL: Duration = Duration::from_millis(50);

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Starts to notice. Call once, in the coordinator.
pub fn install() -> Result<()> {
    let flag = REQUESTED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// Returns whether the user wants an end.
pub fn requested() -> bool {
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Fails if the user wants an end.
pub fn check() -> Result<()> {
    if requested() {
        bail!("interrupted");
    }
    Ok(())
}

/// Returns the note below results if the user wanted an end; else nothing.
pub fn note() -> &'static str {
    if requested() { "\nnote: interrupted; these are partial results\n" } else { "" }
}

/// Sleeps, or less if interrupted.
pub fn sleep(duration: Duration) {
    let end = Instant::now() + duration;
    while !requested() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(POLL));
    }
}
