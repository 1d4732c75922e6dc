use super::*;
use netcluster_wire::frame::{append, encode};
use netcluster_wire::{Frame, Source};

const MAX_PAYLOAD: usize = 4 << 20;

/// Feeds `stream` in chunks of these sizes, round and round; returns what was
/// found, as whole frames, playing the shard's part in gathering.
fn feed(stream: &[u8], sizes: &[usize]) -> (Vec<Vec<u8>>, Inbound) {
    let budget = Budget::new(usize::MAX);
    let mut inbound = Inbound::default();
    let mut frames = Vec::new();
    let mut whole = |bytes: &[u8]| {
        let mut rest = bytes;
        while let Some(frame) = Frame::read(rest, MAX_PAYLOAD).unwrap() {
            frames.push(frame.as_bytes().to_vec());
            rest = &rest[frame.as_bytes().len()..];
        }
        assert!(rest.is_empty(), "only whole frames are handed on");
    };
    let mut offset = 0;
    let mut sizes = sizes.iter().cycle();
    let mut gathering = false;
    while offset < stream.len() {
        if std::mem::take(&mut gathering)
            && let Buffer::Fill(mut buffer, length) = inbound.take_buffer(&budget)
        {
            let missing = length - buffer.len();
            let take = missing.min(stream.len() - offset);
            buffer.extend_from_slice(&stream[offset..offset + take]);
            offset += take;
            if take == missing {
                let pieces = inbound.filled(buffer);
                whole(pieces[0].as_bytes());
            }
            continue;
        }
        let size = (*sizes.next().unwrap()).min(stream.len() - offset);
        let chunk = Bytes::copy_from_slice(&stream[offset..offset + size]);
        offset += size;
        let mut at = 0;
        loop {
            match inbound.next(&chunk, &mut at, MAX_PAYLOAD, &budget).unwrap() {
                Step::Run(Run { start, end, .. }) => whole(&chunk[start..end]),
                Step::Event(pieces) => {
                    let head = Header::read(pieces[0].as_bytes()).unwrap();
                    let head_len = HEADER_BYTES + head.name_len.get() as usize;
                    assert!(pieces[0].len() >= head_len, "header and name are contiguous");
                    let bytes: Vec<u8> =
                        pieces.iter().flat_map(|piece| piece.as_bytes().to_vec()).collect();
                    whole(&bytes);
                }
                Step::Control(frame) => whole(&frame),
                Step::Gather => gathering = true,
                Step::Done => break,
            }
        }
        assert_eq!(at, chunk.len(), "a chunk is used up");
    }
    (frames, inbound)
}

fn stream() -> (Vec<u8>, Vec<Vec<u8>>) {
    let source = Source { node: 1, client: 2 };
    let mut frames = Vec::new();
    for (sequence, payload) in [0, 16, 16, 300, 5, 2000, 40_000, 16, 700_000, 1].iter().enumerate()
    {
        let name = if sequence % 3 == 0 { "a.rather.long.name.of.an.event" } else { "b" };
        let payload = vec![sequence as u8; *payload];
        frames.push(encode(Kind::Event, source, sequence as u64, name.as_bytes(), &payload));
        frames.push(encode(Kind::Subscribe, source, 9, b"x.**", b""));
    }
    (frames.concat(), frames)
}

#[test]
fn frames_are_whole_however_the_stream_is_cut() {
    let (stream, frames) = stream();
    for sizes in [&[65_536][..], &[4096], &[1000, 1], &[7], &[24, 30_000], &[3, 5, 70_000], &[1]] {
        let (found, inbound) = feed(&stream, sizes);
        assert_eq!(found, frames, "{sizes:?}");
        assert_eq!(inbound.held_bytes(), 0);
    }
}

#[test]
fn what_comes_whole_is_not_copied() {
    let mut stream = Vec::new();
    for sequence in 0..100 {
        append(&mut stream, Kind::Event, Source::NONE, sequence, b"tick", &[1; 16]);
    }
    let (_, inbound) = feed(&stream, &[stream.len()]);
    assert_eq!(inbound.copied_bytes, 0);
}

#[test]
fn a_trickling_frame_gets_its_own_buffer_and_pins_no_chunk() {
    let budget = Budget::new(usize::MAX);
    let mut inbound = Inbound::default();
    let frame = encode(Kind::Event, Source::NONE, 1, b"x", &[1; 1000]);
    let mut gathered = false;
    for byte in &frame[..100] {
        let chunk = Bytes::copy_from_slice(&[*byte]);
        let mut at = 0;
        loop {
            match inbound.next(&chunk, &mut at, 2000, &budget).unwrap() {
                Step::Gather => gathered = true,
                Step::Done => break,
                _ => panic!("nothing is whole"),
            }
        }
        assert!(!gathered || chunk.is_unique(), "the chunk is free again");
    }
    assert!(gathered);
    assert_eq!(inbound.held_bytes(), 100);
}

#[test]
fn a_large_frame_waits_for_memory_and_is_charged_whole() {
    let budget = Budget::new(1 << 20);
    let other = budget.charge(600_000);
    let mut inbound = Inbound::default();
    let frame = encode(Kind::Event, Source::NONE, 1, b"x", &[1; 700_000]);
    let chunk = Bytes::copy_from_slice(&frame[..5000]);
    let mut at = 0;
    let step = inbound.next(&chunk, &mut at, MAX_PAYLOAD, &budget).unwrap();
    assert!(matches!(step, Step::Gather));
    assert!(matches!(inbound.take_buffer(&budget), Buffer::NoMemory));
    drop(other);
    let Buffer::Fill(mut buffer, length) = inbound.take_buffer(&budget) else { panic!() };
    assert_eq!((buffer.len(), length), (5000, frame.len()));
    assert_eq!(budget.used_bytes(), frame.len());
    buffer.extend_from_slice(&frame[5000..]);
    let pieces = inbound.filled(buffer);
    assert_eq!(pieces[0].as_bytes(), frame);
    drop(pieces);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_broken_header_is_an_error_wherever_it_is_cut() {
    let mut frame = encode(Kind::Event, Source::NONE, 1, b"x", &[1; 16]);
    frame[4] = 0x77;
    for cut in 1..frame.len() {
        let budget = Budget::new(usize::MAX);
        let mut inbound = Inbound::default();
        let mut failed = false;
        for part in [&frame[..cut], &frame[cut..]] {
            let chunk = Bytes::copy_from_slice(part);
            let mut at = 0;
            match inbound.next(&chunk, &mut at, 100, &budget) {
                Err(error) => {
                    assert_eq!(error, FrameError::UnknownKind(0x77));
                    failed = true;
                    break;
                }
                Ok(Step::Done) => {}
                Ok(_) => panic!("nothing good is there"),
            }
        }
        assert!(failed, "cut at {cut}");
    }
}
