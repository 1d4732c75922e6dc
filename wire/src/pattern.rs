//! Patterns, which listeners match event names with.
//!
//! A pattern is a name whose tokens may be `*` (exactly one token) or `**` (any
//! number of tokens, also none): `a.**` matches `a`, `a.b` and `a.b.c`.
//!
//! [`Pattern::matches`] is the definition: a plain loop over one pattern. The
//! broker's trie is tested against it.
//!
//! Decision: `docs/decisions/044-foreign-wildcards-refused.md`.

mod cover;

use std::fmt;

use crate::limits::MAX_DEEP_WILDCARDS;
use crate::name::{NameError, check_channel, tokens};

/// The token that matches exactly one token.
pub const ONE: &[u8] = b"*";
/// The token that matches any number of tokens, also none.
pub const MANY: &[u8] = b"**";

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Box<str>);

/// Reason for which a pattern is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// The pattern is not even a name.
    Name(NameError),
    /// The pattern has more than four `**`.
    TooManyDeepWildcards,
    /// The pattern has a wildcard as other systems write it, which would match nothing
    /// but itself.
    Foreign(ForeignWildcard),
}

/// Wildcards of other systems. No token of a pattern looks like one: who writes it means
/// what it means there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignWildcard {
    /// `>` or `#`, the rest of a name.
    Rest,
    /// `+`, one token.
    Single,
    /// `*` as a part of a token: the rest of that token.
    Glob,
    /// A wildcard between slashes.
    Slashes,
}

impl fmt::Display for ForeignWildcard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ForeignWildcard::Rest => {
                "`>` and `#` are no wildcards here: `**` is any number of tokens"
            }
            ForeignWildcard::Single => "`+` is no wildcard here: `*` is one token",
            ForeignWildcard::Glob => {
                "`*` stands for a whole token between dots, and `**` for any number of them; a \
                 part of a token cannot be left open"
            }
            ForeignWildcard::Slashes => {
                "tokens have dots between them, not slashes: `*` is one token and `**` any number \
                 of them"
            }
        })
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::Name(error) => error.fmt(formatter),
            PatternError::TooManyDeepWildcards => {
                write!(formatter, "a pattern can hold at most {MAX_DEEP_WILDCARDS} `**` tokens")
            }
            PatternError::Foreign(wildcard) => wildcard.fmt(formatter),
        }
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    /// Checks `pattern`.
    ///
    /// # Errors
    /// The reason for which the pattern is refused.
    pub fn new(pattern: &[u8]) -> Result<Pattern, PatternError> {
        let text = check_channel(pattern).map_err(PatternError::Name)?;
        if tokens(pattern).filter(|&token| token == MANY).count() > MAX_DEEP_WILDCARDS {
            return Err(PatternError::TooManyDeepWildcards);
        }
        match tokens(pattern).find_map(foreign) {
            Some(wildcard) => Err(PatternError::Foreign(wildcard)),
            None => Ok(Pattern(text.into())),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has no wildcard, so that it matches just its own name.
    pub fn is_literal(&self) -> bool {
        tokens(self.0.as_bytes()).all(|token| token != ONE && token != MANY)
    }

    /// Whether `name` matches. Linear in the name's length, up to four times.
    pub fn matches(&self, name: &[u8]) -> bool {
        // The tokens that could come next, as indices: a small set, walked once
        // per token of the name, so that no input can make it back-track.
        let pattern: Vec<&[u8]> = tokens(self.0.as_bytes()).collect();
        let mut states = vec![false; pattern.len() + 1];
        enter(&pattern, &mut states, 0);
        for token in tokens(name) {
            let mut next = vec![false; pattern.len() + 1];
            for (index, &part) in pattern.iter().enumerate() {
                if !states[index] {
                    continue;
                }
                if part == MANY {
                    enter(&pattern, &mut next, index);
                } else if part == ONE || part == token {
                    enter(&pattern, &mut next, index + 1);
                }
            }
            states = next;
        }
        states[pattern.len()]
    }
}

/// Recognises a token that is a wildcard elsewhere and none here.
fn foreign(token: &[u8]) -> Option<ForeignWildcard> {
    let open = |part: &[u8]| matches!(part, b"*" | b"**" | b"#" | b"+" | b">");
    match token {
        ONE | MANY => None,
        b">" | b"#" => Some(ForeignWildcard::Rest),
        b"+" => Some(ForeignWildcard::Single),
        _ if token.contains(&b'/') && token.split(|&byte| byte == b'/').any(open) => {
            Some(ForeignWildcard::Slashes)
        }
        _ => token.contains(&b'*').then_some(ForeignWildcard::Glob),
    }
}

/// Marks a state and those that `**` matching nothing leads to.
fn enter(pattern: &[&[u8]], states: &mut [bool], index: usize) {
    states[index] = true;
    if pattern.get(index) == Some(&MANY) {
        enter(pattern, states, index + 1);
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern.as_bytes()).unwrap().matches(name.as_bytes())
    }

    #[test]
    fn a_literal_matches_itself_alone() {
        assert!(matches("a.b", "a.b"));
        assert!(!matches("a.b", "a"));
        assert!(!matches("a.b", "a.b.c"));
        assert!(Pattern::new(b"a.b").unwrap().is_literal());
    }

    #[test]
    fn one_star_is_exactly_one_token() {
        assert!(matches("a.*", "a.b"));
        assert!(!matches("a.*", "a"));
        assert!(!matches("a.*", "a.b.c"));
        assert!(matches("*", ""));
        assert!(matches("*.*", "."));
    }

    #[test]
    fn two_stars_are_any_number_also_none() {
        for name in ["a", "a.b", "a.b.c"] {
            assert!(matches("a.**", name));
            assert!(matches("**", name));
        }
        assert!(matches("**.c", "a.b.c"));
        assert!(matches("**.c", "c"));
        assert!(!matches("**.c", "c.d"));
        assert!(matches("a.**.z", "a.z"));
        assert!(matches("a.**.*.z", "a.b.z"));
        assert!(!matches("a.**.*.z", "a.z"));
    }

    #[test]
    fn wildcards_of_other_systems_are_refused_with_what_to_write() {
        let refused = |pattern: &str| match Pattern::new(pattern.as_bytes()) {
            Err(PatternError::Foreign(wildcard)) => wildcard,
            other => panic!("{pattern}: {other:?}"),
        };
        for pattern in ["log.>", ">", "log.#", "#", "#.x"] {
            assert_eq!(refused(pattern), ForeignWildcard::Rest, "{pattern}");
        }
        for pattern in ["log.+.x", "+"] {
            assert_eq!(refused(pattern), ForeignWildcard::Single, "{pattern}");
        }
        for pattern in ["log*", "a.*b", "a.b*.c", "***", "*log"] {
            assert_eq!(refused(pattern), ForeignWildcard::Glob, "{pattern}");
        }
        for pattern in ["log/#", "log/+/x", "log/*", "#/x", "log/>"] {
            assert_eq!(refused(pattern), ForeignWildcard::Slashes, "{pattern}");
        }
        for pattern in ["c#.x", "a+b", "a/b", "x>y", "a.*.b", "**", "/", "log.##"] {
            assert!(Pattern::new(pattern.as_bytes()).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn too_many_deep_wildcards_are_refused() {
        assert!(Pattern::new(b"**.a.**.b.**.c.**").is_ok());
        assert_eq!(Pattern::new(b"**.**.**.**.**"), Err(PatternError::TooManyDeepWildcards));
        assert!(matches!(Pattern::new(b""), Err(PatternError::Name(NameError::Empty))));
    }
}
