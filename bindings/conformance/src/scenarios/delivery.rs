//! Who gets what, how often and in which order.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Scenario, numbers, scenario, vectors};
use crate::runner::Stage;

pub const SCENARIOS: &[Scenario] = &[
    scenario!(order),
    scenario!(both_ways),
    scenario!(echo),
    scenario!(once_for_each_listener),
    scenario!(patterns),
    scenario!(channels),
    scenario!(large_and_empty_payloads),
    scenario!(status_and_audience, "status", "audience"),
];

/// Number, order, source and sequence of what another client emits.
fn order(stage: &Stage<'_>) -> Result<()> {
    const EVENTS: u64 = 5000;
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    client.on("tick")?;
    let source = peer.state()?["source"].as_str().context("a source")?.to_owned();
    let many =
        json!({ "do": "emit_many", "event": "tick", "first": 1, "count": EVENTS, "size": 64 });
    peer.call(many)?;
    for number in 1..=EVENTS {
        let event = client.event()?;
        ensure!(event.number()? == number, "number {number}, not {}", event.report);
        ensure!(event.sequence == number && event.source == source, "{}", event.report);
        ensure!(event.data.len() == 64 && event.event == "tick", "{}", event.report);
    }
    ensure!(peer.state()?["last_sequence"] == EVENTS, "last_sequence");
    client.finish()?;
    peer.finish()
}

/// The client under test emits, too.
fn both_ways(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    client.on("to.client")?;
    peer.on("to.peer")?;
    let many = |event: &str| json!({ "do": "emit_many", "event": event, "first": 1, "count": 3000, "size": 16 });
    let (first, second) = (client.send(many("to.peer"))?, peer.send(many("to.client"))?);
    let accepted = client.answer(first)?.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    ensure!(accepted["accepted"] == 3000, "{accepted}");
    ensure!(peer.answer(second)?.is_ok(), "the peer emits");
    numbers(&mut peer, 1..=3000)?;
    numbers(&mut client, 1..=3000)?;
    client.finish()
}

fn echo(stage: &Stage<'_>) -> Result<()> {
    let broker = stage.broker(&[])?;
    let (mut client, mut peer) = (stage.client()?, stage.peer()?);
    peer.connect(broker.socket())?;
    for echo in [false, true] {
        client.connect_with(broker.socket(), json!({ "echo": echo }))?;
        client.on("a")?;
        client.emit("a", "own")?;
        client.call(json!({ "do": "ping" }))?;
        peer.emit("a", "the other's")?;
        if echo {
            client.text("own")?;
        }
        client.text("the other's")?;
        ensure!(client.left("event").is_empty(), "once each");
    }
    client.finish()
}

/// An event that matches several patterns of a client is told once to each listener.
fn once_for_each_listener(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    let patterns = ["a.b", "a.*", "a.**", "**", "*.b"];
    for pattern in patterns {
        client.on(pattern)?;
    }
    client.call(json!({ "do": "on", "pattern": "a.b", "listener": "again" }))?;
    for number in 0..20 {
        peer.emit("a.b", &number.to_string())?;
    }
    peer.emit("z", "end")?;
    for number in 0..20 {
        let called: Vec<String> = (0..=patterns.len())
            .map(|_| Ok(client.text(&number.to_string())?.listener))
            .collect::<Result<_>>()?;
        let order = ["a.b", "a.*", "a.**", "**", "*.b", "again"];
        ensure!(called == order, "in the order in which they were added, not {called:?}");
    }
    ensure!(client.text("end")?.listener == "**", "the end");
    client.finish()
}

/// The examples of PROTOCOL.md, each pattern with each name.
fn patterns(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    let mut expected: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    for example in vectors("matches")? {
        let text = |key: &str| example[key].as_str().unwrap_or_default().to_owned();
        let matches = example["matches"].as_bool().context("matches")?;
        expected.entry(text("name")).or_default().insert(text("pattern"), matches);
    }
    let patterns: BTreeSet<&String> = expected.values().flat_map(BTreeMap::keys).collect();
    for pattern in patterns {
        client.on(pattern)?;
    }
    client.on("the.end")?;
    for (name, patterns) in &expected {
        peer.emit(name, "x")?;
        peer.emit("the.end", "end")?;
        let mut heard = BTreeSet::new();
        loop {
            let event = client.event()?;
            match event.event.as_str() {
                "the.end" if event.listener == "the.end" => break,
                "the.end" => {}
                _ => ensure!(heard.insert(event.listener.clone()), "twice: {}", event.report),
            }
        }
        for (pattern, matches) in patterns {
            ensure!(heard.contains(pattern) == *matches, "{pattern} and {name}: {heard:?}");
        }
    }
    client.finish()
}

fn channels(stage: &Stage<'_>) -> Result<()> {
    let broker = stage.broker(&[])?;
    let (mut client, mut peer) = (stage.client()?, stage.peer()?);
    client.connect_with(broker.socket(), json!({ "channel": "red" }))?;
    client.on("a")?;
    for channel in ["blue", "default", "red"] {
        peer.connect_with(broker.socket(), json!({ "channel": channel }))?;
        peer.emit("a", channel)?;
        peer.call(json!({ "do": "disconnect" }))?;
    }
    client.text("red")?;
    ensure!(client.left("event").is_empty(), "another channel's");
    client.finish()
}

fn large_and_empty_payloads(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    client.on("a")?;
    peer.on("a")?;
    // Behind words, buffers, and what a socket takes at once.
    for size in [0, 1, 7, 8, 9, 4096, 65_536, 300_001, 2_000_000] {
        let emit = json!({ "do": "emit", "event": "a", "encoding": "bytes", "size": size });
        peer.call(emit.clone())?;
        let event = client.event()?;
        ensure!(
            event.data == vec![b'x'; size] && event.encoding == "bytes",
            "{size} to the client"
        );
        client.call(emit)?;
        ensure!(peer.event()?.data == vec![b'x'; size], "{size} from the client");
    }
    client.finish()
}

fn status_and_audience(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    let status = client.call(json!({ "do": "status" }))?;
    ensure!(status["status"]["pid"].is_u64(), "{status}");
    peer.on("heard")?;
    let audience = |event: &str| json!({ "do": "audience", "event": event });
    ensure!(client.call(audience("heard"))? == json!({ "clients": 1, "brokers": 0 }), "heard");
    ensure!(client.call(audience("unheard"))? == json!({ "clients": 0, "brokers": 0 }), "unheard");
    ensure!(client.refused(audience("a.*"))?.code == "NAME", "no name");
    client.finish()
}
