//! Sealing and opening datagrams of a link with a key: AES-256-GCM as the streams and the
//! control datagrams use it, and deriving the keys.
//!
//! What lies around sealing is measured by `link_egress` and `link_ingress`, both sealed
//! and open.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use netcluster_link::crypto::{
    ControlOpener, ControlSealer, Key, Keys, StreamOpener, StreamSealer,
};
use netcluster_link::peer_id::Session;
use netcluster_link::stream::StreamId;
use netcluster_wire::link::limits::{
    CONTROL_HEADER_BYTES, DATA_HEADER_BYTES, MAX_DATAGRAM_BYTES, TAG_BYTES,
};

const SESSION: Session = *b"session of bench";
const STREAM: StreamId = StreamId::new(0, 0);
/// Lengths of bodies, in bytes: of one small event, of a full datagram through Ethernet,
/// of the largest.
const BODIES: [usize; 3] =
    [64, 1372 - DATA_HEADER_BYTES - TAG_BYTES, MAX_DATAGRAM_BYTES - DATA_HEADER_BYTES - TAG_BYTES];
/// Length of the body of a status of few streams, in bytes.
const CONTROL_BODY_BYTES: usize = 64;

fn keys() -> Keys {
    Keys::new(vec![Key::new([3; 32])])
}

fn streams(criterion: &mut Criterion) {
    let (keys, header) = (keys(), [5; DATA_HEADER_BYTES]);
    for body_bytes in BODIES {
        let mut group = criterion.benchmark_group(format!("sealing/{body_bytes} B"));
        group.throughput(Throughput::Bytes(body_bytes as u64));
        let (mut body, mut tag) = (vec![7; body_bytes], [0; TAG_BYTES]);
        let mut sealer = StreamSealer::new(&keys, &SESSION, STREAM);
        let mut number = 0;
        group.bench_function("seal", |bencher| {
            bencher.iter(|| {
                number += 1;
                sealer.seal(number, &header, black_box(&mut body), &mut tag);
            });
        });
        sealer.seal(0, &header, &mut body, &mut tag);
        let mut opener = StreamOpener::new(&keys, &SESSION, STREAM);
        // Opening replaces the body: a fresh copy each time, which is not counted.
        group.bench_function("open", |bencher| {
            bencher.iter_batched_ref(
                || body.clone(),
                |body| opener.open(keys.id(), 0, &header, body, &tag).expect("sealed like this"),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

fn control(criterion: &mut Criterion) {
    let (keys, header) = (keys(), [5; CONTROL_HEADER_BYTES]);
    let mut group = criterion.benchmark_group("sealing/control");
    group.throughput(Throughput::Bytes(CONTROL_BODY_BYTES as u64));
    let mut sealer = ControlSealer::new(&keys, &SESSION);
    let mut sealed = || {
        let (mut body, mut tag) = ([7; CONTROL_BODY_BYTES], [0; TAG_BYTES]);
        let counter = sealer.counter();
        sealer.seal(&header, &mut body, &mut tag);
        (counter, body, tag)
    };
    group.bench_function("seal", |bencher| bencher.iter(&mut sealed));
    let mut opener = ControlOpener::new(&keys, &SESSION);
    group.bench_function("open", |bencher| {
        bencher.iter_batched_ref(
            &mut sealed,
            |(counter, body, tag)| {
                opener.open(keys.id(), *counter, &header, body, tag).expect("sealed like this");
            },
            // In the order they were sealed in.
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Measures what a stream of a new session costs before its first datagram.
fn derive(criterion: &mut Criterion) {
    let keys = keys();
    criterion.bench_function("sealing/derive, stream key", |bencher| {
        bencher.iter(|| StreamSealer::new(black_box(&keys), &SESSION, STREAM));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = streams, control, derive
}
criterion_main!(benches);
