//! The framer over chunks of 64 KiB: [`scan::next`] until the chunk is used up, as a
//! connection does.
//!
//! The bench measures neither looking names up nor moving bytes. The chunk stays in the
//! processor's cache, as one does that the kernel has just written.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use netcluster_wire::limits::DEFAULT_MAX_PAYLOAD_BYTES;
use netcluster_wire::scan::{self, Found};
use netcluster_wire::{Kind, Source, frame};

/// Bytes that one receive brings at most.
const CHUNK_BYTES: usize = 64 << 10;
const SOURCE: Source = Source { node: 1, client: 7 };

/// Makes a chunk of whole frames, as many as fit, their names from `names` in turn.
fn chunk(names: &[String], payload_bytes: usize) -> (Vec<u8>, u64) {
    let payload = vec![7; payload_bytes];
    let (mut bytes, mut frames) = (Vec::new(), 0);
    for name in names.iter().cycle() {
        let before = bytes.len();
        frame::append(&mut bytes, Kind::Event, SOURCE, frames + 1, name.as_bytes(), &payload);
        if bytes.len() > CHUNK_BYTES {
            bytes.truncate(before);
            break;
        }
        frames += 1;
    }
    (bytes, frames)
}

/// Walks a chunk; returns how many runs it held.
fn walk(bytes: &[u8]) -> usize {
    let (mut at, mut runs) = (0, 0);
    while at < bytes.len() {
        match scan::next(&bytes[at..], DEFAULT_MAX_PAYLOAD_BYTES) {
            Ok(Found::Run(run)) => at += black_box(run).bytes,
            other => panic!("whole events only: {other:?}"),
        }
        runs += 1;
    }
    runs
}

fn scan_chunks(criterion: &mut Criterion) {
    let numbered = |count: usize| (0..count).map(|at| format!("sensor.{at:04}")).collect();
    let cases: [(&str, Vec<String>); 3] = [
        ("one name", vec!["tick".to_owned()]),
        ("two names in turn", vec!["tick".to_owned(), "tock".to_owned()]),
        ("1000 names in turn", numbered(1000)),
    ];
    for payload_bytes in [16, 1 << 10, 16 << 10] {
        let mut group = criterion.benchmark_group(format!("scan/{payload_bytes} B"));
        for (title, names) in &cases {
            let (bytes, frames) = chunk(names, payload_bytes);
            let throughput =
                Throughput::ElementsAndBytes { elements: frames, bytes: bytes.len() as u64 };
            group.throughput(throughput);
            group.bench_with_input(BenchmarkId::from_parameter(title), &bytes, |bencher, bytes| {
                bencher.iter(|| walk(black_box(bytes)));
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
    targets = scan_chunks
}
criterion_main!(benches);
