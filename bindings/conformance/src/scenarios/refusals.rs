//! What a client refuses, with an error that says why, and without harm.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Scenario, scenario, vectors};
use crate::runner::Stage;

pub const SCENARIOS: &[Scenario] = &[
    scenario!(no_broker),
    scenario!(bad_names),
    scenario!(large_payloads),
    scenario!(too_many_patterns),
];

/// The error says how to start one.
fn no_broker(stage: &Stage<'_>) -> Result<()> {
    let mut client = stage.client()?;
    let socket = stage.path("nobody.sock");
    let socket = socket.to_str().context("a text")?;
    let connect = json!({ "do": "connect", "socket": socket, "timeout_ms": 2000 });
    let refused = client.refused(connect)?;
    ensure!(refused.code == "BROKER_NOT_RUNNING", "{refused:?}");
    ensure!(refused.message.contains("netcluster serve"), "how to start one: {refused:?}");
    let broker = stage.broker(&[])?;
    client.connect(broker.socket()).context("it may try again")?;
    client.finish()
}

/// The examples of PROTOCOL.md, and names that are too long.
fn bad_names(stage: &Stage<'_>) -> Result<()> {
    let (broker, mut client, mut peer) = stage.trio(&[])?;
    peer.on("**")?;
    let mut examples = vectors("names")?;
    for of in ["event", "channel", "pattern"] {
        examples.push(json!({ "of": of, "name": "", "good": false }));
        examples.push(json!({ "of": of, "name": "x".repeat(255), "good": true }));
        examples.push(json!({ "of": of, "name": "x".repeat(256), "good": false }));
        examples.push(json!({ "of": of, "name": "ä".repeat(128), "good": false }));
    }
    let mut other = stage.client()?;
    for example in examples {
        let name = example["name"].as_str().context("a name")?;
        let (request, code) = match example["of"].as_str() {
            Some("event") => {
                (json!({ "do": "emit", "event": name, "encoding": "text", "text": "x" }), "NAME")
            }
            Some("pattern") => {
                (json!({ "do": "on", "pattern": name, "listener": name }), "PATTERN")
            }
            _ => {
                let socket = broker.socket();
                let connect = json!({ "do": "connect", "socket": socket, "channel": name });
                if example["good"] == true {
                    other.call(connect)?;
                } else {
                    let refused = other.refused(connect)?;
                    ensure!(refused.code == "NAME", "{example}: {refused:?}");
                }
                continue;
            }
        };
        if example["good"] == true {
            client.call(request)?;
        } else {
            let refused = client.refused(request)?;
            ensure!(refused.code == code, "{example}: {refused:?}");
        }
    }
    // Only the good ones came, from one connection that was never harmed.
    client.emit("the.end", "end")?;
    while peer.event()?.event != "the.end" {}
    ensure!(client.left("disconnect").is_empty(), "the connection is what it was");
    client.finish()
}

/// One over the broker's limit is refused before it is sent; the largest passes.
fn large_payloads(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&["--max-payload", "64KiB"])?;
    peer.on("a")?;
    let emit =
        |size: usize| json!({ "do": "emit", "event": "a", "encoding": "bytes", "size": size });
    for size in [65_537, 5_000_000] {
        let refused = client.refused(emit(size))?;
        ensure!(refused.code == "PAYLOAD_TOO_LARGE", "{refused:?}");
        ensure!(refused.message.contains("65536"), "the limit: {refused:?}");
    }
    client.call(emit(65_536))?;
    ensure!(peer.event()?.data.len() == 65_536, "the largest");
    if client.can("max-payload") {
        ensure!(client.state()?["max_payload"] == 65_536, "max_payload");
    }
    ensure!(client.left("disconnect").is_empty(), "the connection is what it was");
    client.finish()
}

/// The broker refuses one pattern; those that are there go on.
fn too_many_patterns(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&["--max-patterns", "3"])?;
    for pattern in ["a", "b", "c"] {
        client.on(pattern)?;
    }
    let refused = client.refused(json!({ "do": "on", "pattern": "d", "listener": "d" }))?;
    ensure!(refused.code == "PATTERN_REFUSED", "{refused:?}");
    ensure!(refused.message.contains("--max-patterns"), "the broker's words: {refused:?}");
    peer.emit("a", "1")?;
    client.text("1")?;
    client.call(json!({ "do": "off", "listener": "a" }))?;
    client.call(json!({ "do": "on", "pattern": "d", "listener": "again" }))?;
    peer.emit("d", "2")?;
    client.text("2")?;
    client.finish()
}
