//! Cost of the way from an event's name to its targets, with 1 to 100,000 patterns.
//!
//! - `cached`: [`Routes::find`] of a name that was seen before, which is what a
//!   run of frames costs.
//! - `trie`: [`Search::run`], which is what the first event of a name costs
//!   after any change of subscriptions.
//! - `none`: the same two of a name that no pattern matches. An emitter to nobody
//!   must not pay for other people's patterns.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

use netcluster::internals::{Budget, CacheShare, Effort, Routes, Search, ShardId, Target, Trie};
use netcluster_platform::Conn;
use netcluster_wire::Pattern;

const SEED: u64 = 1;
const PATTERNS: [usize; 4] = [1, 100, 10_000, 100_000];

const CASES: [Case; 3] = [
    Case {
        title: "literal",
        pattern: |at| format!("plant.hall{}.sensor{at}", at % 100),
        name: |at| format!("plant.hall{}.sensor{at}", at % 100),
    },
    Case {
        title: "one wildcard",
        pattern: |at| format!("plant.*.sensor{at}"),
        name: |at| format!("plant.hall7.sensor{at}"),
    },
    Case {
        title: "many wildcard",
        pattern: |at| format!("plant.hall{at}.**"),
        name: |at| format!("plant.hall{at}.sensor.temperature"),
    },
];

const NOBODY: &[u8] = b"plant.hall7.door";

/// Distinct patterns, each of another client, and a name that one of them
/// matches.
struct Case {
    title: &'static str,
    pattern: fn(usize) -> String,
    name: fn(usize) -> String,
}

fn target(client: usize) -> Target {
    Target { shard: ShardId(0), conn: Conn(client as u32), client: client as u32 }
}

fn listeners(case: &Case, count: usize) -> impl Iterator<Item = (Pattern, Target)> {
    let pattern = case.pattern;
    (0..count)
        .map(move |at| (Pattern::new(pattern(at).as_bytes()).expect("a good pattern"), target(at)))
}

fn routes(case: &Case, count: usize) -> Routes {
    let (budget, share) = (Budget::new(usize::MAX), CacheShare::new(usize::MAX));
    let mut routes = Routes::new(SEED, None, &budget, &share);
    for (pattern, target) in listeners(case, count) {
        routes.insert(&pattern, target);
    }
    routes
}

fn trie(case: &Case, count: usize) -> Trie {
    let mut trie = Trie::new(SEED);
    for (pattern, target) in listeners(case, count) {
        trie.insert(&pattern, target);
    }
    trie
}

fn heard(criterion: &mut Criterion) {
    for case in &CASES {
        let mut group = criterion.benchmark_group(format!("routes/{}", case.title));
        for count in PATTERNS {
            let name = (case.name)(count / 2).into_bytes();
            let mut routes = routes(case, count);
            let id = routes.find(&name, &mut Effort::default()).expect("a good name");
            assert_eq!(routes.get(id).clients(), [target(count / 2)]);
            group.bench_function(BenchmarkId::new("cached", count), |bencher| {
                let mut effort = Effort::default();
                bencher.iter(|| routes.find(black_box(&name), &mut effort));
            });
            let mut trie = trie(case, count);
            let mut search = Search::default();
            group.bench_function(BenchmarkId::new("trie", count), |bencher| {
                bencher.iter(|| search.run(&mut trie, black_box(&name)).len());
            });
        }
        group.finish();
    }
}

fn unheard(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routes/none of 100000");
    let count = PATTERNS[PATTERNS.len() - 1];
    for case in &CASES[..2] {
        let mut routes = routes(case, count);
        let id = routes.find(NOBODY, &mut Effort::default()).expect("a good name");
        assert!(routes.get(id).clients().is_empty());
        group.bench_function(BenchmarkId::new("cached", case.title), |bencher| {
            let mut effort = Effort::default();
            bencher.iter(|| routes.find(black_box(NOBODY), &mut effort));
        });
        let mut trie = trie(case, count);
        let mut search = Search::default();
        group.bench_function(BenchmarkId::new("trie", case.title), |bencher| {
            bencher.iter(|| search.run(&mut trie, black_box(NOBODY)).len());
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = heard, unheard
}
criterion_main!(benches);
