//! The whole broker over the simulator: bytes that an emitter writes until all
//! listeners have read them.
//!
//! All shards are stepped on one thread, so two shards show what crossing costs
//! and not what a second core gains. The simulator copies each byte in once and
//! out once per listener; `relay` is the same simulator without a broker, for
//! comparison.

mod support;

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};

use support::{Bed, Block, Relay, names, repeat};

/// Allocator, the same as in the binaries.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENT: &str = "tick";

/// Sets what is counted: frames per second as the listeners see them.
fn throughput(group: &mut BenchmarkGroup<'_, WallTime>, delivered: u64) {
    group.throughput(Throughput::Elements(delivered));
}

fn one_name(criterion: &mut Criterion) {
    for payload_bytes in [16, 1 << 10] {
        for listeners in [1, 8] {
            let title = format!("shard/1→{listeners}, {payload_bytes} B");
            let mut group = criterion.benchmark_group(title);
            for shards in [1, 2] {
                let mut bed = Bed::new(shards, &repeat(EVENT, listeners));
                let block = Block::new(bed.emitter.source, &[EVENT.to_owned()], payload_bytes);
                throughput(&mut group, block.frames * listeners as u64);
                let expected = block.bytes.len() * listeners;
                group.bench_function(format!("shards: {shards}"), |bencher| {
                    bencher.iter(|| bed.pass(&block.bytes, expected));
                });
            }
            let mut relay = Relay::new(listeners);
            let source = netcluster_wire::Source { node: 1, client: 1 };
            let block = Block::new(source, &[EVENT.to_owned()], payload_bytes);
            let expected = block.bytes.len() * listeners;
            group.bench_function("relay", |bencher| {
                bencher.iter(|| relay.pass(&block.bytes, expected));
            });
            group.finish();
        }
    }
}

fn many_names(criterion: &mut Criterion) {
    let names = names(1000);
    let mut group = criterion.benchmark_group("shard/1000 names in turn, 64 B");
    for shards in [1, 2] {
        let cases = [
            ("one listener to all", vec!["sensor.*".to_owned()]),
            ("a listener each", names.clone()),
        ];
        for (title, patterns) in cases {
            let mut bed = Bed::new(shards, &patterns);
            let block = Block::of_rounds(bed.emitter.source, &names, 64);
            throughput(&mut group, block.frames);
            group.bench_function(format!("{title}, shards: {shards}"), |bencher| {
                bencher.iter(|| bed.pass(&block.bytes, block.bytes.len()));
            });
        }
    }
    let mut bed = Bed::new(1, &[]);
    let block = Block::of_rounds(bed.emitter.source, &names, 64);
    throughput(&mut group, block.frames);
    group.bench_function("nobody listens, shards: 1", |bencher| {
        bencher.iter(|| bed.swallow(&block.bytes));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = one_name, many_names
}
criterion_main!(benches);
