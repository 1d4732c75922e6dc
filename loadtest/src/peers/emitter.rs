//! Process that emits through a peer: as fast as it goes, or one event on the way at a
//! time. It is like our own emitter, but flushes its batches itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;

use crate::clock;
use crate::delivery_check::{DeliveryCheck, Emitted};
use crate::emitter::take_commands;
use crate::message::{Report, report};
use crate::meter::Meter;
use crate::plan::EmitterPlan;
use crate::stamp::{Stamp, Template};
use netcluster_peers::connection::{Connection, Received};

/// Number of events between two looks at whether to stop.
const BATCH: u64 = 64;
/// Name of the counter of connections that the peer closes.
pub const CLOSED: &str = "emitters disconnected by the peer";

/// Emits through a peer until told to quit.
pub fn run<C: Connection>(plan: EmitterPlan, mut connection: C) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let template = Arc::new(Template::new(plan.size));
    let check = DeliveryCheck::new(plan.events[0].0, usize::from(plan.index) + 1, template, false);
    let meter = Arc::new(Meter::new(vec![check]));
    if let Some(reply) = &plan.reply {
        connection.subscribe(reply)?;
    }
    let go = take_commands(plan.reply.is_some(), Arc::clone(&meter), Arc::clone(&stop));
    connection.fence()?;
    report(&Report::Ready { driver: None });
    if go.recv().is_err() {
        return Ok(());
    }
    let mut counts = vec![0; plan.events.len()];
    let done = match plan.reply {
        Some(_) => round_trips(&plan, &mut connection, &meter, &stop, &mut counts[0]),
        None => flat_out(&plan, &mut connection, &stop, &mut counts),
    };
    if let Err(error) = done.and_then(|()| connection.fence()) {
        // What it emitted stands, and counts as lost where it did not arrive.
        report(&Report::Counters(BTreeMap::from([(format!("{CLOSED} ({error:#})"), 1)])));
    }
    let emitted = plan.events.iter().zip(&counts);
    let emitted =
        emitted.map(|((event, _), &count)| Emitted { emitter: plan.index, event: *event, count });
    report(&Report::Emitted(emitted.collect()));
    // The thread that takes commands ends the process.
    loop {
        thread::park();
    }
}

fn flat_out(
    plan: &EmitterPlan,
    connection: &mut impl Connection,
    stop: &AtomicBool,
    counts: &mut [u64],
) -> Result<()> {
    let mut template = Template::new(plan.size);
    let (mut left, mut turn) = (plan.count.unwrap_or(u64::MAX), 0);
    while left > 0 && !stop.load(Ordering::Relaxed) {
        let batch = left.min(BATCH);
        for _ in 0..batch {
            let (event, name) = &plan.events[turn];
            let stamp = Stamp { sequence: counts[turn], emitter: plan.index, event: *event };
            connection.publish(name, template.write(stamp, 0))?;
            counts[turn] += 1;
            turn = if turn + 1 == plan.events.len() { 0 } else { turn + 1 };
        }
        left -= batch;
    }
    connection.flush()
}

/// Makes round trips; ends early if an answer is lost, as it would never go on.
fn round_trips(
    plan: &EmitterPlan,
    connection: &mut impl Connection,
    meter: &Meter,
    stop: &AtomicBool,
    emitted: &mut u64,
) -> Result<()> {
    let mut template = Template::new(plan.size);
    let (event, name) = &plan.events[0];
    let most = plan.count.unwrap_or(u64::MAX);
    while *emitted < most && !stop.load(Ordering::Relaxed) {
        let stamp = Stamp { sequence: *emitted, emitter: plan.index, event: *event };
        let at_ns = clock::now_ns();
        connection.publish(name, template.write(stamp, 0))?;
        connection.flush()?;
        *emitted += 1;
        while meter.check(0).received() < *emitted {
            let each = |payload: &[u8]| {
                if meter.check(0).record(payload) {
                    meter.record_latency(at_ns);
                }
            };
            match connection.receive(each)? {
                Received::Events(_) => {}
                Received::Nothing => anyhow::bail!("an answer is lost"),
                Received::Closed => anyhow::bail!("the peer closed the connection"),
            }
        }
    }
    Ok(())
}
