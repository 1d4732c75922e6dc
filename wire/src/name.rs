//! Event and channel names: UTF-8, 1 to 255 bytes, tokens separated by `.`.
//!
//! A name may hold any characters and empty tokens; only a token that is `*` or
//! `**` as a whole is refused in an event's name, since it would read as a
//! pattern.

use std::fmt;

use crate::limits::MAX_NAME_BYTES;

/// Separates the tokens of a name.
pub const SEPARATOR: u8 = b'.';

/// Reason for which a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no bytes at all.
    Empty,
    /// The name has so many bytes, more than 255.
    TooLong(usize),
    /// The name is not UTF-8.
    NotUtf8,
    /// A token is `*` or `**`: the name is a pattern.
    Wildcard,
}

impl fmt::Display for NameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => formatter.write_str("a name needs at least one byte"),
            NameError::TooLong(bytes) => {
                write!(formatter, "a name of {bytes} bytes, at most {MAX_NAME_BYTES} are allowed")
            }
            NameError::NotUtf8 => formatter.write_str("a name must be UTF-8"),
            NameError::Wildcard => formatter.write_str(
                "`*` and `**` are for patterns; an event's name cannot hold them as tokens",
            ),
        }
    }
}

impl std::error::Error for NameError {}

/// Checks what all names have in common.
fn check(name: &[u8]) -> Result<&str, NameError> {
    match name.len() {
        0 => Err(NameError::Empty),
        length if length > MAX_NAME_BYTES => Err(NameError::TooLong(length)),
        _ => std::str::from_utf8(name).map_err(|_| NameError::NotUtf8),
    }
}

/// Checks the name of an event that is emitted.
///
/// # Errors
/// The reason for which the name is refused.
pub fn check_event(name: &[u8]) -> Result<&str, NameError> {
    let name = check(name)?;
    if tokens(name.as_bytes()).any(|token| token == b"*" || token == b"**") {
        return Err(NameError::Wildcard);
    }
    Ok(name)
}

/// Checks the name of a channel. Any name will do.
///
/// # Errors
/// The reason for which the name is refused.
pub fn check_channel(name: &[u8]) -> Result<&str, NameError> {
    check(name)
}

/// The tokens of a name or a pattern, in order.
#[inline]
pub fn tokens(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|&byte| byte == SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in ["a", "log", "sensor.1.temp", "größe.λ", "a..b", ".", "a*b", "***"] {
            assert_eq!(check_event(name.as_bytes()), Ok(name));
        }
        assert!(check_event(&[b'x'; 255]).is_ok());
    }

    #[test]
    fn each_bad_name_says_why() {
        assert_eq!(check_event(b""), Err(NameError::Empty));
        assert_eq!(check_event(&[b'x'; 256]), Err(NameError::TooLong(256)));
        assert_eq!(check_event(b"\xff"), Err(NameError::NotUtf8));
        assert_eq!(check_event(b"a.*"), Err(NameError::Wildcard));
        assert_eq!(check_event(b"**"), Err(NameError::Wildcard));
    }
}
