//! One own stream of the link: frames in, batches of datagrams out.
//!
//! A step emits one chunk of whole frames, as a receive brings it, and takes the batches;
//! nothing blocks and nobody needs the history. The ring is much larger than the
//! processor's caches share of one core, as it is in a broker.
//!
//! The bench does not measure sending. The last case emits each frame by itself, as many
//! clients that emit now and then do.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use netcluster_link::channel::{ChannelHash, LinkChannel};
use netcluster_link::crypto::{Key, Keys};
use netcluster_link::send::egress::{Egress, EgressConfig};
use netcluster_link::stream::StreamId;
use netcluster_platform::Slice;
use netcluster_wire::{Kind, Source, frame};

/// Bytes that one receive brings at most, but for a frame that is larger.
const CHUNK_BYTES: usize = 64 << 10;
const DATAGRAM_BYTES: usize = 1372;
const HISTORY_BYTES: usize = 8 << 20;
const STREAM: StreamId = StreamId::new(0, 0);

/// Makes a chunk of whole frames, at least one, as many as fit.
fn chunk(payload_bytes: usize) -> (Slice, usize) {
    let payload = vec![7; payload_bytes];
    let (mut bytes, mut frames) = (Vec::new(), 0);
    loop {
        let before = bytes.len();
        let source = Source { node: 1, client: 7 };
        frame::append(&mut bytes, Kind::Event, source, frames as u64, b"tick", &payload);
        if bytes.len() > CHUNK_BYTES && frames > 0 {
            bytes.truncate(before);
            return (Slice::from(Bytes::from(bytes)), frames);
        }
        frames += 1;
    }
}

/// Cuts a chunk into its frames.
fn singles(chunk: &Slice, frames: usize) -> Vec<Slice> {
    let bytes = chunk.len() / frames;
    (0..frames).map(|at| Slice::new(chunk.chunk().clone(), at * bytes, (at + 1) * bytes)).collect()
}

fn stream(keys: &Keys) -> Egress {
    let mut egress = Egress::new(
        STREAM,
        &EgressConfig {
            datagram_bytes: DATAGRAM_BYTES,
            history_bytes: HISTORY_BYTES,
            session: *b"session of bench",
            keys: keys.clone(),
        },
    );
    egress.set_needed(u64::MAX);
    egress
}

fn drain(egress: &mut Egress) {
    while let Some(batch) = egress.next_batch(u64::MAX, usize::MAX) {
        black_box(batch.bytes);
    }
}

fn emit_and_take(criterion: &mut Criterion) {
    let channel = Arc::new(LinkChannel {
        name: "bench".into(),
        hash: ChannelHash::of("bench"),
        stream: STREAM,
    });
    let links = [("open", Keys::open_link()), ("sealed", Keys::new(vec![Key::new([3; 32])]))];
    for payload_bytes in [16, 64, 1 << 10, 64 << 10] {
        let mut group = criterion.benchmark_group(format!("link_egress/{payload_bytes} B"));
        let (chunk, frames) = chunk(payload_bytes);
        let run = [chunk.clone()];
        let singles = singles(&chunk, frames);
        let throughput =
            Throughput::ElementsAndBytes { elements: frames as u64, bytes: chunk.len() as u64 };
        group.throughput(throughput);
        for (title, keys) in &links {
            let mut egress = stream(keys);
            group.bench_function(BenchmarkId::from_parameter(title), |bencher| {
                bencher.iter(|| {
                    egress.emit(&channel, &run, frames);
                    drain(&mut egress);
                });
            });
        }
        let mut egress = stream(&links[0].1);
        group.bench_function(BenchmarkId::from_parameter("open, one by one"), |bencher| {
            bencher.iter(|| {
                for single in &singles {
                    egress.emit(&channel, std::slice::from_ref(single), 1);
                }
                drain(&mut egress);
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = emit_and_take
}
criterion_main!(benches);
