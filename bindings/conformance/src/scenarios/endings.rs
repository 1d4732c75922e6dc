//! Ends in order: nothing is lost, and what comes afterwards is refused.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Scenario, numbers, scenario};
use crate::runner::Stage;

pub const SCENARIOS: &[Scenario] = &[
    scenario!(disconnecting_flushes),
    scenario!(flush_and_ping),
    scenario!(confirmed, "confirmed"),
    scenario!(the_broker_stops),
    scenario!(connecting_anew),
];

fn disconnecting_flushes(stage: &Stage<'_>) -> Result<()> {
    const EVENTS: u64 = 20_000;
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    peer.on("tick")?;
    let many =
        json!({ "do": "emit_many", "event": "tick", "first": 1, "count": EVENTS, "size": 100 });
    ensure!(client.call(many)?["accepted"] == EVENTS, "all are accepted");
    client.call(json!({ "do": "disconnect" }))?;
    numbers(&mut peer, 1..=EVENTS)?;
    let state = client.state()?;
    ensure!(state["closed"] == true && state["connected"] == false, "{state}");
    let emit = json!({ "do": "emit", "event": "a", "encoding": "text", "text": "late" });
    ensure!(client.refused(emit)?.code == "DISCONNECTED", "it is over");
    let on = json!({ "do": "on", "pattern": "a", "listener": "late" });
    ensure!(client.refused(on)?.code == "DISCONNECTED", "it is over");
    for report in ["closed", "disconnect", "error"] {
        ensure!(client.left(report).is_empty(), "nobody asked for a report of {report}");
    }
    client.finish()
}

fn flush_and_ping(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&[])?;
    peer.on("a")?;
    client.emit("a", "1")?;
    client.call(json!({ "do": "flush" }))?;
    peer.text("1")?;
    client.emit("a", "2")?;
    client.call(json!({ "do": "ping" }))?;
    // Queued for the peer: what it is told from now on comes behind it.
    client.call(json!({ "do": "flush" }))?;
    peer.text("2")?;
    client.finish()
}

fn confirmed(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, _peer) = stage.trio(&[])?;
    for text in ["1", "2", "3"] {
        client.emit("a", text)?;
    }
    client.call(json!({ "do": "ping" }))?;
    let state = client.state()?;
    ensure!(state["confirmed"] == 3 && state["last_sequence"] == 3, "{state}");
    client.finish()
}

/// A client that tries again is told, and comes back; one that does not is over.
fn the_broker_stops(stage: &Stage<'_>) -> Result<()> {
    let (mut broker, mut client, mut peer) = stage.trio(&[])?;
    client.on("a")?;
    let mut last = stage.client()?;
    last.connect_with(broker.socket(), json!({ "reconnect": false }))?;
    broker.stop()?;
    ensure!(client.report(&["disconnect"])?["code"] == "BROKER_SHUT_DOWN", "disconnect");
    ensure!(last.report(&["closed"])?["code"] == "BROKER_SHUT_DOWN", "closed");
    let state = last.state()?;
    ensure!(state["closed"] == true, "{state}");
    broker.restart()?;
    client.report(&["connect"])?;
    peer.report(&["connect"])?;
    peer.emit("a", "again")?;
    client.text("again")?;
    client.finish()?;
    last.finish()
}

/// One driver, one client after the other.
fn connecting_anew(stage: &Stage<'_>) -> Result<()> {
    let (broker, mut client, mut peer) = stage.trio(&[])?;
    for number in 0..5 {
        client.call(json!({ "do": "disconnect" }))?;
        client.connect(broker.socket())?;
        let listener = number.to_string();
        client.call(json!({ "do": "on", "pattern": "a", "listener": listener }))?;
        peer.emit("a", &listener)?;
        ensure!(client.text(&listener)?.listener == listener, "the new client's alone");
    }
    client.finish()
}
