//! Streams of frames, good and mutated, made from decisions.

use netcluster_wire::{Encoding, Kind, Source, frame};

use super::choices::Choices;

/// Kinds of frames, all of them.
pub const KINDS: [Kind; 17] = [
    Kind::Event,
    Kind::Hello,
    Kind::Welcome,
    Kind::Subscribe,
    Kind::Unsubscribe,
    Kind::Ack,
    Kind::Error,
    Kind::Ping,
    Kind::Pong,
    Kind::Lost,
    Kind::Bye,
    Kind::Stats,
    Kind::Cluster,
    Kind::Audience,
    Kind::Shared,
    Kind::Control,
    Kind::Channel,
];

/// Names and patterns: around the boundaries of words, with wildcards, and bad.
pub const NAMES: [&[u8]; 16] = [
    b"a",
    b"b",
    b"a.b",
    b"a.b.c",
    b"12345678",
    b"12345679",
    b"123456789",
    b"a.longer.name.than.two.words",
    b"a.longer.name.than.two.words!",
    b"*",
    b"**",
    b"a.*",
    b"a.**.c",
    b"**.**.**.**.**",
    b"",
    b"\xff\xfe",
];

/// Sizes of payloads: around boundaries of words, chunks and buffers.
pub const SIZES: [usize; 12] = [0, 1, 7, 8, 9, 16, 64, 500, 4_000, 4_097, 20_000, 300_000];

/// Appends one frame; most are events.
pub fn append_frame(choices: &mut Choices<'_>, sources: &[Source], out: &mut Vec<u8>) {
    let kind = if choices.chance(190) { Kind::Event } else { choices.of(&KINDS) };
    let name = choices.of(&NAMES);
    let size = SIZES[choices.below(256) % SIZES.len()];
    let size = if kind == Kind::Event { size } else { size.min(4096) };
    let source = choices.of(sources);
    let sequence = u64::from(choices.byte());
    let at = out.len();
    frame::append(out, kind, source, sequence, name, &vec![choices.byte(); size]);
    if kind == Kind::Event && choices.chance(40) {
        frame::set_encoding(&mut out[at..], choices.of(&Encoding::ALL));
    }
}

/// Changes bytes, cuts bytes out, or puts bytes in, from `from` on.
pub fn mutate(choices: &mut Choices<'_>, from: usize, out: &mut Vec<u8>) {
    let length = out.len() - from;
    if length == 0 {
        return;
    }
    let at = from + choices.below(length.min(65_536));
    match choices.below(4) {
        0 => out[at] = choices.byte(),
        1 => out[at] ^= 1 << choices.below(8),
        2 => {
            let count = choices.below(40).min(out.len() - at);
            out.drain(at..at + count);
        }
        _ => {
            let more = choices.bytes(24);
            out.splice(at..at, more.iter().copied());
        }
    }
}

/// Makes a stream: whole frames, some of them mutated, or just the bytes of the input.
pub fn stream(choices: &mut Choices<'_>, sources: &[Source], most_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    if choices.chance(64) {
        out.extend_from_slice(choices.all());
        return out;
    }
    while !choices.is_empty() && out.len() < most_bytes {
        let from = out.len();
        append_frame(choices, sources, &mut out);
        if choices.chance(10) {
            // Rather in the header than in the payload.
            let head_end = out.len().min(from + 40);
            let tail = out.split_off(head_end);
            mutate(choices, from, &mut out);
            out.extend(tail);
        }
    }
    out
}
