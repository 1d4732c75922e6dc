//! Bytes, texts and JSON from one language to the other, and claims that are wrong.

use anyhow::{Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use netcluster_wire::Encoding;
use serde_json::{Value, json};

use super::{Scenario, scenario};
use crate::runner::{Driver, Stage, Wire};

pub const SCENARIOS: &[Scenario] =
    &[scenario!(encodings), scenario!(one_name_in_all_encodings), scenario!(wrong_claims)];

/// From the peer to the client, and back.
fn encodings(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    client.on("to.client")?;
    peer.on("to.peer")?;
    exchange(&mut peer, &mut client, "to.client")?;
    exchange(&mut client, &mut peer, "to.peer")?;
    client.finish()
}

fn exchange(from: &mut Driver, to: &mut Driver, event: &str) -> Result<()> {
    for text in ["", "x", "grün", "a\nb\t\"\\\u{0}", "😀 \u{2028}", "12", "null"] {
        let request = json!({ "do": "emit", "event": event, "encoding": "text", "text": text });
        from.call(request)?;
        let got = to.event()?;
        ensure!(got.encoding == "text" && got.data == text.as_bytes(), "{text:?}: {}", got.report);
        ensure!(got.report["text"] == text, "{text:?}: {}", got.report);
    }
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1.5),
        json!(9_007_199_254_740_991_u64),
        json!(""),
        json!("grün \u{0} 😀"),
        json!([]),
        json!([1, "a", [null], {}]),
        json!({ "a": { "b": [1.25, "c"] }, "": "empty", "ä": false }),
    ];
    for value in values {
        let request = json!({ "do": "emit", "event": event, "encoding": "json", "value": value });
        from.call(request)?;
        let got = to.event()?;
        ensure!(got.encoding == "json", "{value}: {}", got.report);
        let read: Value = serde_json::from_slice(&got.data)?;
        ensure!(
            same(&read, &value) && same(&got.report["value"], &value),
            "{value}: {}",
            got.report
        );
    }
    for data in [&b""[..], b"\0", b"\xff\xfe", b"text", &[7; 3000]] {
        let encoded = BASE64_STANDARD.encode(data);
        let request = json!({ "do": "emit", "event": event, "encoding": "bytes", "data": encoded });
        from.call(request)?;
        let got = to.event()?;
        ensure!(got.encoding == "bytes" && got.data == data, "{data:?}: {}", got.report);
        ensure!(got.report.get("text").is_none(), "bytes are no text: {}", got.report);
    }
    Ok(())
}

/// Whether two values are the same in every language: `1` is `1.0`.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|it| same(one, it)))
        }
        _ => one == other,
    }
}

/// In turn, in one stream: each keeps its own.
fn one_name_in_all_encodings(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    client.on("a")?;
    for number in 0..300 {
        let request = match number % 3 {
            0 => json!({ "encoding": "text", "text": number.to_string() }),
            1 => json!({ "encoding": "json", "value": number }),
            _ => json!({ "encoding": "bytes", "data": BASE64_STANDARD.encode(number.to_string()) }),
        };
        let mut request = request;
        (request["do"], request["event"]) = ("emit".into(), "a".into());
        peer.call(request)?;
    }
    for number in 0..300 {
        let event = client.event()?;
        ensure!(event.number()? == number, "{number}, not {}", event.report);
        ensure!(
            event.encoding == ["text", "json", "bytes"][number as usize % 3],
            "{}",
            event.report
        );
    }
    client.finish()
}

/// What cannot be decoded is told as that, with its bytes, and harms nothing.
fn wrong_claims(stage: &Stage<'_>) -> Result<()> {
    let (broker, mut client, _peer) = stage.trio(&[])?;
    client.on("a")?;
    let mut wire = Wire::connect(broker.socket())?;
    let claims: [(Encoding, &[u8]); 8] = [
        (Encoding::Text, b"\xff\xfe"),
        (Encoding::Text, b"caf\xc3"),
        (Encoding::Text, b"\xed\xa0\x80"),
        (Encoding::Json, b""),
        (Encoding::Json, b"{\"a\":"),
        (Encoding::Json, b"\"\xff\""),
        (Encoding::Json, b"NaN"),
        (Encoding::Json, b"1 2"),
    ];
    for (encoding, data) in claims {
        let event = wire.event("a", encoding, data);
        wire.send(&event)?;
        let got = client.event()?;
        ensure!(got.encoding == encoding.name() && got.data == data, "{data:?}: {}", got.report);
        ensure!(got.report["undecodable"].is_string(), "{data:?}: {}", got.report);
        ensure!(got.report.get("text").is_none(), "{data:?}: {}", got.report);
    }
    let good = wire.event("a", Encoding::Json, b" [1 ,\n2] ");
    wire.send(&good)?;
    ensure!(client.event()?.report["value"] == json!([1, 2]), "the client goes on");
    ensure!(client.left("error").len() <= claims.len(), "an error for each at the most");
    client.finish()
}
