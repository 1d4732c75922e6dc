//! Listeners that do not keep up: emitters wait, or events are lost and told.
//!
//! A listener is slow by being stopped in its tracks: that works in every language.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Scenario, numbers, scenario};
use crate::runner::Stage;

pub const SCENARIOS: &[Scenario] = &[
    scenario!(back_pressure_of_a_listener),
    scenario!(back_pressure_on_the_client),
    scenario!(latest_loses_and_tells, "latest"),
    scenario!(a_stuck_listener_learns_why),
];

/// More than all buffers on the way hold.
const EVENTS: u64 = 30_000;
const EVENT_BYTES: usize = 1024;

/// Queues that are full soon, and patience enough.
const SMALL: [&str; 6] =
    ["--max-payload", "16KiB", "--max-queue", "256KiB", "--stall-timeout", "60s"];

/// Longest time until a client is back.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time for which an emitter that waits is seen to wait.
const A_WHILE: Duration = Duration::from_millis(300);

fn flood() -> Value {
    json!({
        "do": "emit_many", "event": "tick", "first": 1, "count": EVENTS, "size": EVENT_BYTES,
    })
}

/// The client listens, and is frozen: the peer waits, and nothing is lost.
fn back_pressure_of_a_listener(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&SMALL)?;
    client.on("tick")?;
    client.freeze();
    let flooding = peer.send(flood())?;
    ensure!(peer.is_silent(A_WHILE)?, "the peer emits more than there is room for");
    client.thaw();
    numbers(&mut client, 1..=EVENTS)?;
    let accepted = peer.answer(flooding)?.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    ensure!(accepted["accepted"] == EVENTS, "{accepted}");
    ensure!(client.left("lost").is_empty(), "nothing is lost");
    client.finish()
}

/// The peer listens, and is frozen: the client waits, as its language does.
fn back_pressure_on_the_client(stage: &Stage<'_>) -> Result<()> {
    let (_broker, mut client, mut peer) = stage.trio(&SMALL)?;
    peer.on("tick")?;
    peer.freeze();
    let flooding = client.send(flood())?;
    ensure!(client.is_silent(A_WHILE)?, "the client emits more than there is room for");
    peer.thaw();
    numbers(&mut peer, 1..=EVENTS)?;
    let accepted = client.answer(flooding)?.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    ensure!(accepted["accepted"] == EVENTS, "{accepted}");
    ensure!(peer.left("lost").is_empty(), "nothing is lost");
    client.finish()
}

/// Nobody waits; what is missing is told at its place, and counted.
fn latest_loses_and_tells(stage: &Stage<'_>) -> Result<()> {
    let broker = stage.broker(&[])?;
    let (mut client, mut peer) = (stage.client()?, stage.peer()?);
    peer.connect(broker.socket())?;
    client.connect_with(broker.socket(), json!({ "latest": true, "max_queue": 65_536 }))?;
    client.on("tick")?;
    client.freeze();
    ensure!(peer.call(flood())?["accepted"] == EVENTS, "nobody waits");
    client.thaw();
    let (mut next, mut missing) = (1, 0);
    while next <= EVENTS {
        let report = client.report(&["event", "lost"])?;
        if report["report"] == "lost" {
            ensure!(report["reason"] == "overflow", "{report}");
            missing += report["count"].as_u64().with_context(|| report.to_string())?;
            continue;
        }
        let number: u64 = report["text"].as_str().context("a text")?.trim_end().parse()?;
        ensure!(number == next + missing, "{next} and {missing} that are missing, not {number}");
        (next, missing) = (number + 1, 0);
    }
    ensure!(missing == 0, "the latest one comes");
    client.finish()
}

/// Its connection is ended; it learns by which error, and goes on with a new one.
fn a_stuck_listener_learns_why(stage: &Stage<'_>) -> Result<()> {
    const STALLED: u64 = 8;
    let mut arguments = SMALL;
    arguments[5] = "300ms";
    let (_broker, mut client, mut peer) = stage.trio(&arguments)?;
    client.on("tick")?;
    client.on("after")?;
    client.freeze();
    ensure!(peer.call(flood())?["accepted"] == EVENTS, "the broker lets the peer go on");
    client.thaw();
    // By the error itself, or by the welcome of the connection that follows.
    loop {
        let report = client.report(&["disconnect", "error", "connect"])?;
        if report["broker_code"] == STALLED {
            ensure!(report["code"] == "CLOSED_BY_BROKER", "{report}");
            break;
        }
        ensure!(report["report"] == "disconnect", "the reason, before {report}");
    }
    // Once the flood is over nobody is stuck any more, however busy the machine is.
    peer.call(json!({ "do": "ping" }))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ping = client.send(json!({ "do": "ping" }))?;
        match client.answer(ping)? {
            Ok(_) => break,
            Err(refused) => ensure!(Instant::now() < deadline, "it comes back: {refused:?}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    peer.emit("after", "after")?;
    while client.event()?.listener != "after" {}
    client.finish()
}
