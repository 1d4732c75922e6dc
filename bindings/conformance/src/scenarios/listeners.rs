//! Listeners: once, removal, order, what they may do.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Scenario, numbers, scenario};
use crate::runner::Stage;

pub const SCENARIOS: &[Scenario] = &[
    scenario!(once),
    scenario!(removal),
    scenario!(names_and_counts),
    scenario!(emitting_inside),
    scenario!(prepending, "prepend"),
    scenario!(throwing, "throw"),
    scenario!(removal_inside, "off-inside"),
    scenario!(pulling, "pull"),
];

fn on(pattern: &str, listener: &str) -> Value {
    json!({ "do": "on", "pattern": pattern, "listener": listener })
}

fn off(listener: &str) -> Value {
    json!({ "do": "off", "listener": listener })
}

fn once(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    client.call(json!({ "do": "on", "pattern": "a", "listener": "once", "once": true }))?;
    client.call(on("**", "always"))?;
    for text in ["1", "2", "3"] {
        peer.emit("a", text)?;
    }
    let called: Vec<(String, Vec<u8>)> = (0..4)
        .map(|_| client.event().map(|event| (event.listener, event.data)))
        .collect::<Result<_>>()?;
    let expected = [("once", "1"), ("always", "1"), ("always", "2"), ("always", "3")];
    let expected = expected.map(|(listener, data)| (listener.to_owned(), data.as_bytes().to_vec()));
    ensure!(called == expected, "{called:?}");
    ensure!(client.call(off("once"))?["removed"] == false, "it is gone");
    client.finish()
}

/// One of two for the same pattern, then the other; then it may come again.
fn removal(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    for listener in ["one", "two"] {
        client.call(on("a", listener))?;
    }
    client.call(on("end", "end"))?;
    ensure!(client.call(off("one"))?["removed"] == true, "removed");
    ensure!(client.call(off("one"))?["removed"] == false, "removed already");
    peer.emit("a", "1")?;
    ensure!(client.text("1")?.listener == "two", "the other one stays");
    client.call(off("two"))?;
    peer.emit("a", "2")?;
    peer.emit("end", "end")?;
    client.text("end")?;
    client.call(on("a", "three"))?;
    peer.emit("a", "3")?;
    ensure!(client.text("3")?.listener == "three", "listening again");
    client.finish()
}

fn names_and_counts(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, _peer) = stage.trio(&[])?;
    let expect = |state: &Value, names: Value, count: u64| {
        ensure!(state["event_names"] == names && state["listener_count"] == count, "{state}");
        ensure!(state["connected"] == true && state["closed"] == false, "{state}");
        Ok(())
    };
    expect(&client.state()?, json!([]), 0)?;
    client.call(on("b.*", "one"))?;
    client.call(on("a", "two"))?;
    client.call(on("a", "three"))?;
    expect(&client.state()?, json!(["a", "b.*"]), 3)?;
    client.call(off("two"))?;
    client.call(off("one"))?;
    expect(&client.state()?, json!(["a"]), 1)?;
    client.finish()
}

/// A listener answers what it hears, with the same payload.
fn emitting_inside(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    let then = json!({ "emit": "answer" });
    client.call(json!({ "do": "on", "pattern": "ask", "listener": "l", "then": then }))?;
    peer.on("answer")?;
    let many = json!({ "do": "emit_many", "event": "ask", "first": 1, "count": 500, "size": 32 });
    peer.call(many)?;
    numbers(&mut peer, 1..=500)?;
    numbers(&mut client, 1..=500)?;
    client.finish()
}

fn prepending(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    client.call(on("a", "first"))?;
    client.call(on("*", "second"))?;
    client.call(json!({ "do": "on", "pattern": "a", "listener": "before", "prepend": true }))?;
    peer.emit("a", "1")?;
    for expected in ["before", "first", "second"] {
        let event = client.text("1")?;
        ensure!(event.listener == expected, "{expected}, not {}", event.listener);
    }
    client.finish()
}

/// The others are called all the same, that one again, and somebody is told.
fn throwing(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    client.call(json!({ "do": "on", "pattern": "a", "listener": "bad", "then": "throw" }))?;
    client.call(on("a", "good"))?;
    for text in ["1", "2"] {
        peer.emit("a", text)?;
        for listener in ["bad", "good"] {
            ensure!(client.text(text)?.listener == listener, "{listener}");
        }
        let error = client.report(&["error"])?;
        ensure!(error["code"] == "LISTENER_PANICKED", "{error}");
    }
    ensure!(client.state()?["connected"] == true, "the client lives");
    client.finish()
}

fn removal_inside(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    client.call(json!({ "do": "on", "pattern": "a", "listener": "leaves", "then": "off" }))?;
    client.call(on("a", "stays"))?;
    for text in ["1", "2"] {
        peer.emit("a", text)?;
    }
    for (listener, text) in [("leaves", "1"), ("stays", "1"), ("stays", "2")] {
        ensure!(client.text(text)?.listener == listener, "{listener} {text}");
    }
    client.finish()
}

fn pulling(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    client.call(json!({ "do": "subscribe", "pattern": "tick", "listener": "pull" }))?;
    let many = json!({ "do": "emit_many", "event": "tick", "first": 1, "count": 2000, "size": 32 });
    peer.call(many)?;
    numbers(&mut client, 1..=2000)?;
    ensure!(client.call(off("pull"))?["removed"] == true, "removed");
    client.call(on("end", "end"))?;
    peer.emit("tick", "unheard")?;
    peer.emit("end", "end")?;
    client.text("end")?;
    client.finish()
}
