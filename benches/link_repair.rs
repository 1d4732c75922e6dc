//! Cost of loss: deciding what is repaired and for whom, and two whole links between
//! which a part of the datagrams is lost.
//!
//! - `requests`: [`Retransmits`] by itself, a request of so many numbers by one or
//!   several receivers and what is then to be sent. It holds numbers only.
//! - `links`: a chunk of frames from one link to another in memory, with all that
//!   belongs to it: statuses, requests, repairs, reordering. A lost datagram is
//!   noticed and repaired in virtual time, so waiting costs nothing here.
//!
//! The bench does not measure sockets.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use netcluster_link::crypto::{Key, Keys};
use netcluster_link::peer_id::PeerId;
use netcluster_link::send::retransmit::{Requester, Retransmits};
use netcluster_platform::Instant;

mod support;

use support::links::{Chunk, LinkPair};

/// Numbers in one request.
const ASKED: u64 = 64;
/// Most datagrams of one repair, as in the link.
const MAX_DATAGRAMS: u32 = 64;
const REPAIR_NS: u64 = 1_000_000;
/// Time between two requests: they follow each other slower than repairs take, so that
/// none is a duplicate.
const STEP_NS: u64 = 10 * REPAIR_NS;

/// Makes ranges with holes between them, or one range; together [`ASKED`] numbers.
fn ranges(first: u64, is_scattered: bool) -> Vec<(u64, u32)> {
    if is_scattered {
        (0..ASKED).map(|at| (first + at * 2, 1)).collect()
    } else {
        vec![(first, ASKED as u32)]
    }
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("link_repair/requests");
    for (title, is_scattered) in [("one range", false), ("single numbers", true)] {
        for receivers in [1, 8] {
            let (mut repairs, mut now, mut first) = (Retransmits::new(), Instant::START, 0);
            group.throughput(Throughput::Elements(ASKED));
            group.bench_function(BenchmarkId::new(title, receivers), |bencher| {
                bencher.iter(|| {
                    now += STEP_NS;
                    first += 2 * ASKED;
                    let asked = ranges(first, is_scattered);
                    for peer in 0..receivers {
                        let peer = PeerId(peer);
                        let from = Requester { peer, hears_group: true, is_healthy: true };
                        let asked = asked.iter().copied();
                        repairs.request(now, from, asked, 0..u64::MAX, REPAIR_NS, |_| true);
                    }
                    while let Some(repair) = repairs.next(now, MAX_DATAGRAMS, false) {
                        black_box(repair);
                    }
                });
            });
            let counters = repairs.counters();
            assert_eq!(counters.overflowed + counters.unknown, 0);
            assert!(counters.unicast + counters.multicast > 0, "nothing was measured");
        }
    }
    group.finish();
}

fn links(criterion: &mut Criterion) {
    let keys = [("open", Keys::open_link()), ("sealed", Keys::new(vec![Key::new([3; 32])]))];
    let losses = [("no loss", None), ("1 % lost", Some(100)), ("5 % lost", Some(20))];
    for payload_bytes in [64, 1 << 10] {
        let mut group = criterion.benchmark_group(format!("link_repair/links, {payload_bytes} B"));
        let chunk = Chunk::new(payload_bytes);
        let throughput = Throughput::ElementsAndBytes {
            elements: chunk.frames as u64,
            bytes: chunk.bytes() as u64,
        };
        group.throughput(throughput);
        for (link, keys) in &keys {
            for (title, lose_every) in losses {
                let mut pair = LinkPair::with_keys(keys, lose_every);
                group.bench_function(BenchmarkId::new(*link, title), |bencher| {
                    bencher.iter(|| pair.pass(&chunk));
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
    targets = requests, links
}
criterion_main!(benches);
