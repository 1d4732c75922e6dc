//! Process that listens through a peer: it checks and counts as our own listener does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context, Result};

use crate::delivery_check::DeliveryCheck;
use crate::listener::answer_commands;
use crate::message::{Report, report};
use crate::meter::Meter;
use crate::plan::ListenerPlan;
use crate::stamp::Template;
use netcluster_peers::connection::{Connection, Received};

/// Name of the counter of connections that the peer closes.
pub const CLOSED: &str = "listeners disconnected by the peer";

/// Listens through a peer until told to quit. The connection is made by the thread that
/// uses it: not every library lets another have it.
pub fn run<C: Connection>(
    plan: ListenerPlan,
    connect: impl FnOnce() -> Result<C> + Send + 'static,
) -> Result<()> {
    let (event, name) = plan.event;
    let template = Arc::new(Template::new(plan.size));
    let check = DeliveryCheck::new(event, plan.emitters, template, plan.verify_full);
    let meter = Arc::new(Meter::new(vec![check]));
    let counted = Arc::clone(&meter);
    let (subscribed, ready) = sync_channel(1);
    thread::spawn(move || {
        let made = connect().and_then(|mut connection| {
            connection.subscribe(&name)?;
            Ok(connection)
        });
        let (connection, made) =
            made.map_or_else(|error| (None, Err(error)), |it| (Some(it), Ok(())));
        // The main thread waits for it.
        let _ = subscribed.send(made);
        let Some(mut connection) = connection else { return };
        let end = match plan.reply {
            Some(reply) => answer(&mut connection, counted.check(0), &reply),
            None => count(&mut connection, counted.check(0)),
        };
        let why = end.map_or_else(|error| format!("{CLOSED} ({error:#})"), |()| CLOSED.into());
        report(&Report::Counters(BTreeMap::from([(why, 1)])));
        // Not by returning: the thread's CPU time would be gone with it.
        loop {
            thread::park();
        }
    });
    ready.recv().context("the listening thread ended")??;
    report(&Report::Ready { driver: None });
    answer_commands(&meter);
    Ok(())
}

/// Counts events until the peer closes the connection.
fn count(connection: &mut impl Connection, check: &DeliveryCheck) -> Result<()> {
    let record = |payload: &[u8]| {
        check.record(payload);
    };
    while connection.receive(record)? != Received::Closed {}
    Ok(())
}

/// Counts events and sends each back, until the peer closes the connection.
fn answer(connection: &mut impl Connection, check: &DeliveryCheck, reply: &str) -> Result<()> {
    let mut echo = Vec::new();
    loop {
        let mut size = 0;
        let record = |payload: &[u8]| {
            check.record(payload);
            echo.extend_from_slice(payload);
            size = payload.len();
        };
        if connection.receive(record)? == Received::Closed {
            return Ok(());
        }
        if size > 0 {
            // All are of one size.
            for payload in echo.chunks(size) {
                connection.publish(reply, payload)?;
            }
            connection.flush()?;
        }
        echo.clear();
    }
}
