use netcluster_platform::Conn;

use super::search::Search;
use super::*;
use crate::target::ShardId;

fn target(client: u32) -> Target {
    Target { shard: ShardId(0), conn: Conn(client), client }
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text.as_bytes()).unwrap()
}

/// Returns all texts of one to four of these tokens.
fn words(alphabet: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = alphabet.iter().map(|&w| w.to_owned()).collect();
    let mut last = all.clone();
    for _ in 0..3 {
        last = last
            .iter()
            .flat_map(|head| alphabet.iter().map(move |tail| format!("{head}.{tail}")))
            .collect();
        all.extend(last.clone());
    }
    all
}

/// Counts the trie's books anew.
fn check(trie: &Trie) {
    let mut bytes = 0;
    for (id, node) in trie.nodes.iter().enumerate().skip(1) {
        if trie.free.contains(&(id as NodeId)) {
            assert!(node.is_unused());
            continue;
        }
        assert!(!node.is_unused() && node.mergeable().is_none());
        bytes += NODE_BYTES + node.label.len();
        bytes += node.targets.len().saturating_sub(1) * TARGET_BYTES;
    }
    assert_eq!(trie.bytes(), bytes);
}

/// Every name over {a, b} of up to four tokens, some of them empty, against every
/// pattern over {a, *, **}, and as many in slices of one step: the trie and the
/// definition agree.
#[test]
fn it_agrees_with_the_definition() {
    let patterns: Vec<Pattern> =
        words(&["a", "", "*", "**"]).iter().filter(|p| !p.is_empty()).map(|p| pattern(p)).collect();
    let mut trie = Trie::new(1);
    for (client, pattern) in patterns.iter().enumerate() {
        assert!(trie.insert(pattern, target(client as u32)));
    }
    check(&trie);
    let (mut whole, mut sliced) = (Search::default(), Search::default());
    for name in words(&["a", "", "b"]).iter().filter(|name| !name.is_empty()) {
        let found = whole.run(&mut trie, name.as_bytes());
        let found: Vec<u32> = found.iter().map(|target| target.client).collect();
        let expected: Vec<u32> = (0..patterns.len() as u32)
            .filter(|&at| patterns[at as usize].matches(name.as_bytes()))
            .collect();
        assert_eq!(found, expected, "{name}");
        sliced.start(&mut trie, name.as_bytes());
        while !sliced.advance(&mut trie, &mut 1) {}
        assert_eq!(sliced.found(), whole.found(), "{name}");
    }
    for (client, pattern) in patterns.iter().enumerate() {
        assert!(trie.remove(pattern, target(client as u32)));
        assert!(!trie.remove(pattern, target(client as u32)));
    }
    assert!(trie.is_empty());
    assert_eq!(trie.bytes(), 0);
    assert_eq!(trie.free.len() + 1, trie.nodes.len(), "every node but the root is free again");
}

/// Patterns come and go in any order, with those left checked after each step.
#[test]
fn patterns_come_and_go_in_any_order() {
    let patterns: Vec<Pattern> =
        words(&["a", "bc", "*", "**"]).iter().map(|p| pattern(p)).collect();
    let names = words(&["a", "bc"]);
    let mut trie = Trie::new(1);
    let mut there = vec![false; patterns.len()];
    let mut search = Search::default();
    let mut random = 7_u64;
    for step in 0..3000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (random >> 33) as usize % patterns.len();
        let changed = if there[at] {
            trie.remove(&patterns[at], target(at as u32))
        } else {
            trie.insert(&patterns[at], target(at as u32))
        };
        assert!(changed);
        there[at] = !there[at];
        if step % 100 == 0 {
            check(&trie);
            for name in &names {
                let found: Vec<u32> =
                    search.run(&mut trie, name.as_bytes()).iter().map(|it| it.client).collect();
                let expected: Vec<u32> = (0..patterns.len())
                    .filter(|&at| there[at] && patterns[at].matches(name.as_bytes()))
                    .map(|at| at as u32)
                    .collect();
                assert_eq!(found, expected, "{name}");
            }
        }
    }
}

/// What broke: 131,072 patterns match one name, and the shard stood still until all
/// were looked at. A search stops when its allowance is used up.
#[test]
fn a_search_costs_no_more_than_it_is_allowed() {
    const TOKENS: u32 = 15;
    const STEPS: usize = 1000;
    let mut trie = Trie::new(1);
    for bits in 0..1u32 << TOKENS {
        let word = |at| if bits >> at & 1 == 0 { "*" } else { "a" };
        let text = (0..TOKENS).map(word).collect::<Vec<_>>().join(".");
        trie.insert(&pattern(&text), target(bits));
    }
    let mut search = Search::default();
    search.start(&mut trie, ["a"; TOKENS as usize].join(".").as_bytes());
    let mut slices = 1;
    loop {
        let mut steps = STEPS;
        let is_done = search.advance(&mut trie, &mut steps);
        if is_done {
            break;
        }
        assert_eq!(steps, 0);
        slices += 1;
    }
    assert_eq!(search.found().len(), 1 << TOKENS);
    let places = 3 << TOKENS;
    assert!((places / STEPS / 2..=places / STEPS + 2).contains(&slices), "{slices} slices");
}

/// What broke: a pattern of many tokens took a node and a map for each of them, 30 KB
/// for 280 bytes.
#[test]
fn a_pattern_takes_little_more_than_its_text() {
    let mut trie = Trie::new(1);
    let tail = "x.".repeat(120);
    let mut text = 0;
    for number in 0..1000 {
        // Two that part only at their last token, so that one has to be cut.
        for last in ["a", "*"] {
            let pattern = pattern(&format!("{number}.{tail}{last}"));
            text += pattern.as_str().len();
            trie.insert(&pattern, target(number));
        }
    }
    check(&trie);
    assert!(trie.nodes.len() <= 3002, "{} nodes for 2000 patterns", trie.nodes.len());
    assert!(trie.bytes() < 2 * text, "{} bytes for {text}", trie.bytes());
}

/// Memory that a flood took is given back while others listen on.
#[test]
fn the_table_shrinks_when_most_of_it_is_free() {
    let mut trie = Trie::new(1);
    let all: Vec<Pattern> = (0..50_000).map(|number| pattern(&format!("a.{number}.*"))).collect();
    all.iter().for_each(|pattern| assert!(trie.insert(pattern, target(1))));
    let (gone, stay) = all.split_at(49_000);
    gone.iter().for_each(|pattern| assert!(trie.remove(pattern, target(1))));
    assert!(trie.nodes.capacity() < 5_000, "{} nodes of room", trie.nodes.capacity());
    check(&trie);
    let mut search = Search::default();
    assert_eq!(search.run(&mut trie, b"a.49500.x"), [target(1)]);
    assert_eq!(search.run(&mut trie, b"a.500.x"), []);
    stay.iter().for_each(|pattern| assert!(trie.remove(pattern, target(1))));
    assert_eq!(trie.bytes(), 0);
}

#[test]
fn a_target_is_found_once_however_many_of_its_patterns_match() {
    let mut trie = Trie::new(1);
    for text in ["a.b", "a.*", "a.**", "**"] {
        assert!(trie.insert(&pattern(text), target(7)));
        assert!(!trie.insert(&pattern(text), target(7)));
    }
    assert_eq!(Search::default().run(&mut trie, b"a.b"), [target(7)]);
}
