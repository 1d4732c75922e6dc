//! Cost of a received stream: datagrams of 1372 bytes into an [`Ingress`], in trains of
//! 45 as one receive brings them, polled after each.
//!
//! With holes every hundredth datagram comes 200 datagrams late, as a repair does. The
//! bench measures neither the socket nor what follows a delivery.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use netcluster_link::channel::ChannelHash;
use netcluster_link::crypto::{Key, Keys, StreamOpener, StreamSealer};
use netcluster_link::peer_id::{Session, session_tag};
use netcluster_link::receive::ingress::{
    Delivery, Ingress, IngressConfig, ReassemblyBudget, Verdict,
};
use netcluster_link::stream::{Position, StreamId};
use netcluster_platform::Instant;
use netcluster_wire::limits::DEFAULT_MAX_PAYLOAD_BYTES;
use netcluster_wire::link::DataHeader;
use netcluster_wire::link::limits::DATA_HEADER_BYTES;
use netcluster_wire::{Kind, Source, frame};

const DATAGRAM_BYTES: usize = 1372;
/// Number of datagrams: they fit a second-level cache, since the kernel has just written
/// them.
const DATAGRAMS: usize = 720;
const TRAIN: usize = 45;
const LATE: usize = 200;
const NODE: u32 = 7;
const STREAM: StreamId = StreamId::new(1, 0);

/// Makes the datagrams of a stream of frames with this payload; returns also how many
/// frames the datagrams hold whole.
fn stream(keys: &Keys, session: &Session, payload_bytes: usize) -> (Vec<Vec<u8>>, u64) {
    let mut sealer = StreamSealer::new(keys, session, STREAM);
    let body_bytes = DATAGRAM_BYTES - DATA_HEADER_BYTES - sealer.tag_bytes();
    let channel = ChannelHash::of("bench");
    let source = Source { node: NODE, client: 1 };
    let event =
        |sequence| frame::encode(Kind::Event, source, sequence, b"tick", &vec![7; payload_bytes]);
    let head = frame::encode(Kind::Channel, Source::NONE, channel.0, b"bench", &[]);
    let frame_bytes = event(0).len();
    let mut bytes = head.clone();
    for sequence in 0.. {
        if bytes.len() >= DATAGRAMS * body_bytes {
            break;
        }
        bytes.extend(event(sequence));
    }
    let mut datagrams = Vec::new();
    for (number, body) in bytes.chunks_exact(body_bytes).take(DATAGRAMS).enumerate() {
        let start = number * body_bytes;
        let ordinal = start.saturating_sub(head.len()).div_ceil(frame_bytes);
        let boundary = match number {
            0 => 0,
            _ => head.len() + ordinal * frame_bytes - start,
        };
        let (id, session) = (sealer.key_id(), session_tag(session));
        let mut header = DataHeader::new(id, session, STREAM.0, number as u64, ordinal as u64);
        header.channel = channel.0.into();
        if boundary < body_bytes {
            header.boundary = (boundary as u16).into();
        }
        let (mut body, mut tag) = (body.to_vec(), vec![0; sealer.tag_bytes()]);
        sealer.seal(number as u64, header.bytes(), &mut body, &mut tag);
        datagrams.push([&header.bytes()[..], &body, &tag].concat());
    }
    let frames = (DATAGRAMS * body_bytes - head.len()) / frame_bytes;
    (datagrams, frames as u64)
}

/// Returns an order in which every hundredth datagram comes late.
fn with_holes() -> Vec<usize> {
    let mut order: Vec<usize> = (0..DATAGRAMS).collect();
    for number in (50..DATAGRAMS - LATE).step_by(100).rev() {
        order.remove(number);
        order.insert(number + LATE, number);
    }
    order
}

fn receive(mut ingress: Ingress, datagrams: &[Vec<u8>], order: &[usize]) -> u64 {
    let mut received = 0;
    for (turn, train) in order.chunks(TRAIN).enumerate() {
        let now = Instant::from_nanos(turn as u64 * 50_000);
        for &number in train {
            let datagram = &datagrams[number];
            let (header, _) = DataHeader::split(datagram).expect("a header");
            let verdict = ingress.handle(now, header, datagram);
            assert_eq!(verdict, Verdict::Taken);
        }
        while let Some(delivery) = ingress.poll_delivery() {
            match black_box(delivery) {
                Delivery::Run { frames, .. } => received += frames as u64,
                Delivery::Lost { .. } | Delivery::Large { .. } => panic!("nothing is lost"),
            }
        }
    }
    received
}

fn ingress(criterion: &mut Criterion) {
    let config = IngressConfig {
        max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
        reassembly: ReassemblyBudget::default(),
        reorder_datagrams: 4096,
    };
    let links = [("open", Keys::open_link()), ("key", Keys::new(vec![Key::new([1; 32])]))];
    let orders = [("in order", (0..DATAGRAMS).collect()), ("1 % holes", with_holes())];
    for payload_bytes in [64, 1 << 10] {
        let mut group = criterion.benchmark_group(format!("link_ingress/{payload_bytes} B"));
        for (link, keys) in &links {
            let session = [payload_bytes as u8; 16];
            let (datagrams, frames) = stream(keys, &session, payload_bytes);
            let bytes = (DATAGRAMS * DATAGRAM_BYTES) as u64;
            group.throughput(Throughput::ElementsAndBytes { elements: frames, bytes });
            for (title, order) in &orders {
                let fresh = || {
                    let opener = StreamOpener::new(keys, &session, STREAM);
                    Ingress::new(STREAM, NODE, Position::default(), opener, &config)
                };
                assert_eq!(receive(fresh(), &datagrams, order), frames);
                group.bench_function(BenchmarkId::new(*link, title), |bencher| {
                    bencher.iter(|| receive(fresh(), black_box(&datagrams), order));
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = ingress
}
criterion_main!(benches);
