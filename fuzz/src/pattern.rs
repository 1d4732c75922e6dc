//! Patterns: the parser, the definition of a match, and the broker's trie.
//!
//! The first byte says how long the name is, then come the name and patterns
//! between newlines. All of them go into one trie, whose answer must be that of
//! matching each by itself, which must be that of the plainest matcher there is.

use netcluster::internals::{Search, ShardId, Target, Trie};
use netcluster_platform::Conn;
use netcluster_wire::Pattern;
use netcluster_wire::limits::{MAX_DEEP_WILDCARDS, MAX_NAME_BYTES};

use super::choices::Choices;

/// Tokens of a name beyond which the naive matcher would take for ever.
const MAX_NAIVE_TOKENS: usize = 24;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let as_text = choices.chance(128);
    let steps = choices.below(8);
    let name_bytes = choices.below(64);
    let mut name = choices.bytes(name_bytes).to_vec();
    let mut rest = choices.all().to_vec();
    if as_text {
        // A small alphabet, so that random bytes match now and then.
        for byte in name.iter_mut().chain(&mut rest) {
            *byte = b"aab...*\n/#"[usize::from(*byte) % 10];
        }
    }
    let mut trie = Trie::new(1);
    let mut expected = Vec::new();
    let mut inserted = Vec::new();
    for (at, text) in rest.split(|&byte| byte == b'\n').take(64).enumerate() {
        let pattern = Pattern::new(text);
        assert_eq!(pattern.is_ok(), is_good(text));
        let Ok(pattern) = pattern else { continue };
        assert_eq!(pattern.as_str().as_bytes(), text);
        let matches = pattern.matches(&name);
        let (parts, tokens) = (split(text), split(&name));
        if parts.len() + tokens.len() <= MAX_NAIVE_TOKENS {
            assert_eq!(matches, naive(&parts, &tokens));
        }
        if pattern.is_literal() {
            assert_eq!(matches, text == name);
        }
        let target = Target { shard: ShardId(0), conn: Conn(at as u32), client: at as u32 + 1 };
        assert!(trie.insert(&pattern, target));
        assert!(!trie.insert(&pattern, target), "twice is once");
        if matches {
            expected.push(target);
        }
        inserted.push((pattern, target));
    }
    expected.sort_unstable();
    let mut search = Search::default();
    assert_eq!(search.run(&mut trie, &name), expected);
    // The same in slices.
    search.start(&mut trie, &name);
    while !search.advance(&mut trie, &mut { 1 + steps }) {}
    assert_eq!(*search.found(), expected);
    for (pattern, target) in &inserted {
        assert!(trie.remove(pattern, *target));
        assert!(!trie.remove(pattern, *target));
    }
    assert!(trie.is_empty());
}

fn is_good(text: &[u8]) -> bool {
    let deep = split(text).iter().filter(|part| **part == b"**").count();
    (1..=MAX_NAME_BYTES).contains(&text.len())
        && std::str::from_utf8(text).is_ok()
        && deep <= MAX_DEEP_WILDCARDS
        && !split(text).into_iter().any(is_foreign)
}

/// Returns whether a token is a wildcard as other systems write it.
fn is_foreign(token: &[u8]) -> bool {
    let stands_alone = |sign: &[u8]| token.split(|&byte| byte == b'/').any(|part| part == sign);
    token.contains(&b'*') && token != b"*" && token != b"**"
        || [&b">"[..], b"#", b"+"].into_iter().any(stands_alone)
}

fn split(text: &[u8]) -> Vec<&[u8]> {
    text.split(|&byte| byte == b'.').collect()
}

/// Matches as the sentence in PROTOCOL.md says, word by word.
fn naive(pattern: &[&[u8]], name: &[&[u8]]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([first, rest @ ..], _) if *first == b"**" => {
            (0..=name.len()).any(|skip| naive(rest, &name[skip..]))
        }
        ([first, pattern @ ..], [token, name @ ..]) => {
            (*first == b"*" || first == token) && naive(pattern, name)
        }
        _ => false,
    }
}
