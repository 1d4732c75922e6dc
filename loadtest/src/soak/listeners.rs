//! Process of the listeners of a machine: each keeps its account, all of them measure.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use netcluster_client::{Client, Lifecycle, Message, QueuePolicy, SharedMemory};

use super::emitters::{PATIENCE, lock, orders};
use super::latency::Latencies;
use super::ledger::Ledger;
use super::plan::{
    CHANNEL, ListenersPlan, MAX_SIZE, Manner, Order, PATTERN, Settled, Settlement, Told,
};
use crate::clock;
use crate::message::{Report, report};
use crate::stamp::{self, Template};

/// Pause between two looks at whether everything has come.
const POLL: Duration = Duration::from_millis(5);
/// Time that brokers of other machines get to learn of a listener.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(20);

/// Latencies of events of the same machine, and of others.
#[derive(Debug, Default)]
struct Paths {
    local: Latencies,
    remote: Latencies,
}

/// Listens until told to quit.
pub fn play(plan: &ListenersPlan) -> Result<()> {
    let paths = Arc::new(Mutex::new(Paths::default()));
    let mut ledgers = Vec::new();
    let mut clients = Vec::new();
    for (number, &manner) in plan.listeners.iter().enumerate() {
        let ledger = Arc::new(Mutex::new(Ledger::new(plan.is_remote.len())));
        clients.push(listen(plan, number, manner, &ledger, &paths)?);
        ledgers.push(ledger);
    }
    report(&Report::Ready { driver: None });
    orders(|order| {
        if let Order::Settle(settlement) = order {
            let settled = settle(&ledgers, &paths, &settlement);
            report(&Report::Soak(Box::new(Told::Settled(Box::new(settled)))));
        }
    })
}

fn listen(
    plan: &ListenersPlan,
    number: usize,
    manner: Manner,
    ledger: &Arc<Mutex<Ledger>>,
    paths: &Arc<Mutex<Paths>>,
) -> Result<Client> {
    let booked = Arc::clone(ledger);
    let mut builder = Client::builder()
        .name(format!("account-{number}"))
        .channel(CHANNEL)
        .connect_timeout(PATIENCE)
        .queue(if manner.is_latest { QueuePolicy::Latest } else { QueuePolicy::Backpressure })
        .on_lifecycle(move |event| book(&mut lock(&booked), event));
    if !manner.shares_memory {
        builder = builder.shared_memory(SharedMemory::Off);
    }
    let client = builder.connect(&plan.socket)?;
    let (ledger, paths) = (Arc::clone(ledger), Arc::clone(paths));
    let is_remote = plan.is_remote.clone();
    let reader = Template::new(MAX_SIZE);
    client.on(PATTERN, move |message: &Message<'_>| {
        let payload = message.payload();
        let Some(stamp) = reader.read_any(payload, true) else { return lock(&ledger).corrupt() };
        lock(&ledger).heard(message.source(), stamp.emitter, stamp.sequence);
        let remote = is_remote.get(usize::from(stamp.emitter));
        if let (Some(due_ns), Some(&is_remote)) = (stamp::intended_ns(payload), remote) {
            let latency_ns = clock::now_ns().saturating_sub(due_ns);
            let mut paths = lock(&paths);
            let path = if is_remote { &mut paths.remote } else { &mut paths.local };
            path.record(due_ns, latency_ns);
        }
    })?;
    if plan.is_linked {
        client.wait_for_cluster(CLUSTER_TIMEOUT)?;
    }
    Ok(client)
}

fn book(ledger: &mut Ledger, event: &Lifecycle) {
    match event {
        Lifecycle::Lost { source, count, reason } => {
            ledger.told(*source, *count, &format!("{reason:?}"));
        }
        Lifecycle::Connect { resumed: true, .. } => ledger.reconnected(),
        Lifecycle::Error(error) => ledger.failed(error.to_string()),
        Lifecycle::Closed(error) => ledger.failed(format!("closed: {error}")),
        _ => {}
    }
}

fn settle(
    ledgers: &[Arc<Mutex<Ledger>>],
    paths: &Mutex<Paths>,
    settlement: &Settlement,
) -> Settled {
    let deadline = Instant::now() + Duration::from_millis(settlement.patience_ms);
    let is_complete = |ledger: &Arc<Mutex<Ledger>>| lock(ledger).is_complete(&settlement.totals);
    while !ledgers.iter().all(is_complete) && Instant::now() < deadline {
        thread::sleep(POLL);
    }
    let tallies = ledgers.iter().map(|ledger| lock(ledger).settle(&settlement.totals)).collect();
    let mut paths = lock(paths);
    let (quiet, behind) = (settlement.quiet, settlement.behind);
    let settled = Settled {
        tallies,
        local: paths.local.recovery(quiet, behind),
        remote: paths.remote.recovery(quiet, behind),
    };
    paths.local.clear();
    paths.remote.clear();
    settled
}
