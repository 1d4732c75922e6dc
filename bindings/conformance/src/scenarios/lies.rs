//! Servers that break the protocol, or use what it leaves open: the client says what is
//! wrong, loses nothing else, and never crashes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netcluster_wire::control::{decode_pong, encode_error, encode_lost};
use netcluster_wire::frame::encode;
use netcluster_wire::{Encoding, ErrorCode, Kind, LossReason, Source, Welcome};
use serde_json::{Value, json};

use super::{Scenario, scenario, vectors};
use crate::runner::{Driver, Stage, Wire};

pub const SCENARIOS: &[Scenario] = &[
    scenario!(broken_frames),
    scenario!(frames_cut_anywhere),
    scenario!(an_end_within_a_frame),
    scenario!(no_welcome),
    scenario!(busy_before_the_hello_is_read),
    scenario!(an_error_while_the_client_writes),
    scenario!(unknown_codes),
    scenario!(pings_of_the_broker),
    scenario!(goodbye_without_a_token),
    scenario!(unknown_keys_of_stats, "status"),
];

fn welcome() -> Welcome {
    Welcome { max_payload: 1 << 20, run: 1, ..Welcome::default() }
}

/// Events that no client has emitted before it is given the time to read.
const FLOOD: u32 = 2_000_000;

/// Connects without trying again, listens to `a`, and says that it does.
fn connect(client: &mut Driver, socket: &str) -> Result<()> {
    client.connect_with(socket, json!({ "reconnect": false }))?;
    client.on("a")?;
    client.emit("go", "")
}

/// The other end of [`connect`].
fn begin(wire: &mut Wire) -> Result<()> {
    wire.welcome(&welcome())?;
    wire.acknowledge("a")?;
    wire.read_until(Kind::Event).map(drop)
}

/// Has a liar say these bytes once the client listens; how the client ends.
fn said(stage: &Stage<'_>, bytes: Vec<u8>) -> Result<Value> {
    let liar = stage.liar(move |_, mut wire| {
        begin(&mut wire)?;
        wire.send(&bytes)?;
        wire.drain();
        Ok(())
    })?;
    let mut client = stage.client()?;
    connect(&mut client, liar.socket())?;
    let closed = client.report(&["closed"])?;
    ensure!(client.state()?["closed"] == true, "closed");
    client.finish()?;
    Ok(closed)
}

/// The broken headers of PROTOCOL.md, and a length that nobody has memory for. What stood
/// before them arrives.
fn broken_frames(stage: &Stage<'_>) -> Result<()> {
    let mut broken: Vec<Vec<u8>> = Vec::new();
    for example in vectors("broken")? {
        let text = example["bytes"].as_str().context("bytes")?;
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16);
        broken.push((0..text.len()).step_by(2).map(byte).collect::<Result<_, _>>()?);
    }
    let source = Source { node: 0x2a, client: 9 };
    let mut huge = encode(Kind::Event, source, 1, b"a", b"");
    huge[..4].copy_from_slice(&0xffff_fff8_u32.to_le_bytes());
    broken.push(huge);
    // Kinds that only a client sends, and names that are none.
    broken.push(encode(Kind::Hello, source, 0, b"default", b""));
    broken.push(encode(Kind::Event, source, 1, b"\xff\xfe", b""));
    for bytes in broken {
        let liar = stage.liar(move |_, mut wire| {
            begin(&mut wire)?;
            let good = wire.event("a", Encoding::Text, b"good");
            wire.send(&[good, bytes.clone()].concat())?;
            wire.drain();
            Ok(())
        })?;
        let mut client = stage.client()?;
        connect(&mut client, liar.socket())?;
        client.text("good")?;
        let closed = client.report(&["closed"])?;
        ensure!(closed["code"] == "PROTOCOL", "{closed}");
        client.finish()?;
    }
    Ok(())
}

/// A byte at a time, and in pieces of other sizes: headers, names and payloads are cut.
fn frames_cut_anywhere(stage: &Stage<'_>) -> Result<()> {
    let sizes = [0, 1, 8, 300];
    let liar = stage.liar(move |_, mut wire| {
        begin(&mut wire)?;
        for piece in [1, 3, 24, 33, 100] {
            let mut stream = Vec::new();
            for size in sizes {
                stream.extend(wire.event("a", Encoding::Text, &vec![b'y'; size]));
            }
            for part in stream.chunks(piece) {
                wire.send(part)?;
            }
        }
        wire.drain();
        Ok(())
    })?;
    let mut client = stage.client()?;
    connect(&mut client, liar.socket())?;
    for sequence in 1..=20 {
        let event = client.event()?;
        ensure!(event.sequence == sequence, "{sequence}: {}", event.report);
        ensure!(event.data.len() == sizes[(sequence as usize - 1) % 4], "{}", event.report);
    }
    client.finish()
}

fn an_end_within_a_frame(stage: &Stage<'_>) -> Result<()> {
    let liar = stage.liar(move |_, mut wire| {
        begin(&mut wire)?;
        let event = wire.event("a", Encoding::Text, &[b'y'; 100]);
        wire.send(&event[..event.len() - 20])
    })?;
    let mut client = stage.client()?;
    connect(&mut client, liar.socket())?;
    ensure!(client.report(&["closed"])?["code"] == "CONNECTION_LOST", "it broke");
    ensure!(client.left("event").is_empty(), "half an event is none");
    client.finish()
}

/// Other versions, other servers, an error, and silence.
fn no_welcome(stage: &Stage<'_>) -> Result<()> {
    let good = welcome().encode();
    let (mut version, mut magic) = (good.clone(), good.clone());
    version[4..6].copy_from_slice(&2_u16.to_le_bytes());
    magic[..4].copy_from_slice(b"HTTP");
    let frame = |kind, payload: &[u8]| encode(kind, Source { node: 1, client: 1 }, 0, b"", payload);
    let refused = encode_error(ErrorCode::Version, "this broker speaks version 2");
    let cases: [(Vec<u8>, &[&str]); 7] = [
        (frame(Kind::Welcome, &version), &["VERSION"]),
        (frame(Kind::Error, &refused), &["VERSION", "CLOSED_BY_BROKER"]),
        (frame(Kind::Welcome, &magic), &["PROTOCOL"]),
        (frame(Kind::Welcome, &good[..20]), &["PROTOCOL"]),
        (frame(Kind::Pong, &[0; 8]), &["PROTOCOL"]),
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(), &["PROTOCOL"]),
        (Vec::new(), &["TIMEOUT"]),
    ];
    for (says, codes) in cases {
        let text = String::from_utf8_lossy(&says).into_owned();
        let liar = stage.liar(move |_, mut wire| {
            wire.read_until(Kind::Hello)?;
            wire.send(&says)?;
            wire.drain();
            Ok(())
        })?;
        let mut client = stage.client()?;
        let socket = liar.socket();
        let refused =
            client.refused(json!({ "do": "connect", "socket": socket, "timeout_ms": 1000 }))?;
        ensure!(codes.contains(&refused.code.as_str()), "{codes:?}, not {refused:?}: {text:?}");
        client.finish()?;
    }
    Ok(())
}

/// The hello finds a socket that is closed already: the reason is there all the same.
fn busy_before_the_hello_is_read(stage: &Stage<'_>) -> Result<()> {
    let liar = stage.liar(move |_, mut wire| {
        wire.frame(Kind::Error, 0, "", &encode_error(ErrorCode::Busy, "too many clients"))?;
        wire.half_close();
        wire.drain();
        Ok(())
    })?;
    for _ in 0..10 {
        let mut client = stage.client()?;
        let refused = client.refused(
            json!({ "do": "connect", "socket": liar.socket(), "timeout_ms": 1000, "reconnect": false }),
        )?;
        ensure!(refused.code == "CLOSED_BY_BROKER", "{refused:?}");
        ensure!(refused.broker_code == Some(9), "{refused:?}");
        ensure!(refused.message.contains("too many clients"), "the broker's words: {refused:?}");
        client.finish()?;
    }
    Ok(())
}

/// Nobody reads what the client writes any more; it learns why, also after its writes fail.
fn an_error_while_the_client_writes(stage: &Stage<'_>) -> Result<()> {
    for drains in [true, false] {
        let liar = stage.liar(move |_, mut wire: Wire| {
            begin(&mut wire)?;
            for _ in 0..100 {
                wire.read_until(Kind::Event)?;
            }
            wire.frame(Kind::Error, 0, "", &encode_error(ErrorCode::Stalled, "too slow"))?;
            wire.half_close();
            if drains {
                wire.drain();
            } else {
                // Full, then broken.
                std::thread::sleep(Duration::from_millis(300));
            }
            Ok(())
        })?;
        let mut client = stage.client()?;
        connect(&mut client, liar.socket())?;
        let many = json!({
            "do": "emit_many", "event": "x", "first": 1, "count": FLOOD, "size": 500,
        });
        let flooding = client.send(many)?;
        let closed = client.report(&["closed"])?;
        ensure!(closed["code"] == "CLOSED_BY_BROKER" && closed["broker_code"] == 8, "{closed}");
        let accepted = client.answer(flooding)?;
        ensure!(accepted.is_err() || accepted.is_ok_and(|it| it["accepted"] != FLOOD), "it ends");
        client.finish()?;
    }
    Ok(())
}

/// Numbers of later releases: an error is fatal, a loss is a loss, text may be anything.
fn unknown_codes(stage: &Stage<'_>) -> Result<()> {
    let source = Source { node: 0x2a, client: 3 };
    let mut error = encode_error(ErrorCode::Busy, "x");
    error[..4].copy_from_slice(&999_u32.to_le_bytes());
    error.extend_from_slice(b"\xff\xfe\x1b[2J");
    let closed = said(stage, encode(Kind::Error, source, 0, b"", &error))?;
    ensure!(closed["code"] == "CLOSED_BY_BROKER", "{closed}");

    let liar = stage.liar(move |_, mut wire| {
        begin(&mut wire)?;
        let mut lost = encode_lost(LossReason::Overflow);
        lost[..4].copy_from_slice(&77_u32.to_le_bytes());
        let good = wire.event("a", Encoding::Text, b"good");
        let other = encode(Kind::Lost, Source { node: 7, client: 1 }, 5, b"", &lost);
        let known = encode_lost(LossReason::Overflow);
        let nobody = encode(Kind::Lost, Source::NONE, 0, b"", &known);
        wire.send(&[other, nobody, good].concat())?;
        wire.drain();
        Ok(())
    })?;
    let mut client = stage.client()?;
    connect(&mut client, liar.socket())?;
    let lost = client.report(&["lost", "event"])?;
    ensure!(lost["count"] == 5 && lost["reason"] == "unknown", "{lost}");
    ensure!(lost["source"] == "00000007/1", "{lost}");
    let lost = client.report(&["lost", "event"])?;
    ensure!(lost["count"].is_null() && lost["source"].is_null(), "{lost}");
    ensure!(lost["reason"] == "overflow", "{lost}");
    client.text("good")?;
    client.finish()
}

/// They are answered, also while the client says goodbye.
fn pings_of_the_broker(stage: &Stage<'_>) -> Result<()> {
    let (tell, told) = std::sync::mpsc::channel();
    let liar = stage.liar(move |_, mut wire| {
        begin(&mut wire)?;
        for token in [77, u64::MAX, 0] {
            wire.frame(Kind::Ping, token, "", b"")?;
            let pong = wire.read_until(Kind::Pong)?;
            ensure!(pong.sequence == token, "the token: {pong:?}");
            decode_pong(&pong.payload)?;
        }
        tell.send(())?;
        let bye = wire.read_until(Kind::Bye)?;
        wire.frame(Kind::Ping, 5, "", b"")?;
        wire.frame(Kind::Bye, bye.sequence, "", b"")?;
        wire.drain();
        Ok(())
    })?;
    let mut client = stage.client()?;
    connect(&mut client, liar.socket())?;
    let answered = told.recv_timeout(Duration::from_secs(10));
    ensure!(answered.is_ok(), "pings are answered: {}", liar.failures());
    client.call(json!({ "do": "disconnect" }))?;
    ensure!(liar.failures().is_empty(), "{}", liar.failures());
    client.finish()
}

/// Nobody asked: the broker shuts down.
fn goodbye_without_a_token(stage: &Stage<'_>) -> Result<()> {
    let source = Source { node: 0x2a, client: 3 };
    let closed = said(stage, encode(Kind::Bye, source, 0, b"", b""))?;
    ensure!(closed["code"] == "BROKER_SHUT_DOWN", "{closed}");
    Ok(())
}

fn unknown_keys_of_stats(stage: &Stage<'_>) -> Result<()> {
    let liar = stage.liar(move |_, mut wire| {
        wire.welcome(&welcome())?;
        let asked = wire.read_until(Kind::Stats)?;
        wire.frame(Kind::Stats, asked.sequence, "", br#"{"pid":7,"tomorrow":{"a":[1]}}"#)?;
        wire.drain();
        Ok(())
    })?;
    let mut client = stage.client()?;
    client.connect(liar.socket())?;
    let status = client.call(json!({ "do": "status" }))?;
    ensure!(status["status"] == json!({ "pid": 7, "tomorrow": { "a": [1] } }), "{status}");
    client.finish()
}
