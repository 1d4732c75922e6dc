//! Cores that the processes of a run are kept on.
//!
//! A round trip is all wake-ups: left to the scheduler, its length shows on which cores
//! the processes happened to be. A child process inherits the cores of the thread that
//! starts it; so the coordinator's thread moves there while it starts them, and back.
//! Nothing here measures, and only Linux can do it.

use std::fmt;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use netcluster_platform::{allowed_cores, pin_to_core, pin_to_cores};
use serde::{Deserialize, Serialize};

/// Cores of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pin {
    /// All processes on one core.
    One,
    /// The process in the middle on one core, all others on another.
    Two,
}

/// Place of a process in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Broker, or what stands in for it.
    Middle,
    /// Emitters and listeners.
    Ends,
}

impl Pin {
    /// Keeps the processes that this thread starts on the core of a place, until the
    /// result is dropped.
    ///
    /// # Errors
    /// If there are too few cores, or the system cannot.
    pub fn start(self, place: Place) -> Result<Pinned> {
        let cores = allowed_cores();
        let core = match (self, place) {
            (Pin::One, _) | (Pin::Two, Place::Middle) => cores[0],
            (Pin::Two, Place::Ends) if cores.len() > 1 => cores[1],
            (Pin::Two, Place::Ends) => bail!("--pin two needs two cores, and there is one"),
        };
        pin_to_core(core).context("--pin")?;
        Ok(Pinned(cores))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Pin::One => "all on one core",
            Pin::Two => "broker on a core of its own",
        })
    }
}

/// Pinned thread, which gets its cores back when this is dropped.
#[derive(Debug)]
pub struct Pinned(Vec<usize>);

impl Drop for Pinned {
    fn drop(&mut self) {
        // They were allowed before.
        let _ = pin_to_cores(&self.0);
    }
}

/// Does the same for a run that may be pinned or not.
///
/// # Errors
/// As [`Pin::start`].
pub fn start(pin: Option<Pin>, place: Place) -> Result<Option<Pinned>> {
    pin.map(|pin| pin.start(place)).transpose()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_started_meanwhile_is_on_the_core_of_its_place_and_nothing_later() {
        std::thread::spawn(|| {
            let own = allowed_cores();
            let cores = || {
                let output = Command::new("nproc").output().unwrap();
                String::from_utf8_lossy(&output.stdout).trim().parse::<usize>().unwrap()
            };
            let pinned = Pin::One.start(Place::Ends).unwrap();
            assert_eq!(cores(), 1);
            assert_eq!(allowed_cores(), own[..1]);
            drop(pinned);
            assert_eq!(allowed_cores(), own);
            if own.len() < 2 {
                println!("SKIPPED: two places on two cores: this machine has one");
                return;
            }
            let _pinned = Pin::Two.start(Place::Ends).unwrap();
            assert_eq!(allowed_cores(), own[1..2]);
        })
        .join()
        .unwrap();
    }
}
