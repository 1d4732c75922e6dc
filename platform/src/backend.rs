//! Choice of the back end that shards get.
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
pub enum Choice {
    /// The best that works.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// `poll`.
    Poll,
}

/// Kind of a back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// io_uring.
    Uring,
    /// epoll, kqueue; completion ports on Windows.
    Poll,
}

/// A choice that cannot be met, with the reason and what would allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(String);

/// A name that is no choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownChoice(String);

/// Decides, by trying to set io_uring up once. With [`Kind::Poll`] comes one line
/// for the log when io_uring was wanted: why not, and what would allow it.
///
/// # Errors
/// If io_uring was demanded and cannot be had.
pub fn choose(choice: Choice) -> Result<(Kind, Option<String>), Unavailable> {
    // Where it does not exist nobody misses it.
    if cfg!(not(target_os = "linux")) && choice == Choice::Auto {
        return Ok((Kind::Poll, None));
    }
    choose_with(choice, probe)
}

/// [`choose`] with the probe given: it returns why io_uring cannot be had.
///
/// # Errors
/// As [`choose`].
pub fn choose_with(
    choice: Choice,
    probe: impl FnOnce() -> Result<(), String>,
) -> Result<(Kind, Option<String>), Unavailable> {
    if choice == Choice::Poll {
        return Ok((Kind::Poll, None));
    }
    match (probe(), choice) {
        (Ok(()), _) => Ok((Kind::Uring, None)),
        (Err(reason), Choice::Uring) => Err(Unavailable(reason)),
        (Err(reason), _) => Ok((Kind::Poll, Some(reason))),
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

impl FromStr for Choice {
    type Err = UnknownChoice;

    fn from_str(name: &str) -> Result<Choice, UnknownChoice> {
        match name {
            "auto" => Ok(Choice::Auto),
            "uring" => Ok(Choice::Uring),
            "poll" => Ok(Choice::Poll),
            _ => Err(UnknownChoice(name.to_owned())),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Choice::Auto => "auto",
            Choice::Uring => "uring",
            Choice::Poll => "poll",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Kind::Uring => "uring",
            Kind::Poll => "poll",
        })
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

impl fmt::Display for UnknownChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} is no back end: choose auto, uring or poll", self.0)
    }
}

impl std::error::Error for UnknownChoice {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<(), String> {
        Err("it is forbidden here; allowing it allows it".to_owned())
    }

    #[test]
    fn the_best_that_works_is_chosen() {
        assert_eq!(choose_with(Choice::Auto, || Ok(())), Ok((Kind::Uring, None)));
        assert_eq!(choose_with(Choice::Uring, || Ok(())), Ok((Kind::Uring, None)));
        assert_eq!(choose_with(Choice::Auto, refused), Ok((Kind::Poll, refused().err())));
    }

    #[test]
    fn a_demand_is_not_replaced() {
        let error = choose_with(Choice::Uring, refused).unwrap_err();
        assert_eq!(error.to_string(), refused().unwrap_err());
        let never = || panic!("poll needs no probe");
        assert_eq!(choose_with(Choice::Poll, never), Ok((Kind::Poll, None)));
    }

    #[test]
    fn the_machine_gives_an_answer() {
        let (kind, reason) = choose(Choice::Auto).unwrap();
        assert_eq!(cfg!(target_os = "linux") && kind == Kind::Poll, reason.is_some());
    }

    #[test]
    fn names_are_read_as_written() {
        for choice in [Choice::Auto, Choice::Uring, Choice::Poll] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!("epoll".parse::<Choice>().is_err());
    }
}
