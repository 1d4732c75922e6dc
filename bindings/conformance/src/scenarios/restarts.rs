//! Brokers that are killed, stopped and started anew, also in the midst of a flood.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use netcluster_wire::{Kind, Source, Welcome};
use serde_json::{Value, json};

use super::{Scenario, scenario};
use crate::runner::{Broker, Stage};

pub const SCENARIOS: &[Scenario] = &[
    scenario!(reconnecting),
    scenario!(without_reconnecting),
    scenario!(killed_in_a_flood_to_the_client),
    scenario!(killed_in_a_flood_of_the_client),
    scenario!(stopped_in_a_flood_of_the_client),
    scenario!(previous_source_and_sequence),
];

const EVENTS: u64 = 20_000;

fn flood() -> Value {
    json!({ "do": "emit_many", "event": "tick", "first": 1, "count": EVENTS, "size": 200 })
}

/// Twice: with all its subscriptions, under another source, and on with its numbers.
fn reconnecting(stage: &Stage<'_>) -> Result<()> {
    let (mut broker, mut client, mut peer) = stage.trio(&[])?;
    peer.on("own")?;
    client.on("a")?;
    client.on("b.*")?;
    client.on("gone")?;
    client.call(json!({ "do": "off", "listener": "gone" }))?;
    let mut sequence = 0;
    for round in ["0", "1", "2"] {
        if round != "0" {
            broker.kill()?;
            ensure!(client.report(&["disconnect"])?["code"] == "CONNECTION_LOST", "disconnect");
            ensure!(client.state()?["connected"] == false, "not connected now");
            broker.restart()?;
            client.report(&["connect"])?;
            peer.report(&["connect"])?;
        }
        peer.emit("gone", round)?;
        peer.emit("a", round)?;
        peer.emit("b.x", round)?;
        for listener in ["a", "b.*"] {
            ensure!(client.text(round)?.listener == listener, "{listener} again");
        }
        client.emit("own", round)?;
        sequence += 1;
        let own = peer.text(round)?;
        ensure!(own.sequence == sequence, "numbers go on: {}", own.report);
        let state = client.state()?;
        ensure!(state["source"] == own.source && state["connected"] == true, "{state}");
    }
    client.finish()
}

fn without_reconnecting(stage: &Stage<'_>) -> Result<()> {
    let broker = &mut stage.broker(&[])?;
    let mut client = stage.client()?;
    client.connect_with(broker.socket(), json!({ "reconnect": false }))?;
    client.on("a")?;
    broker.kill()?;
    ensure!(client.report(&["closed"])?["code"] == "CONNECTION_LOST", "closed");
    let emit = json!({ "do": "emit", "event": "a", "encoding": "text", "text": "late" });
    ensure!(client.refused(emit)?.code == "DISCONNECTED", "it is over");
    broker.restart()?;
    client.connect(broker.socket())?;
    client.finish()
}

/// The client listens: no event twice, none out of order, the last one comes.
fn killed_in_a_flood_to_the_client(stage: &Stage<'_>) -> Result<()> {
    let (mut broker, mut client, mut peer) = stage.trio(&[])?;
    client.on("tick")?;
    let flooding = peer.send(flood())?;
    for _ in 0..1000 {
        client.event()?;
    }
    broker.kill()?;
    broker.restart()?;
    ensure!(peer.answer(flooding)?.is_ok(), "the peer emits");
    // The peer may have been back before the client was.
    client.report(&["connect"])?;
    peer.emit("tick", "100000")?;
    let mut last = 1000;
    while last < 100_000 {
        let number = client.event()?.number()?;
        ensure!(number > last, "{number} behind {last}");
        last = number;
    }
    client.finish()
}

fn killed_in_a_flood_of_the_client(stage: &Stage<'_>) -> Result<()> {
    flood_of_the_client(stage, Broker::kill)
}

fn stopped_in_a_flood_of_the_client(stage: &Stage<'_>) -> Result<()> {
    flood_of_the_client(stage, Broker::stop)
}

/// The client emits: it goes on with what it had not written, under the same numbers.
fn flood_of_the_client(stage: &Stage<'_>, end: fn(&mut Broker) -> Result<()>) -> Result<()> {
    let (mut broker, mut client, mut peer) = stage.trio(&[])?;
    peer.on("tick")?;
    let flooding = client.send(flood())?;
    for _ in 0..1000 {
        peer.event()?;
    }
    end(&mut broker)?;
    broker.restart()?;
    peer.report(&["connect"])?;
    let accepted = client.answer(flooding)?.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    ensure!(accepted["accepted"] == EVENTS, "{accepted}");
    client.emit("tick", "100000")?;
    let (mut last, mut sources) = (1000, BTreeSet::new());
    while last < 100_000 {
        let event = peer.event()?;
        let number = event.number()?;
        ensure!(number > last, "{number} behind {last}");
        let sequence = if number == 100_000 { EVENTS + 1 } else { number };
        ensure!(event.sequence == sequence, "its own number: {}", event.report);
        sources.insert(event.source);
        last = number;
    }
    ensure!(sources.len() <= 2, "one source for each connection: {sources:?}");
    ensure!(client.state()?["last_sequence"] == EVENTS + 1, "last_sequence");
    client.finish()
}

/// What a hello says of the connection before, and what the welcome says of its end.
fn previous_source_and_sequence(stage: &Stage<'_>) -> Result<()> {
    let (tell, told) = std::sync::mpsc::channel();
    let liar = stage.liar(move |number, mut wire| {
        let reason = match number {
            0 => None,
            _ => Some((netcluster_wire::ErrorCode::Stalled, "too slow".to_owned())),
        };
        let hello =
            wire.welcome(&Welcome { max_payload: 1 << 20, run: 1, reason, ..Welcome::default() })?;
        tell.send((hello.previous, hello.latest))?;
        wire.acknowledge("a")?;
        let event = wire.read_until(Kind::Event)?;
        ensure!(event.sequence == number as u64 + 1, "the event's number: {event:?}");
        if number == 0 {
            return Ok(());
        }
        wire.drain();
        Ok(())
    })?;
    let mut client = stage.client()?;
    client.connect(liar.socket())?;
    client.on("a")?;
    client.emit("x", "1")?;
    ensure!(client.report(&["disconnect"])?["code"] == "CONNECTION_LOST", "disconnect");
    let error = client.report(&["error"])?;
    ensure!(error["code"] == "CLOSED_BY_BROKER" && error["broker_code"] == 8, "{error}");
    client.report(&["connect"])?;
    client.emit("x", "2")?;
    client.call(json!({ "do": "flush" }))?;
    let patience = std::time::Duration::from_secs(10);
    let hello = || told.recv_timeout(patience).context("a hello");
    ensure!(hello()?.0 == Source::NONE, "the first one replaces nobody");
    ensure!(hello()?.0 == Source { node: 0x2a, client: 3 }, "the second one replaces the first");
    ensure!(liar.failures().is_empty(), "{}", liar.failures());
    client.finish()
}
