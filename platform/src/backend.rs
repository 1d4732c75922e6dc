//! Selection of the back end that shards get.
//!
//! io_uring where it is allowed, else `poll`; and one line of explanation when the
//! choice was not the best one. It makes no back end: each shard makes its own, on
//! its thread.

use std::fmt;
use std::str::FromStr;

#[cfg(target_os = "linux")]
use crate::uring::{Unsupported, UringConfig, UringIo};

/// Back end that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// The best that works.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// `poll`.
    Poll,
}

/// Back end that shards use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring.
    Uring,
    /// epoll, kqueue; completion ports on Windows.
    Poll,
}

/// A choice that cannot be met, with the reason and what would allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendUnavailable(String);

/// A name that stands for no choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownBackend(String);

/// Decides, by trying to set io_uring up once. With [`Backend::Poll`] comes one line
/// for the log when io_uring was wanted: why not, and what would allow it.
///
/// # Errors
/// If io_uring was demanded and cannot be had.
pub fn select_backend(
    choice: BackendChoice,
) -> Result<(Backend, Option<String>), BackendUnavailable> {
    // Where it does not exist nobody misses it.
    if cfg!(not(target_os = "linux")) && choice == BackendChoice::Auto {
        return Ok((Backend::Poll, None));
    }
    select_backend_with(choice, probe)
}

/// [`select_backend`] with the probe given: it returns why io_uring cannot be had.
///
/// # Errors
/// As [`select_backend`].
pub fn select_backend_with(
    choice: BackendChoice,
    probe: impl FnOnce() -> Result<(), String>,
) -> Result<(Backend, Option<String>), BackendUnavailable> {
    if choice == BackendChoice::Poll {
        return Ok((Backend::Poll, None));
    }
    match (probe(), choice) {
        (Ok(()), _) => Ok((Backend::Uring, None)),
        (Err(reason), BackendChoice::Uring) => Err(BackendUnavailable(reason)),
        (Err(reason), _) => Ok((Backend::Poll, Some(reason))),
    }
}

/// Sets a small ring up and drops it.
#[cfg(target_os = "linux")]
fn probe() -> Result<(), String> {
    let config = UringConfig {
        buffers: 1,
        buffer_bytes: crate::PAGE_BYTES,
        entries: 8,
        completion_entries: 16,
        ..UringConfig::default()
    };
    UringIo::new(config).map(drop).map_err(|reason: Unsupported| reason.to_string())
}

#[cfg(not(target_os = "linux"))]
fn probe() -> Result<(), String> {
    Err("io_uring exists on Linux only".to_owned())
}

impl FromStr for BackendChoice {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<BackendChoice, UnknownBackend> {
        match name {
            "auto" => Ok(BackendChoice::Auto),
            "uring" => Ok(BackendChoice::Uring),
            "poll" => Ok(BackendChoice::Poll),
            _ => Err(UnknownBackend(name.to_owned())),
        }
    }
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            BackendChoice::Auto => "auto",
            BackendChoice::Uring => "uring",
            BackendChoice::Poll => "poll",
        })
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Backend::Uring => "uring",
            Backend::Poll => "poll",
        })
    }
}

impl fmt::Display for BackendUnavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for BackendUnavailable {}

impl fmt::Display for UnknownBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} is no back end: choose auto, uring or poll", self.0)
    }
}

impl std::error::Error for UnknownBackend {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<(), String> {
        Err("it is forbidden here; allowing it allows it".to_owned())
    }

    #[test]
    fn the_best_that_works_is_chosen() {
        assert_eq!(select_backend_with(BackendChoice::Auto, || Ok(())), Ok((Backend::Uring, None)));
        assert_eq!(
            select_backend_with(BackendChoice::Uring, || Ok(())),
            Ok((Backend::Uring, None))
        );
        assert_eq!(
            select_backend_with(BackendChoice::Auto, refused),
            Ok((Backend::Poll, refused().err()))
        );
    }

    #[test]
    fn a_demand_is_not_replaced() {
        let error = select_backend_with(BackendChoice::Uring, refused).unwrap_err();
        assert_eq!(error.to_string(), refused().unwrap_err());
        let never = || panic!("poll needs no probe");
        assert_eq!(select_backend_with(BackendChoice::Poll, never), Ok((Backend::Poll, None)));
    }

    #[test]
    fn the_machine_gives_an_answer() {
        let (backend, reason) = select_backend(BackendChoice::Auto).unwrap();
        assert_eq!(cfg!(target_os = "linux") && backend == Backend::Poll, reason.is_some());
    }

    #[test]
    fn names_are_read_as_written() {
        for choice in [BackendChoice::Auto, BackendChoice::Uring, BackendChoice::Poll] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!("epoll".parse::<BackendChoice>().is_err());
    }
}
