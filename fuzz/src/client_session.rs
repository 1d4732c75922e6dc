//! The client's session, whatever a broker says.
//!
//! The same bytes in chunks, through the receive buffer, and as a whole must say
//! the same; nothing may be reported before the welcome or after the end; and
//! what the session writes must always be good frames.

use netcluster_client::session::{ReceiveBuffer, Session, SessionEvent, SessionState};
use netcluster_wire::control::{encode_error, encode_lost, encode_pong};
use netcluster_wire::limits::HARD_MAX_PAYLOAD_BYTES;
use netcluster_wire::{
    ErrorCode, Frame, Header, Hello, Kind, LossReason, Pattern, Source, Welcome, frame,
};

use super::choices::Choices;
use super::stream::{KINDS, NAMES, append_frame, mutate};

const ME: Source = Source { node: 1, client: 2 };
const SOURCES: [Source; 3] = [ME, Source { node: 7, client: 3 }, Source::NONE];

/// Length of the longest stream, and of the longest frame that a chunked run waits for,
/// in bytes.
const MOST_BYTES: usize = 1 << 20;

/// Number of chunks that are as small as the input says; each may cost a new buffer.
const FINE_CHUNKS: usize = 2000;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let cuts: Vec<u8> = choices.bytes(8).to_vec();
    let stream = broker_says(&mut choices);
    let whole = say(&stream);
    let chunked = say_in_chunks(&stream, &cuts);
    if let Some(chunked) = chunked {
        assert_eq!(chunked, whole);
    }
}

fn start() -> Session {
    let mut out = Vec::new();
    let session = Session::start(&mut out, "c", &Hello::default()).expect("a good name");
    assert_eq!(good_frames(&out), 1);
    session
}

/// Makes a stream that a broker might write, good or bad.
fn broker_says(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    if choices.chance(40) {
        out.extend_from_slice(choices.all());
        return out;
    }
    while !choices.is_empty() && out.len() < MOST_BYTES {
        let from = out.len();
        if choices.chance(100) {
            append_frame(choices, &SOURCES, &mut out);
        } else {
            let kind = match from {
                0 if choices.chance(230) => Kind::Welcome,
                _ => choices.of(&KINDS),
            };
            let payload = payload(kind, choices);
            let (source, name) = (choices.of(&SOURCES), choices.of(&NAMES));
            let sequence = u64::from(choices.byte());
            frame::append(&mut out, kind, source, sequence, name, &payload);
        }
        if choices.chance(8) {
            mutate(choices, from, &mut out);
        }
    }
    out
}

fn payload(kind: Kind, choices: &mut Choices<'_>) -> Vec<u8> {
    match kind {
        Kind::Welcome => {
            let max_payload = choices.of(&[16 << 20, 100, 0, 1 << 30, u64::MAX]);
            let code = ErrorCode::from_number(u32::from(choices.byte()) % 12);
            let reason = choices.chance(60).then(|| (code, "told".to_owned()));
            Welcome { max_payload, run: 1, reason, ..Welcome::default() }.encode()
        }
        Kind::Error => {
            encode_error(ErrorCode::from_number(u32::from(choices.byte()) % 12), "text \u{fffd}")
        }
        Kind::Pong => encode_pong(u64::from(choices.byte())).to_vec(),
        Kind::Lost => encode_lost(LossReason::from_number(u32::from(choices.byte()) % 4)).to_vec(),
        _ => choices.bytes(12).to_vec(),
    }
}

/// Events that a session reports of a stream, each in words, then the error.
#[derive(Default, Debug, PartialEq)]
struct Said {
    events: Vec<String>,
    error: Option<String>,
}

fn say(stream: &[u8]) -> Said {
    let mut session = start();
    let mut said = Said::default();
    let mut at = 0;
    while said.error.is_none() {
        match take(&mut session, &stream[at..], &mut said) {
            Some(used) => at += used,
            None => break,
        }
    }
    said
}

/// Takes one frame, answers it, and checks what may be checked.
fn take(session: &mut Session, bytes: &[u8], said: &mut Said) -> Option<usize> {
    let before = session.inbound.state();
    if let Some(event) = session.inbound.next_event(bytes) {
        assert_eq!((before, event.kind()), (SessionState::Open, Kind::Event));
    }
    let confirmed = session.inbound.confirmed();
    match session.next(bytes) {
        Ok(Some((event, used))) => {
            assert!(used <= bytes.len() && used >= 24 && used % 8 == 0);
            assert_ne!(before, SessionState::Ended, "nothing comes after the end");
            let mut out = Vec::new();
            match &event {
                SessionEvent::Welcome { source, .. } => {
                    assert_eq!(before, SessionState::Greeting);
                    assert_ne!(*source, Source::NONE);
                }
                SessionEvent::Ping { token } => session.outbound.pong(&mut out, *token),
                SessionEvent::ClosedByBroker { .. } | SessionEvent::Bye { .. } => {}
                SessionEvent::Refused { .. } => {}
                _ => assert_eq!(before, SessionState::Open),
            }
            said.events.push(format!("{event:?}"));
            assert!(session.inbound.confirmed() >= confirmed, "confirmations only grow");
            talk(session, &mut out);
            Some(used)
        }
        Ok(None) => None,
        Err(error) => {
            said.error = Some(error.to_string());
            None
        }
    }
}

/// Uses the writing half: all that it appends are good frames.
fn talk(session: &mut Session, out: &mut Vec<u8>) {
    if session.inbound.state() != SessionState::Open {
        return;
    }
    let before = good_frames(out);
    let last = session.outbound.last_sequence();
    let mut expected = 0;
    for name in ["a", "a.b", "*", ""] {
        for size in [0, 3, 200] {
            let length = out.len();
            match session.outbound.emit(out, name, &vec![1; size]) {
                Ok(sequence) => {
                    expected += 1;
                    assert_eq!(sequence, last + expected);
                }
                Err(_) => assert_eq!(out.len(), length, "a refused event appends nothing"),
            }
        }
    }
    assert_eq!(session.outbound.last_sequence(), last + expected);
    let pattern = Pattern::new(b"a.**").expect("a good pattern");
    session.outbound.subscribe(out, &pattern);
    session.outbound.ping(out);
    session.outbound.unsubscribe(out, &pattern);
    assert_eq!(good_frames(out) as u64, before as u64 + expected + 3);
    let mut again = Vec::new();
    session.outbound.reconnect(out, &mut again);
    assert_eq!(good_frames(&again) as u64, expected, "only events are taken over");
}

fn good_frames(mut bytes: &[u8]) -> usize {
    let mut frames = 0;
    while let Some(frame) = Frame::read(bytes, HARD_MAX_PAYLOAD_BYTES).expect("a good frame") {
        bytes = &bytes[frame.as_bytes().len()..];
        frames += 1;
    }
    assert!(bytes.is_empty(), "whole frames");
    frames
}

/// Feeds a stream to a session through the receive buffer, in chunks. `None` if the
/// stream announces a frame so long that waiting for it would only test the allocator.
fn say_in_chunks(stream: &[u8], cuts: &[u8]) -> Option<Said> {
    let mut session = start();
    let mut said = Said::default();
    let mut buffer = ReceiveBuffer::new();
    let mut sizes = cuts.iter().cycle();
    let mut at = 0;
    let mut chunks = 0;
    while at < stream.len() {
        chunks += 1;
        let space = buffer.space();
        assert!(!space.is_empty());
        let size = sizes.next().map_or(4096, |&byte| match byte {
            0..=99 => usize::from(byte) + 1,
            _ => (usize::from(byte) - 99) * 1000,
        });
        // Small chunks are the hard ones, but a long stream must end some day.
        let size = if chunks < FINE_CHUNKS { size } else { size.max(64 << 10) };
        let size = size.min(space.len()).min(stream.len() - at);
        space[..size].copy_from_slice(&stream[at..at + size]);
        buffer.filled(size);
        at += size;
        let (lent, range) = buffer.lend();
        let mut used = 0;
        while let Some(taken) = take(&mut session, &lent[range.start + used..range.end], &mut said)
        {
            let address = lent.as_ptr() as usize + range.start + used;
            assert_eq!(address % 8, 0, "frames lie aligned");
            used += taken;
        }
        let rest = &lent[range.start + used..range.end];
        let too_long =
            Header::read(rest).is_some_and(|header| header.length.get() as usize > MOST_BYTES);
        // Sometimes somebody keeps a piece.
        let is_kept = chunks < FINE_CHUNKS && sizes.next().is_some_and(|byte| byte % 5 == 0);
        let kept = is_kept.then(|| lent.slice(range));
        buffer.give_back(lent, used);
        drop(kept);
        if said.error.is_some() {
            break;
        }
        if too_long {
            return None;
        }
    }
    Some(said)
}
