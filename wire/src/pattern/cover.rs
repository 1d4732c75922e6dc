//! Containment of patterns: whether one matches every name that another one can match.
//!
//! A token of a name can be one that stands in no pattern. Only wildcards match that, and
//! what they match does not change if the token is another one. So it is enough to look at
//! names in which each wildcard of the other pattern stands for such tokens: `*` for one,
//! `**` for none, one, two, … until more of them make no difference.

use std::collections::BTreeSet;

use super::{MANY, ONE, Pattern, enter};
use crate::name::tokens;

/// Sets of positions that are followed at a time: those of any pattern that somebody would
/// write are a few. With more the answer is that it is not contained.
const MAX_SETS: usize = 1024;

impl Pattern {
    /// Whether it matches every name that `other` can match. For patterns with very many
    /// wildcards the answer may be `false` although it does; it is never `true` although
    /// it does not.
    pub fn covers(&self, other: &Pattern) -> bool {
        let pattern: Vec<&[u8]> = tokens(self.0.as_bytes()).collect();
        // Each is a set of positions that some of the names lead to, and at its end whether
        // these have a token: a name has one at least. All must match.
        let mut start = vec![false; pattern.len() + 2];
        enter(&pattern, &mut start, 0);
        let mut sets = BTreeSet::from([start]);
        for token in tokens(other.0.as_bytes()) {
            sets = match token {
                MANY => match many(&pattern, sets) {
                    Some(sets) => sets,
                    None => return false,
                },
                ONE => sets.iter().map(|set| step(&pattern, set, None)).collect(),
                token => sets.iter().map(|set| step(&pattern, set, Some(token))).collect(),
            };
        }
        sets.iter().all(|set| set[pattern.len()] || !set[pattern.len() + 1])
    }
}

/// Returns the positions behind one more token; none for one that stands in no pattern.
fn step(pattern: &[&[u8]], set: &[bool], token: Option<&[u8]>) -> Vec<bool> {
    let mut next = vec![false; pattern.len() + 2];
    next[pattern.len() + 1] = true;
    for (index, &part) in pattern.iter().enumerate().filter(|(index, _)| set[*index]) {
        if part == MANY {
            enter(pattern, &mut next, index);
        } else if part == ONE || Some(part) == token {
            enter(pattern, &mut next, index + 1);
        }
    }
    next
}

/// Returns the sets behind any number of tokens that stand in no pattern, if they are few
/// enough. From some number on the positions repeat.
fn many(pattern: &[&[u8]], sets: BTreeSet<Vec<bool>>) -> Option<BTreeSet<Vec<bool>>> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<Vec<bool>> = sets.into_iter().collect();
    while let Some(set) = open.pop() {
        if reached.contains(&set) {
            continue;
        }
        open.push(step(pattern, &set, None));
        reached.insert(set);
        if reached.len() > MAX_SETS {
            return None;
        }
    }
    Some(reached)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_pattern_covers_what_is_narrower_and_itself() {
        for (wide, narrow) in [
            ("**", "**"),
            ("**", "a.*.**"),
            ("*", "a"),
            ("a.**", "a"),
            ("a.**", "a.**"),
            ("a.**", "a.*.c.**"),
            ("a.*.**", "a.**.b.*"),
            ("**.a.**", "x.**.a"),
            ("**.**", "**"),
            ("*.**", "**.*"),
            ("**.*", "*.**"),
            ("**.*", "**"),
            ("**.a.**.b", "a.b"),
        ] {
            assert!(pattern(wide).covers(&pattern(narrow)), "{wide} {narrow}");
        }
    }

    #[test]
    fn a_pattern_does_not_cover_what_matches_more() {
        for (narrow, wide) in [
            ("a", "*"),
            ("*", "**"),
            ("a.*", "a.**"),
            ("a.*.**", "a.**"),
            ("**.a", "**"),
            ("a.**.b", "a.**"),
            ("**.a.*.*.*", "**.a.**"),
            ("*.*", "*"),
            ("a.*.b", "a.*.*"),
        ] {
            assert!(!pattern(narrow).covers(&pattern(wide)), "{narrow} {wide}");
        }
    }

    #[test]
    fn hostile_patterns_come_to_an_end() {
        let stars = "*.".repeat(40);
        let nasty = pattern(&format!("**.a.{stars}**.b.{}c", "*.".repeat(20)));
        nasty.covers(&pattern(&format!("**.a.**.{stars}**.b.**")));
        nasty.covers(&nasty);
    }

    fn any_pattern() -> impl Strategy<Value = Pattern> {
        let token = prop::sample::select(vec!["a", "b", "*", "*", "**"]);
        prop::collection::vec(token, 1..6)
            .prop_map(|tokens| tokens.join("."))
            .prop_filter_map("at most four `**`", |text| Pattern::new(text.as_bytes()).ok())
    }

    /// Returns all names of at most so many tokens: `c` stands in no pattern.
    fn names(most: usize) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut last = vec![String::new()];
        for length in 0..most {
            let dot = if length == 0 { "" } else { "." };
            last = last
                .iter()
                .flat_map(|name| ["a", "b", "c"].map(|token| format!("{name}{dot}{token}")))
                .collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Names of up to eight tokens tell all apart that five tokens of a pattern can.
        #[test]
        fn covering_is_what_matching_all_names_is(wide in any_pattern(), narrow in any_pattern()) {
            let all = names(7);
            let matched = all.iter().filter(|name| narrow.matches(name.as_bytes()));
            let expected = matched.clone().all(|name| wide.matches(name.as_bytes()));
            prop_assert_eq!(wide.covers(&narrow), expected, "{} {}", wide, narrow);
        }
    }
}
