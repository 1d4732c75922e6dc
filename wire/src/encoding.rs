//! The encoding of an event's payload: what its emitter says that it is.
//!
//! ```text
//!   flags   7 6   5 4        3   2 1 0
//!           zero  encoding  zero  padding
//! ```
//! Languages tell their types apart by it. Nobody on the way looks at the payload: a
//! receiver must be prepared for a claim that is wrong.

/// Bits of an event's `flags` that tell the [`Encoding`].
pub const ENCODING_MASK: u8 = 0b11 << ENCODING_SHIFT;
const ENCODING_SHIFT: u32 = 4;

/// The encoding of an event's payload, as its emitter says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// Bytes that mean something to the programs alone.
    #[default]
    Bytes = 0,
    /// Text in UTF-8.
    Text = 1,
    /// A JSON text (RFC 8259) in UTF-8.
    Json = 2,
}

impl Encoding {
    /// All encodings.
    pub const ALL: [Encoding; 3] = [Encoding::Bytes, Encoding::Text, Encoding::Json];

    /// The encoding in an event's `flags`; `None` for the number that is none.
    #[inline]
    pub const fn from_flags(flags: u8) -> Option<Encoding> {
        Some(match (flags & ENCODING_MASK) >> ENCODING_SHIFT {
            0 => Encoding::Bytes,
            1 => Encoding::Text,
            2 => Encoding::Json,
            _ => return None,
        })
    }

    /// The bits that tell this encoding in an event's `flags`.
    #[inline(always)]
    pub const fn flags(self) -> u8 {
        (self as u8) << ENCODING_SHIFT
    }

    /// The name of this encoding, the same in all languages: `bytes`, `text`, `json`.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Bytes => "bytes",
            Encoding::Text => "text",
            Encoding::Json => "json",
        }
    }

    /// The encoding of this name.
    pub fn from_name(name: &str) -> Option<Encoding> {
        Encoding::ALL.into_iter().find(|encoding| encoding.name() == name)
    }
}

impl std::fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_survives_its_flags_and_its_name() {
        for encoding in Encoding::ALL {
            for others in [0, !ENCODING_MASK] {
                assert_eq!(Encoding::from_flags(encoding.flags() | others), Some(encoding));
            }
            assert_eq!(Encoding::from_name(encoding.name()), Some(encoding));
        }
        assert_eq!(Encoding::from_flags(ENCODING_MASK), None);
        assert_eq!(Encoding::from_name("yaml"), None);
    }
}
