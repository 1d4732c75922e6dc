//! Processes of clients that are no part of the accounts: a crowd that comes, floods and
//! goes, and victims that listen until they are killed.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use netcluster_client::{Client, SharedMemory};

use super::emitters::{lock, orders};
use super::plan::{CHANNEL, CrowdPlan, FLOOD_CHANNEL, Order, PATTERN, Told, VictimPlan};
use crate::message::{Report, report};

/// Threads that let clients come and go at the same time.
const DOORS: u32 = 4;
/// Time that a broker may take to let a client in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Size of an event of a flood.
const FLOOD_BYTES: usize = 16 << 10;
/// Pause between two events of a victim.
const VICTIM_PAUSE: Duration = Duration::from_millis(2);

/// Does as it is told until the end.
pub fn play(plan: &CrowdPlan) -> Result<()> {
    report(&Report::Ready { driver: None });
    orders(|order| {
        let (connected, refused) = match order {
            Order::Churn(clients) => churn(&plan.socket, clients),
            Order::Flood { clients, bytes } => flood(&plan.socket, clients, bytes),
            Order::Fill(most) => fill(&plan.socket, most),
            _ => return,
        };
        report(&Report::Soak(Box::new(Told::Done { connected, refused })));
    })
}

/// Lets clients come, listen, say something and go: some in order, some by the way.
fn churn(socket: &Path, clients: u32) -> (u32, Option<String>) {
    let (next, connected) = (AtomicU32::new(0), AtomicU32::new(0));
    let refused = Mutex::new(None);
    let visit = |number: u32| -> Result<()> {
        let builder = Client::builder().name("visitor").channel(CHANNEL);
        let sharing = if number.is_multiple_of(2) { SharedMemory::Auto } else { SharedMemory::Off };
        let client =
            builder.connect_timeout(CONNECT_TIMEOUT).shared_memory(sharing).connect(socket)?;
        let heard = client.subscribe(PATTERN)?;
        client.emit("noise", number.to_le_bytes())?;
        let _ = heard.recv_timeout(Duration::from_millis(u64::from(number % 8)));
        if !number.is_multiple_of(3) {
            client.disconnect()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        for _ in 0..DOORS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= clients {
                        return;
                    }
                    match visit(number) {
                        Ok(()) => drop(connected.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => *lock(&refused) = Some(format!("{error:#}")),
                    }
                }
            });
        }
    });
    (connected.into_inner(), lock(&refused).take())
}

/// Floods clients that stand still, each by an emitter of its own; returns once all has been
/// taken, or who did not take it is gone.
fn flood(socket: &Path, clients: u32, bytes: u64) -> (u32, Option<String>) {
    let connected = AtomicU32::new(0);
    let refused = Mutex::new(None);
    let pour = |number: u32| -> Result<()> {
        let builder = Client::builder().name("flood").channel(FLOOD_CHANNEL);
        let client = builder.connect_timeout(CONNECT_TIMEOUT).connect(socket)?;
        connected.fetch_add(1, Ordering::Relaxed);
        let name = format!("flood.{number}");
        let payload = vec![number as u8; FLOOD_BYTES];
        for _ in 0..bytes.div_ceil(FLOOD_BYTES as u64) {
            client.emit(&name, &payload)?;
        }
        client.disconnect()?;
        Ok(())
    };
    thread::scope(|scope| {
        for number in 0..clients {
            let (pour, refused) = (&pour, &refused);
            scope.spawn(move || {
                if let Err(error) = pour(number) {
                    *lock(refused) = Some(format!("{error:#}"));
                }
            });
        }
    });
    (connected.into_inner(), lock(&refused).take())
}

/// Connects until that is refused, and lets go of all.
fn fill(socket: &Path, most: u32) -> (u32, Option<String>) {
    let mut clients = Vec::new();
    while clients.len() < most as usize {
        let builder = Client::builder().name("one more").channel(CHANNEL);
        match builder.connect_timeout(Duration::from_secs(1)).connect(socket) {
            Ok(client) => clients.push(client),
            Err(error) => return (clients.len() as u32, Some(error.to_string())),
        }
    }
    (clients.len() as u32, None)
}

/// Listens, and emits if it is to, until it is killed.
pub fn suffer(plan: &VictimPlan) -> Result<()> {
    let mut clients = Vec::new();
    for pattern in &plan.patterns {
        let sharing = if plan.shares_memory { SharedMemory::Auto } else { SharedMemory::Off };
        let builder = Client::builder().name("victim").channel(&plan.channel);
        let builder = builder.connect_timeout(CONNECT_TIMEOUT).shared_memory(sharing);
        let client = Arc::new(builder.connect(&plan.socket)?);
        client.on(pattern, |_| {})?;
        if plan.emits {
            let emitter = Arc::clone(&client);
            thread::spawn(move || {
                while emitter.emit("noise", [7; 700]).is_ok() {
                    thread::sleep(VICTIM_PAUSE);
                }
            });
        }
        clients.push(client);
    }
    report(&Report::Ready { driver: None });
    orders(|_| {})
}
