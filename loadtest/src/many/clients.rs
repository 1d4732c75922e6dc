//! Many connections as clients of the crate, all on one thread: what a program has that
//! holds so many, and who alone is given shared memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use netcluster_client::{AsyncClient, Message};

use super::failed;
use crate::meter::Meter;
use crate::plan::{ManyPlan, event_name, listener_name};
use crate::stamp;
use crate::transport::Transport;

/// Name of the driver.
pub const DRIVER: &str = "clients (tokio)";

/// Connects all clients on a thread of its own, one after the other, each with a listener to
/// an event of its own.
pub fn drive(
    plan: &ManyPlan,
    transport: Transport,
    meter: &Arc<Meter>,
    subscribed: &Arc<AtomicUsize>,
) -> Result<()> {
    let (plan, meter) = (plan.clone(), Arc::clone(meter));
    let subscribed = Arc::clone(subscribed);
    thread::Builder::new().name("clients".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let driven = runtime.context("cannot make a runtime").and_then(|runtime| {
            runtime.block_on(async {
                let mut clients = Vec::with_capacity(plan.connections);
                for index in 0..plan.connections {
                    let client = listen(&plan.socket, transport, index, plan.timed, &meter).await;
                    clients.push(client.with_context(|| format!("client {index}"))?);
                    subscribed.fetch_add(1, Ordering::Release);
                }
                // They listen as long as the process lives.
                std::future::pending().await
            })
        });
        driven.unwrap_or_else(failed)
    })?;
    Ok(())
}

async fn listen(
    socket: &Path,
    transport: Transport,
    index: usize,
    timed: bool,
    meter: &Arc<Meter>,
) -> Result<AsyncClient> {
    let client = transport.client(&listener_name(index)).connect_async(socket).await?;
    let meter = Arc::clone(meter);
    let heard = move |message: &Message<'_>| {
        if meter.check(index).record(message.payload()) && timed {
            stamp::intended_ns(message.payload()).into_iter().for_each(|at| {
                meter.record_latency(at);
            });
        }
    };
    client.on(&event_name(index), heard).await?;
    Ok(client)
}
