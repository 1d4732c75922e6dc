//! The queues towards clients: runs pushed to 1, 8 and 64 of them, one
//! gather-write each.
//!
//! No IO: the gather list is walked as a back end walks it.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use netcluster::internals::{Budget, Outbound};
use netcluster_platform::Slice;
use netcluster_wire::{Kind, Source, frame};

const SOURCE: Source = Source { node: 1, client: 7 };
const CHUNK_BYTES: usize = 64 << 10;
/// Runs that are pushed between two sends: as many as one gather-write takes.
const RUNS: usize = 64;
/// Limit of a queue, far above what is queued.
const LIMIT_BYTES: usize = 8 << 20;

/// Makes a chunk of whole frames of 16 B; returns also the length of one frame.
fn chunk() -> (Bytes, usize) {
    let one = frame::encode(Kind::Event, SOURCE, 1, b"tick", &[7; 16]);
    let frames = CHUNK_BYTES / one.len();
    (Bytes::from(one.repeat(frames)), one.len())
}

/// Makes `RUNS` runs of a chunk; with a frame between each two if `apart`, which is what
/// other names between them leave.
fn runs(apart: bool) -> Vec<Slice> {
    let (chunk, frame_bytes) = chunk();
    let run_bytes = chunk.len() / frame_bytes / RUNS * frame_bytes;
    let gap = if apart { frame_bytes } else { 0 };
    (0..RUNS)
        .map(|at| Slice::pooled(chunk.clone(), at * run_bytes, (at + 1) * run_bytes - gap))
        .collect()
}

fn push_and_send(criterion: &mut Criterion) {
    for (title, apart) in [("runs that join", false), ("runs apart", true)] {
        let runs = runs(apart);
        let mut group = criterion.benchmark_group(format!("fan_out/{title}"));
        for count in [1, 8, 64] {
            let mut queues: Vec<Outbound> =
                (0..count).map(|_| Outbound::new(LIMIT_BYTES, &Budget::new(usize::MAX))).collect();
            group.throughput(Throughput::Elements((RUNS * count) as u64));
            group.bench_function(BenchmarkId::new("queues", count), |bencher| {
                bencher.iter(|| {
                    for run in &runs {
                        for queue in &mut queues {
                            queue.push(run);
                        }
                    }
                    for queue in &mut queues {
                        let first = queue.start_send().map_or(0, |it| it.len());
                        let rest: usize = queue.whole_slices().map(|it| black_box(it).len()).sum();
                        queue.sent(first + rest, false);
                    }
                });
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = push_and_send
}
criterion_main!(benches);
