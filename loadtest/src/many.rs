//! Process that listens on many connections: one thread, the client's sans-IO session per
//! connection, on `tokio-uring` where io_uring is to be had and wanted, else on tokio; or
//! whole clients on tokio, which may share memory with the broker.
//!
//! Each connection listens to an event of its own. A session here answers pings and
//! counts, but does not reconnect.

mod clients;
mod sockets;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use netcluster_client::session::{Session, SessionEvent};
use netcluster_wire::{Hello, Pattern};

use crate::delivery_check::DeliveryCheck;
use crate::listener::answer_commands;
use crate::message::{Report, report};
use crate::meter::Meter;
use crate::plan::ManyPlan;
use crate::stamp::{self, Template};

/// Longest wait for all connections.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(1);

/// Listens on all connections until told to quit.
pub fn run(plan: ManyPlan) -> Result<()> {
    let meter = meter(&plan);
    let subscribed = Arc::new(AtomicUsize::new(0));
    let driver = match plan.by_clients {
        Some(transport) => {
            clients::drive(&plan, transport, &meter, &subscribed)?;
            clients::DRIVER.into()
        }
        None => {
            let connections = (0..plan.connections).map(|index| {
                Connection::new(index, plan.timed, Arc::clone(&meter), Arc::clone(&subscribed))
            });
            let connections = connections.collect::<Result<Vec<_>>>()?;
            sockets::drive(plan.socket, plan.by_epoll, connections)?
        }
    };

    wait_for_all(&subscribed, plan.connections, || Ok(()))?;
    report(&Report::Ready { driver: Some(driver) });
    answer_commands(&meter);
    Ok(())
}

/// Makes a delivery check for each connection.
pub fn meter(plan: &ManyPlan) -> Arc<Meter> {
    let template = Arc::new(Template::new(plan.size));
    let check = |event| {
        DeliveryCheck::new(event as u16, plan.emitters, Arc::clone(&template), plan.verify_full)
    };
    Arc::new(Meter::new((0..plan.connections).map(check).collect()))
}

/// Waits until all connections have subscribed; calls `prompt` meanwhile, again and
/// again.
///
/// # Errors
/// If the connections take too long, or `prompt` fails.
pub fn wait_for_all(
    subscribed: &AtomicUsize,
    connections: usize,
    mut prompt: impl FnMut() -> Result<()>,
) -> Result<()> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    loop {
        let ready = subscribed.load(Ordering::Acquire);
        if ready == connections {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{ready} of {connections} connections within {CONNECT_TIMEOUT:?}");
        }
        prompt()?;
        thread::sleep(POLL);
    }
}

/// Connection without its socket: bytes in, bytes out.
pub struct Connection {
    index: usize,
    timed: bool,
    session: Session,
    inbound: Vec<u8>,
    outbound: Vec<u8>,
    meter: Arc<Meter>,
    subscribed: Arc<AtomicUsize>,
}

impl Connection {
    fn new(
        index: usize,
        timed: bool,
        meter: Arc<Meter>,
        subscribed: Arc<AtomicUsize>,
    ) -> Result<Connection> {
        let mut outbound = Vec::new();
        let hello = Hello { client_name: format!("listener-{index}"), ..Hello::default() };
        let session = Session::start(&mut outbound, "default", &hello)?;
        let inbound = Vec::new();
        Ok(Connection { index, timed, session, inbound, outbound, meter, subscribed })
    }

    /// Takes the bytes that are to be written.
    pub fn take_outbound(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outbound)
    }

    /// Takes the bytes that were read.
    pub fn received(&mut self, bytes: &[u8]) -> Result<()> {
        // Mostly nothing is left of the read before, and nothing is copied.
        if self.inbound.is_empty() {
            let used = self.handle(bytes)?;
            self.inbound.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut all = std::mem::take(&mut self.inbound);
        all.extend_from_slice(bytes);
        let used = self.handle(&all)?;
        all.drain(..used);
        self.inbound = all;
        Ok(())
    }

    fn handle(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut used = 0;
        while let Some((event, length)) = self.session.next(&bytes[used..])? {
            used += length;
            match event {
                SessionEvent::Event(frame) => {
                    let whole = self.meter.check(self.index).record(frame.payload());
                    if whole && self.timed {
                        stamp::intended_ns(frame.payload()).into_iter().for_each(|at| {
                            self.meter.record_latency(at);
                        });
                    }
                }
                SessionEvent::Welcome { .. } => {
                    let pattern = Pattern::new(format!("e{}", self.index).as_bytes())
                        .map_err(|error| anyhow::anyhow!("{error}"))?;
                    self.session.outbound.subscribe(&mut self.outbound, &pattern);
                }
                SessionEvent::Ack { .. } => {
                    self.subscribed.fetch_add(1, Ordering::Release);
                }
                SessionEvent::Ping { token } => {
                    self.session.outbound.pong(&mut self.outbound, token);
                }
                SessionEvent::Refused { text, .. } | SessionEvent::ClosedByBroker { text, .. } => {
                    bail!("the broker refuses: {text}");
                }
                SessionEvent::Bye { .. } => bail!("the broker is shutting down"),
                // Answers to questions that were not asked; a loss shows as a gap in the
                // sequence numbers.
                _ => {}
            }
        }
        Ok(used)
    }
}

/// Says what went wrong on a connection; the coordinator ends the run.
fn failed(error: anyhow::Error) {
    report(&Report::Failed(format!("{:#}", error.context("a connection broke"))));
}
