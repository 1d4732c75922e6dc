//! Cost of the queue towards one client besides pushing and sending, which `fan_out`
//! measures over many queues.
//!
//! - `sent in parts`: the socket takes a part of each gather-write, as one does
//!   that is nearly full, so that the next one begins within a slice.
//! - `pieces`: events that lay in several chunks, which never join.
//! - `copy_out`: what moves from receive buffers to memory of its own when these
//!   run short.
//! - `drop_oldest`: what a `latest` queue pays for every push beyond its mark.
//!
//! No IO: the gather list is walked as a back end walks it.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use netcluster::internals::{Budget, Copies, Outbound};
use netcluster_platform::Slice;
use netcluster_wire::{Kind, Source, frame};

const SOURCE: Source = Source { node: 1, client: 7 };
const CHUNK_BYTES: usize = 64 << 10;
/// Runs that are pushed between two sends: as many as one gather-write takes.
const RUNS: usize = 64;
/// Limit of a queue, far above what is queued.
const LIMIT_BYTES: usize = 8 << 20;
/// Limit of the `latest` queue, in bytes.
const LATEST_LIMIT_BYTES: usize = 256 << 10;

/// Makes a chunk of whole frames of 16 B; returns also the length of one frame.
fn chunk() -> (Bytes, usize) {
    let one = frame::encode(Kind::Event, SOURCE, 1, b"tick", &[7; 16]);
    let frames = CHUNK_BYTES / one.len();
    (Bytes::from(one.repeat(frames)), one.len())
}

/// Makes `RUNS` runs of a chunk with a frame between each two, so that the runs do not
/// join.
fn runs() -> Vec<Slice> {
    let (chunk, frame_bytes) = chunk();
    let run_bytes = chunk.len() / frame_bytes / RUNS * frame_bytes;
    let run = |at| (at * run_bytes, (at + 1) * run_bytes - frame_bytes);
    (0..RUNS).map(run).map(|(start, end)| Slice::pooled(chunk.clone(), start, end)).collect()
}

/// Sends by gather-writes of which the socket takes `percent`, until nothing is left.
fn send_all(queue: &mut Outbound, percent: usize) {
    while queue.can_send() {
        let first = queue.start_send().map_or(0, |it| it.len());
        let rest: usize = queue.whole_slices().map(|it| black_box(it).len()).sum();
        queue.sent(((first + rest) * percent).div_ceil(100), false);
    }
}

fn send_in_parts(criterion: &mut Criterion) {
    let runs = runs();
    let mut group = criterion.benchmark_group("queue/runs apart, sent");
    group.throughput(Throughput::Elements(RUNS as u64));
    for (title, percent) in [("whole", 100), ("in parts of 70 %", 70)] {
        let mut queue = Outbound::new(LIMIT_BYTES, &Budget::new(usize::MAX));
        group.bench_function(title, |bencher| {
            bencher.iter(|| {
                runs.iter().for_each(|run| queue.push(run));
                send_all(&mut queue, percent);
            });
        });
        assert!(queue.is_empty());
    }
    group.finish();
}

fn send_pieces(criterion: &mut Criterion) {
    let event = Bytes::from(frame::encode(Kind::Event, SOURCE, 1, b"tick", &[7; 16 << 10]));
    let mut group = criterion.benchmark_group("queue/pieces of an event");
    for count in [2, 4] {
        let part = event.len() / count;
        let end = |at| if at + 1 == count { event.len() } else { (at + 1) * part };
        let pieces: Vec<Slice> =
            (0..count).map(|at| Slice::pooled(event.clone(), at * part, end(at))).collect();
        let mut queue = Outbound::new(LIMIT_BYTES, &Budget::new(usize::MAX));
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                queue.push_pieces(&pieces);
                send_all(&mut queue, 100);
            });
        });
    }
    group.finish();
}

/// Measures copying out `RUNS` runs of one chunk, held by one queue or by several.
fn copy_out(criterion: &mut Criterion) {
    let runs = runs();
    let budget = Budget::new(LIMIT_BYTES);
    let mut group = criterion.benchmark_group("queue/copy_out");
    for count in [1, 8] {
        let full = || -> Vec<Outbound> {
            let mut queues: Vec<Outbound> =
                (0..count).map(|_| Outbound::new(LIMIT_BYTES, &Budget::new(usize::MAX))).collect();
            for queue in &mut queues {
                runs.iter().for_each(|run| queue.push(run));
            }
            queues
        };
        group.throughput(Throughput::Elements((RUNS * count) as u64));
        group.bench_function(BenchmarkId::new("queues", count), |bencher| {
            bencher.iter_batched(
                full,
                |mut queues| {
                    let mut copies = Copies::new(budget.clone());
                    queues.iter().flat_map(Outbound::pooled).for_each(|slice| copies.note(slice));
                    queues.iter_mut().for_each(|queue| queue.copy_out(&mut copies));
                    queues
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Measures a queue that is never sent from: every push replaces as much as it brings.
fn drop_oldest(criterion: &mut Criterion) {
    let (chunk, frame_bytes) = chunk();
    let mut group = criterion.benchmark_group("queue/drop_oldest, frames per run");
    for frames in [1, 64] {
        let run = Slice::pooled(chunk.clone(), 0, frames * frame_bytes);
        let mut queue = Outbound::new(LATEST_LIMIT_BYTES, &Budget::new(usize::MAX));
        group.throughput(Throughput::Elements(frames as u64));
        group.bench_function(BenchmarkId::from_parameter(frames), |bencher| {
            bencher.iter(|| {
                queue.push(&run);
                if queue.queued_bytes() > queue.limit_bytes() {
                    black_box(queue.drop_oldest(queue.limit_bytes()));
                }
            });
        });
        assert!(queue.dropped > 0, "nothing was measured");
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = send_in_parts, send_pieces, copy_out, drop_oldest
}
criterion_main!(benches);
