//! Values with a unit or a form of their own, as written on the command line and
//! in the configuration file. Here they are read; whether they are in range is
//! for the broker to say.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use netcluster::SharedMemory;
use netcluster_platform::{BackendChoice, Group};
use serde::de::{Error, Visitor};

/// Most digits of a time behind its dot.
const MAX_FRACTION_DIGITS: usize = 6;

/// A number of bytes: `65536`, `64KiB`, `8MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let (number, unit) = split_unit(text);
        let factor: usize = match unit {
            "" | "B" => 1,
            "KiB" | "K" | "k" => 1 << 10,
            "MiB" | "M" => 1 << 20,
            "GiB" | "G" => 1 << 30,
            _ => return Err("write bytes, or a number with KiB, MiB or GiB: 8MiB".into()),
        };
        let number: usize = number
            .parse()
            .map_err(|_| "write a whole number of bytes, KiB, MiB or GiB: 8MiB".to_owned())?;
        number.checked_mul(factor).map(Size).ok_or_else(|| "too large".to_owned())
    }
}

/// A time: `100us`, `500ms`, `0.5s`, `2min`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Period, String> {
        let (number, unit) = split_unit(text);
        // `1.5s` is 1 s and 5 tenths of one, so that no rounding comes in.
        let (fraction, unit) = match unit.strip_prefix('.') {
            Some(rest) => split_unit(rest),
            None => ("", unit),
        };
        let wrong = || "write a number with us, ms, s, min or h: 500ms, 0.5s".to_owned();
        let micros: u64 = match unit {
            "us" | "µs" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "min" | "m" => 60_000_000,
            "h" => 3_600_000_000,
            _ => return Err(wrong()),
        };
        let whole: u64 = number.parse().map_err(|_| wrong())?;
        let whole = whole.checked_mul(micros).ok_or_else(|| "too long".to_owned())?;
        let part = match fraction.len() {
            0 if text.contains('.') => return Err(wrong()),
            0 => 0,
            digits @ 1..=MAX_FRACTION_DIGITS => {
                let numerator = fraction.parse::<u64>().map_err(|_| wrong())? * micros;
                let denominator = 10_u64.pow(digits as u32);
                if !numerator.is_multiple_of(denominator) {
                    return Err("a microsecond is the finest".to_owned());
                }
                numerator / denominator
            }
            _ => return Err(format!("write at most {MAX_FRACTION_DIGITS} digits behind the dot")),
        };
        Ok(Period(Duration::from_micros(whole.saturating_add(part))))
    }
}

/// A [`Period`] for an argument that is a plain duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    text.parse().map(|period: Period| period.0)
}

/// A number, and what follows it.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Permissions of a file, in octal: `0660`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if mode <= 0o777 && !digits.starts_with('+') => Ok(Mode(mode)),
            _ => Err("write permissions in octal, at most 0777: 0660".into()),
        }
    }
}

/// A node's number in hexadecimal, as `status` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(pub u32);

impl FromStr for NodeId {
    type Err = String;

    fn from_str(text: &str) -> Result<NodeId, String> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        match u32::from_str_radix(digits, 16) {
            Ok(node) if node != 0 && !digits.starts_with('+') => Ok(NodeId(node)),
            _ => Err("write 1 to 8 hexadecimal digits, not all zero: 0a1b2c3d".into()),
        }
    }
}

/// A group by name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketGroup(pub Group);

impl FromStr for SocketGroup {
    type Err = String;

    fn from_str(text: &str) -> Result<SocketGroup, String> {
        if text.is_empty() {
            return Err("write a group's name or number".into());
        }
        let group = text.parse().map_or_else(|_| Group::Name(text.to_owned()), Group::Id);
        Ok(SocketGroup(group))
    }
}

/// A channel's name, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel(pub String);

impl FromStr for Channel {
    type Err = String;

    fn from_str(text: &str) -> Result<Channel, String> {
        match netcluster_wire::name::check_channel(text.as_bytes()) {
            Ok(name) => Ok(Channel(name.to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A log filter: a level, or `tracing` directives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(pub String);

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<LogFilter, String> {
        // A lone word that is no level would be taken for a module's name, and
        // nothing would be logged.
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let good = levels.contains(&text)
            || text.contains('=') && tracing_subscriber::EnvFilter::try_new(text).is_ok();
        good.then(|| LogFilter(text.to_owned()))
            .ok_or_else(|| format!("write one of {}", levels.join(", ")))
    }
}

/// Name of a back end, or of the choice between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// io_uring where it is allowed, else poll
    Auto,
    /// io_uring or nothing (Linux)
    Uring,
    /// epoll or kqueue
    Poll,
}

/// Choice whether memory is shared with clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SharedMemoryName {
    /// With clients that can and that move more than a few bytes (Linux)
    Auto,
    /// Sockets do all the work
    Off,
}

impl SharedMemoryName {
    /// Choice for the broker.
    pub fn choice(self) -> SharedMemory {
        match self {
            SharedMemoryName::Auto => SharedMemory::Auto,
            SharedMemoryName::Off => SharedMemory::Off,
        }
    }
}

impl BackendName {
    /// Choice for the platform.
    pub fn choice(self) -> BackendChoice {
        match self {
            BackendName::Auto => BackendChoice::Auto,
            BackendName::Uring => BackendChoice::Uring,
            BackendName::Poll => BackendChoice::Poll,
        }
    }
}

impl FromStr for SharedMemoryName {
    type Err = String;

    fn from_str(text: &str) -> Result<SharedMemoryName, String> {
        <SharedMemoryName as ValueEnum>::from_str(text, false)
            .map_err(|_| "write auto or off".to_owned())
    }
}

impl FromStr for BackendName {
    type Err = String;

    fn from_str(text: &str) -> Result<BackendName, String> {
        <BackendName as ValueEnum>::from_str(text, false)
            .map_err(|_| "write auto, uring or poll".to_owned())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size(bytes) = *self;
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if bytes > 0 && bytes.trailing_zeros() >= shift {
                return write!(formatter, "{}{unit}", bytes >> shift);
            }
        }
        write!(formatter, "{bytes}B")
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        for (factor, unit) in [(60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")] {
            if micros > 0 && micros.is_multiple_of(factor) {
                return write!(formatter, "{}{unit}", micros / factor);
            }
        }
        write!(formatter, "{micros}us")
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

impl fmt::Display for SocketGroup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Group::Id(number) => write!(formatter, "{number}"),
            Group::Name(name) => formatter.write_str(name),
        }
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            BackendName::Auto => "auto",
            BackendName::Uring => "uring",
            BackendName::Poll => "poll",
        })
    }
}

impl fmt::Display for SharedMemoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            SharedMemoryName::Auto => "auto",
            SharedMemoryName::Off => "off",
        })
    }
}

/// Reads a value from a string of the file, or a number where that is unambiguous.
pub struct Written<T> {
    /// Whether a number will do.
    pub numbers: bool,
    /// Type that is read.
    pub value: std::marker::PhantomData<T>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.numbers { "a string or a number" } else { "a string" })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        if !self.numbers {
            return Err(E::invalid_type(serde::de::Unexpected::Signed(number), &self));
        }
        number.to_string().parse().map_err(E::custom)
    }
}

/// Lets types be read from the file as they are written on the command line, and be written
/// so.
macro_rules! read_from_file {
    ($($type:ty, numbers: $numbers:literal;)*) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                let written = $crate::cli::values::Written {
                    numbers: $numbers,
                    value: std::marker::PhantomData,
                };
                deserializer.deserialize_any(written)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

pub(super) use read_from_file;

read_from_file! {
    Size, numbers: true;
    SocketGroup, numbers: true;
    // 660 as a decimal number is not what anybody means, and 5 has no unit.
    Mode, numbers: false;
    Period, numbers: false;
    NodeId, numbers: false;
    LogFilter, numbers: false;
    BackendName, numbers: false;
    SharedMemoryName, numbers: false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        let size = |text: &str| text.parse::<Size>().map(|size| size.0).ok();
        assert_eq!(size("123"), Some(123));
        assert_eq!(size("64KiB"), Some(64 << 10));
        assert_eq!(size("8 MiB"), Some(8 << 20));
        assert_eq!(size("1GiB"), Some(1 << 30));
        for bad in ["", "MiB", "-1", "1.5MiB", "8MB", "99999999999999999999", "20000000000GiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        let period = |text: &str| text.parse::<Period>().map(|period| period.0).ok();
        assert_eq!(period("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(period("5s"), Some(Duration::from_secs(5)));
        assert_eq!(period("2min"), Some(Duration::from_secs(120)));
        assert_eq!(period("7us"), Some(Duration::from_micros(7)));
        assert_eq!(period("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(period("2m"), Some(Duration::from_secs(120)));
        assert_eq!(period("0.5s"), Some(Duration::from_millis(500)));
        assert_eq!(period("1.25 min"), Some(Duration::from_secs(75)));
        assert_eq!(period("0.000001s"), Some(Duration::from_micros(1)));
        let bad = ["", "5", "1.5", "s", ".s", "1.s", ".5s", "1.5.5s", "1,5s", "-1s", "+1s", "1e3s"];
        let long = ["99999999999999999min", "0.0000001s", "0.5us", "0.0001ms", "9999999999h"];
        for bad in bad.into_iter().chain(long) {
            assert_eq!(period(bad), None, "{bad}");
        }
    }

    #[test]
    fn modes_are_octal_permissions_and_nothing_else() {
        let mode = |text: &str| text.parse::<Mode>().map(|mode| mode.0).ok();
        assert_eq!(mode("0660"), Some(0o660));
        assert_eq!(mode("666"), Some(0o666));
        assert_eq!(mode("0o600"), Some(0o600));
        for bad in ["", "8", "rw", "+660", "4777", "-1"] {
            assert_eq!(mode(bad), None, "{bad}");
        }
    }

    #[test]
    fn nodes_are_hexadecimal_and_not_zero() {
        let node = |text: &str| text.parse::<NodeId>().map(|node| node.0).ok();
        assert_eq!(node("0a1b2c3d"), Some(0x0a1b_2c3d));
        assert_eq!(node("0xff"), Some(255));
        for bad in ["", "0", "xyz", "+1", "123456789"] {
            assert_eq!(node(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_filter_that_would_log_nothing_by_mistake_is_refused() {
        for good in ["off", "debug", "netcluster=trace"] {
            assert!(good.parse::<LogFilter>().is_ok(), "{good}");
        }
        for bad in ["", "loud", "netcluster=loud"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad}");
        }
    }
}
