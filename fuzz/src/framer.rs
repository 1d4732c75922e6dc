//! The scanner and the broker's framer, whatever the stream and its cuts.
//!
//! Three ways to find the frames of one stream must agree: frame by frame
//! ([`Frame::read`]), run by run ([`scan::next`]), and in chunks
//! ([`Inbound::next`]), down to the error at the end.

use bytes::{Bytes, BytesMut};

use netcluster::internals::{Budget, Buffer, Inbound, Run, Step};
use netcluster_wire::limits::MAX_CONTROL_PAYLOAD_BYTES;
use netcluster_wire::scan::{self, Found};
use netcluster_wire::{Frame, FrameError, Header, Kind, Source};

use super::choices::Choices;
use super::stream::stream;

const SOURCES: [Source; 3] =
    [Source { node: 1, client: 2 }, Source { node: 1, client: 3 }, Source::NONE];

/// Frames of a stream, and the place where it ended.
struct Parsed<'a> {
    frames: Vec<&'a [u8]>,
    error: Option<FrameError>,
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limit = choices.of(&[100, 5_000, 400_000]);
    let cuts: Vec<u8> = choices.bytes(16).to_vec();
    let mut stream = stream(&mut choices, &SOURCES, 1 << 20);
    truncate_at_large_requests(&mut stream, limit);
    let parsed = one_by_one(&stream, limit);
    by_runs(&stream, limit, &parsed);
    in_chunks(&stream, limit, &cuts, &parsed);
}

/// Ends a stream before a `stats` with a payload, or a `control` with a large one: no client
/// has one to send, and the framer may refuse the frame where the scanner, which clients use
/// too, may not.
fn truncate_at_large_requests(stream: &mut Vec<u8>, limit: usize) {
    let mut at = 0;
    while let Some(Ok(layout)) = Header::read(&stream[at..]).map(|header| header.check(limit)) {
        let most = match layout.kind {
            Kind::Stats => 0,
            Kind::Control => MAX_CONTROL_PAYLOAD_BYTES,
            _ => usize::MAX,
        };
        if layout.payload_len > most {
            return stream.truncate(at);
        }
        at += layout.frame_len;
        if at > stream.len() {
            return;
        }
    }
}

fn one_by_one(stream: &[u8], limit: usize) -> Parsed<'_> {
    let mut parsed = Parsed { frames: Vec::new(), error: None };
    let mut rest = stream;
    loop {
        match Frame::read(rest, limit) {
            Ok(Some(frame)) => {
                let layout = frame.layout();
                assert!(layout.payload_offset + layout.payload_len <= layout.frame_len);
                assert_eq!(frame.name().len(), layout.name_len);
                assert_eq!(frame.payload().len(), layout.payload_len);
                parsed.frames.push(frame.as_bytes());
                rest = &rest[frame.as_bytes().len()..];
            }
            Ok(None) => return parsed,
            Err(error) => {
                parsed.error = Some(error);
                return parsed;
            }
        }
    }
}

fn by_runs(stream: &[u8], limit: usize, parsed: &Parsed<'_>) {
    let mut frames = parsed.frames.iter();
    let mut at = 0;
    loop {
        match scan::next(&stream[at..], limit) {
            Ok(Found::Run(run)) => {
                let mut bytes = 0;
                let mut last = 0;
                for _ in 0..run.frames {
                    let frame = frames.next().expect("a run holds only whole, good frames");
                    let frame = Frame::read(frame, limit).unwrap().unwrap();
                    assert_eq!(frame.kind(), Kind::Event);
                    assert_eq!(frame.name(), run.first.name());
                    assert_eq!(frame.source(), run.first.source());
                    bytes += frame.as_bytes().len();
                    last = frame.sequence();
                }
                assert_eq!((run.bytes, run.last_sequence), (bytes, last));
                at += bytes;
            }
            Ok(Found::Control(frame)) => {
                assert_ne!(frame.kind(), Kind::Event);
                assert_eq!(Some(&frame.as_bytes()), frames.next());
                at += frame.as_bytes().len();
            }
            Ok(Found::Incomplete) => {
                assert_eq!(parsed.error, None);
                break;
            }
            Err(error) => {
                assert_eq!(parsed.error, Some(error));
                break;
            }
        }
    }
    assert_eq!(frames.next(), None, "every frame is found");
}

fn in_chunks(stream: &[u8], limit: usize, cuts: &[u8], parsed: &Parsed<'_>) {
    let budget = Budget::new(usize::MAX);
    let mut inbound = Inbound::default();
    let mut found = Vec::new();
    let mut error = None;
    let mut at = 0;
    let mut sizes = cuts.iter().cycle();
    'chunks: while at < stream.len() {
        // Chunks of 1 byte to 16 KiB: small ones are the hard ones.
        let size = sizes.next().map_or(4096, |&byte| match byte {
            0..=99 => usize::from(byte) + 1,
            _ => (usize::from(byte) - 99) * 105,
        });
        let end = (at + size).min(stream.len());
        let chunk = Bytes::copy_from_slice(&stream[at..end]);
        at = end;
        let mut used = 0;
        let mut gather = false;
        loop {
            match inbound.next(&chunk, &mut used, limit, &budget) {
                Ok(Step::Run(Run { start, end, name, frames, source, .. })) => {
                    split(&chunk[start..end], name, source, frames, &mut found);
                }
                Ok(Step::Event(pieces)) => {
                    let head = pieces[0].as_bytes();
                    let header = Header::read(head).expect("the first piece holds the header");
                    assert!(head.len() >= 24 + usize::from(header.name_len.get()));
                    found.push(pieces.iter().flat_map(|piece| piece.as_bytes()).copied().collect());
                }
                Ok(Step::Control(frame)) => found.push(frame.to_vec()),
                Ok(Step::Gather) => gather = true,
                Ok(Step::Done) => break,
                Err(fault) => {
                    error = Some(fault);
                    break 'chunks;
                }
            }
        }
        assert_eq!(used, chunk.len(), "a chunk is used up");
        // Sometimes chunks that were under way still come before the buffer.
        let late = sizes.next().is_some_and(|byte| byte % 2 == 1);
        if !gather || late {
            continue;
        }
        match inbound.take_buffer(&budget) {
            Buffer::NotWanted => panic!("it was asked for"),
            Buffer::NoMemory => panic!("the budget has no end"),
            Buffer::Fill(buffer, length) => {
                assert!(length <= 24 + 256 + limit + 7, "a buffer is as large as its frame");
                match fill(buffer, length, &stream[at..]) {
                    Some((filled, taken)) => {
                        at += taken;
                        let pieces = inbound.filled(filled);
                        found.push(
                            pieces.iter().flat_map(|piece| piece.as_bytes()).copied().collect(),
                        );
                    }
                    None => break,
                }
            }
        }
    }
    let found: Vec<&[u8]> = found.iter().map(Vec::as_slice).collect();
    let lengths = |frames: &[&[u8]]| frames.iter().map(|frame| frame.len()).collect::<Vec<_>>();
    assert_eq!((lengths(&found), error), (lengths(&parsed.frames), parsed.error));
    assert!(found == parsed.frames, "the bytes of a frame differ");
    drop(inbound);
    assert_eq!(budget.used_bytes(), 0, "nothing stays charged");
}

/// Reads the rest of a large frame, as the back end does.
fn fill(mut buffer: BytesMut, length: usize, rest: &[u8]) -> Option<(BytesMut, usize)> {
    let missing = length - buffer.len();
    buffer.extend_from_slice(rest.get(..missing)?);
    Some((buffer, missing))
}

fn split(mut run: &[u8], name: &[u8], source: u64, frames: usize, found: &mut Vec<Vec<u8>>) {
    for _ in 0..frames {
        let frame = Frame::read(run, usize::MAX).unwrap().expect("a run holds whole frames");
        assert_eq!((frame.name(), frame.source().to_u64()), (name, source));
        found.push(frame.as_bytes().to_vec());
        run = &run[frame.as_bytes().len()..];
    }
    assert!(run.is_empty());
}
