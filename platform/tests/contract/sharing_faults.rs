//! Connections with shared memory whose clients break the rules, die, or keep what they got.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use netcluster_platform::{Completion, Conn, ReceiveEnd, Slice};
use netcluster_shm::Region;

use crate::bench::{Bench, End, LocalIo, end_of, pattern};
use crate::shared_client::{SharedClient, arena_chunk};

pub fn a_hostile_client_harms_only_itself<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    const STEPS: usize = 8;
    let (mut other, other_conn, _memory) = SharedClient::connect(&mut bench, true);
    let chunk = arena_chunk(&mut bench, &pattern(60_000));
    let mut failed = 0;
    let mut seed = 1_u64;
    for word in 0..Region::WORDS {
        for value in
            [0, 1, 2, 70_000, u64::from(u32::MAX), u64::MAX, u64::MAX - 1, 0x1234_5678_9abc]
        {
            for step in 0..STEPS {
                let (mut client, conn, _memory) = SharedClient::connect(&mut bench, true);
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                let mut all = Vec::new();
                for at in 0..STEPS {
                    if at == step {
                        let value = if value == 2 { seed } else { value };
                        client.region.set_word(word, value);
                        // As loud as can be.
                        client.bells.broker.ring();
                    }
                    converse(&mut bench, (&mut client, conn), &chunk, at, &mut all);
                }
                for completion in &all {
                    match completion {
                        Completion::ReceiveEnded { end, conn: of } if *of == conn => {
                            let ReceiveEnd::Failed(error) = end else { panic!("{end:?}") };
                            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
                            failed += 1;
                        }
                        Completion::SendFailed { error, conn: of } if *of == conn => {
                            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
                        }
                        Completion::Received { .. }
                        | Completion::Sent { .. }
                        | Completion::Writable { .. }
                        | Completion::Woken => {}
                        _ => panic!("word {word}, value {value}, step {step}: {completion:?}"),
                    }
                }
                let ends = all.iter().filter(|it| end_of(it, conn).is_some()).count();
                assert!(ends <= 1, "{all:?}");
                drop(all);
                bench.io.close(conn);
                while !matches!(bench.next(), Completion::Closed { .. }) {}
            }
        }
        other.put_all(b"unharmed");
        assert_eq!(bench.receive_bytes(other_conn, 8), b"unharmed");
        bench.send_all(other_conn, [Slice::pooled(chunk.clone(), 0, 1000)].into());
        assert!(other.read_bytes(1000) == chunk[..1000]);
    }
    assert!(failed > 50, "{failed}");
}

/// One step of a conversation with a client that may be hostile.
fn converse<I: LocalIo>(
    bench: &mut Bench<I>,
    (client, conn): (&mut SharedClient, Conn),
    chunk: &Bytes,
    step: usize,
    all: &mut Vec<Completion>,
) {
    let is_over = all
        .iter()
        .any(|it| end_of(it, conn).is_some() || matches!(it, Completion::SendFailed { .. }));
    let sends = all.iter().filter(|it| matches!(it, Completion::Sent { .. })).count();
    let room = all.iter().filter(|it| matches!(it, Completion::Writable { .. })).count();
    let blocks =
        all.iter().filter(|it| matches!(it, Completion::Sent { blocked: true, .. })).count();
    match step % 4 {
        0 => drop(client.put(&[7; 5000])),
        1 if !is_over && blocks <= room => {
            let slices = [Slice::pooled(chunk.clone(), 0, 30_000), Slice::from(Bytes::from("own"))];
            bench.io.send(conn, slices.iter());
        }
        2 => {
            // It may have made itself believe that there are more than can be.
            for _ in 0..1000 {
                let _ = client.descriptors.take();
            }
            client.release();
        }
        3 if !is_over && sends > 0 => drop(bench.io.is_read(conn)),
        _ => {}
    }
    for _ in 0..3 {
        bench.io.wait(all, Some(Duration::ZERO)).unwrap();
        if let Some(Completion::Received { chunk, .. }) = all.last() {
            let length = chunk.len();
            assert!(length <= 256 << 10);
        }
    }
}

pub fn a_bell_that_is_as_loud_as_can_be_stops_nobody<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let chunk = arena_chunk(&mut bench, b"some");
    let (mut client, conn, _memory) = SharedClient::connect(&mut bench, true);
    // Whatever a client does to what it was given: nothing that the broker writes to waits.
    for bell in [&client.bells.broker, &client.bells.client, &client.bells.room] {
        rustix::io::ioctl_fionbio(bell, false).unwrap();
    }
    let full = (u64::MAX - 1).to_ne_bytes();
    assert_eq!(rustix::io::write(&client.bells.broker, &full), Ok(8));
    for _ in 0..3000 {
        // Each is rung for, and nobody silences the bell.
        assert!(client.descriptors.wait());
        bench.send_all(conn, [Slice::pooled(chunk.clone(), 0, 4)].into());
        assert!(client.descriptors.take().is_some());
        let _ = client.descriptors.release();
    }
    bench.close(conn);
}

pub fn a_thousand_connections_leave_nothing_behind<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let chunk = arena_chunk(&mut bench, b"some");
    let mut before = None;
    for round in 0..1000 {
        let (mut client, conn, _memory) = SharedClient::connect(&mut bench, round % 3 != 0);
        bench.send_all(conn, [Slice::pooled(chunk.clone(), 0, 4)].into());
        client.put_all(b"some");
        match round % 4 {
            // Either ends first, or what it was at is under way.
            0 => drop(client),
            1 => {
                drop(client.read());
                client.release();
            }
            2 => client.stream.write_all(b"nonsense").unwrap(),
            _ => {}
        }
        bench.io.close(conn);
        while !matches!(bench.next(), Completion::Closed { .. }) {}
        if round == 20 {
            before = Some(holdings());
        }
    }
    drop(bench.quiet());
    let (before, after) = (before.unwrap(), holdings());
    // Other tests of this process come and go.
    assert!(after.0 < before.0 + 400 && after.1 < before.1 + 400, "{before:?}, then {after:?}");
}

/// Number of this process's descriptors and mappings.
fn holdings() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (descriptors, maps.lines().count())
}

/// What broke: what a client had not released stayed pinned until its ring was read up, for
/// which there was no buffer.
pub fn a_client_that_is_gone_pins_nothing<I: LocalIo>(mut bench: Bench<I>, _: impl Fn() -> I) {
    let chunk = arena_chunk(&mut bench, &pattern(60_000));
    let (mut client, conn, _memory) = SharedClient::connect(&mut bench, false);
    let slices = || [Slice::pooled(chunk.clone(), 0, 30_000), Slice::pooled(chunk.clone(), 1, 9)];
    assert_eq!(bench.send_all(conn, slices().into()), 0);
    let in_flight = |bench: &mut Bench<I>| bench.io.memory_use(conn).unwrap().in_flight_bytes;
    assert_eq!(in_flight(&mut bench), 30_008);
    assert!(!bench.io.is_read(conn));
    client.put_all(b"the last");
    let region = Arc::clone(&client.region);
    drop(client);
    // Nothing is received, or the ring might be empty by then.
    assert!(matches!(bench.next(), Completion::Writable { .. }));
    assert_eq!(in_flight(&mut bench), 0);
    assert!(region.is_revoked() && bench.io.is_read(conn));
    // What it put comes, whatever is sent to it meanwhile.
    bench.send_all(conn, slices().into());
    assert_eq!(in_flight(&mut bench), 0);
    bench.io.receive(conn);
    assert_eq!(bench.receive_bytes(conn, 8), b"the last");
    assert_eq!(bench.expect_end(conn), End::Eof);
    bench.close(conn);
}

pub fn starved_rings_recover_when_buffers_return<I: LocalIo>(
    mut bench: Bench<I>,
    _: impl Fn() -> I,
) {
    let (mut client, conn, _memory) = SharedClient::connect(&mut bench, true);
    let mut kept = Vec::new();
    let mut bytes = 0;
    while !bench.io.starved() {
        client.put(&[7; 65_536]);
        let mut batch = Vec::new();
        bench.io.wait(&mut batch, Some(Duration::from_secs(20))).unwrap();
        kept.extend(batch.into_iter().filter_map(|completion| match completion {
            Completion::Received { chunk, .. } => Some(chunk),
            _ => None,
        }));
        bytes = kept.iter().map(Bytes::len).sum();
        assert!(bytes < 64 << 20, "it never starves");
    }
    assert!(bytes >= 8 << 20, "{bytes}");
    assert!(bench.io.stats().starvations > 0);
    assert!(bench.quiet().is_empty());
    // Another client has what is kept, and lets go of it one by one, with nobody awake.
    let (mut reader, to, _memory) = SharedClient::connect(&mut bench, true);
    let slices: Vec<_> =
        kept.iter().map(|chunk| Slice::pooled(chunk.clone(), 0, chunk.len())).collect();
    let own = bench.send_all(to, slices.into_iter().take(4).collect());
    assert_eq!(own, 0);
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        drop(kept);
        let mut read = 0;
        while read < 4 * 60_000 {
            read += reader.read().unwrap().1.len();
            reader.release();
        }
        reader
    });
    loop {
        if let Completion::Received { conn: from, .. } = bench.next() {
            assert_eq!(from, conn);
            break;
        }
    }
    let _reader = thread.join().unwrap();
    assert!(!bench.io.starved());
}
