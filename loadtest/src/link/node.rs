//! Process that is one end of the link: it does what a broker's shard does with the link,
//! without clients.
//!
//! ```text
//!   source ─▶ emit ─▶ ┌──────┐ ─▶ poll_transmit ─▶ ┌────┐
//!                     │ link │                     │ io │ ⇄ sockets
//!   check ◀── run ◀── └──────┘ ◀── datagrams ◀──── └────┘
//! ```
//! One thread drives the link, another takes commands: the answers that concern events
//! come out of the meter, those that concern the link are asked of the driver.
//!
//! Invariant: nothing is emitted before every end has said that it is ready, which it is
//! once all know what it wants; so every event is owed to all.

mod driver;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result};
use netcluster_link::config::{DISCOVERY, Entropy};
use netcluster_link::crypto::{Key, Keys};
use netcluster_link::{Link, LinkConfig, Session};
use netcluster_platform::{
    Backend, BackendChoice, DatagramConfig, DatagramIo, DatagramSockets, Instant, Io, PollConfig,
    PollIo, UringConfig, UringIo, Waker, select_backend,
};
use netcluster_wire::limits::DEFAULT_MAX_PAYLOAD_BYTES;

use self::driver::Driver;
use crate::clock;
use crate::delivery_check::DeliveryCheck;
use crate::link::plan::{DATAGRAM_BYTES, NodePlan};
use crate::message::{Command, Report, next_command, report};
use crate::meter::Meter;
use crate::stamp::Template;

/// History of a stream, in bytes: the broker's default.
const HISTORY_BYTES: usize = 8 << 20;
const GROUPS: u8 = 16;
const REASSEMBLY_BYTES: usize = 64 << 20;
const STALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// Node id of the first end: 0 is nobody.
const FIRST_NODE: u32 = 1;

/// Question to the driver of the thread that takes commands.
enum Ask {
    Go,
    Stop,
    Counters(Sender<BTreeMap<String, u64>>),
}

/// Random bytes of the system.
struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8; 16]) {
        let got = rustix::rand::getrandom(&mut *out, rustix::rand::GetRandomFlags::empty());
        assert_eq!(got, Ok(out.len()), "the system has random bytes");
    }
}

/// Takes part until told to quit.
///
/// # Errors
/// The reason that keeps the end from going on.
pub fn run(plan: NodePlan) -> Result<()> {
    clock::sharpen_sleeps();
    let wanted: BackendChoice = plan.backend.parse()?;
    let (backend, _) = select_backend(wanted)?;
    match backend {
        Backend::Uring => drive(plan, UringIo::new(UringConfig::default())?),
        Backend::Poll => drive(plan, PollIo::new(PollConfig::default())?),
    }
}

fn drive<I: Io + DatagramIo<Sockets = DatagramSockets>>(plan: NodePlan, mut io: I) -> Result<()> {
    let sockets =
        DatagramSockets::open(&DatagramConfig { group: plan.group, ..DatagramConfig::default() })?;
    let link = link(&plan, &sockets, io.now());
    io.open_datagrams(sockets)?;
    let template = Arc::new(Template::new(plan.size));
    let checks = if plan.sends {
        Vec::new()
    } else {
        vec![DeliveryCheck::new(0, plan.senders, template, false)]
    };
    let meter = Arc::new(Meter::new(checks));
    let (asks, asked) = channel();
    take_commands(Arc::clone(&meter), asks, io.waker());
    Driver::new(plan, io, link, meter, asked)?.run()
}

fn link(plan: &NodePlan, sockets: &DatagramSockets, now: Instant) -> Link {
    let info = sockets.info();
    let config = LinkConfig {
        cluster: "loadtest".into(),
        name: format!("host-{}", plan.index),
        node: FIRST_NODE + u32::from(plan.index),
        group: plan.group,
        groups: GROUPS,
        datagram_bytes: DATAGRAM_BYTES,
        history_bytes: HISTORY_BYTES,
        rate: None,
        receive_buffer_bytes: info.receive_buffer_bytes,
        keys: plan.key.map_or_else(Keys::open_link, |key| Keys::new(vec![Key::new(key)])),
        peers: Vec::new(),
        unresolved: 0,
        pressured: Vec::new(),
        max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
        stall_timeout: STALL_TIMEOUT,
        reassembly_bytes: REASSEMBLY_BYTES,
        local_addresses: info.local_addresses.clone(),
        discovery: DISCOVERY,
    };
    let mut session = Session::default();
    SystemEntropy.fill(&mut session);
    Link::new(config, session, Box::new(SystemEntropy), now)
}

fn take_commands(meter: Arc<Meter>, asks: Sender<Ask>, waker: Waker) {
    thread::spawn(move || {
        // A driver that is gone has told why.
        let ask = |what| {
            drop(asks.send(what));
            waker.wake();
        };
        loop {
            match next_command() {
                Command::Go => ask(Ask::Go),
                Command::Stop => ask(Ask::Stop),
                Command::Sample => report(&Report::Sample(meter.sample())),
                Command::Finish(totals) => {
                    let (counts, sample) =
                        if meter.is_empty() { Default::default() } else { meter.finish(&totals) };
                    let (answer, answered) = channel();
                    ask(Ask::Counters(answer));
                    if let Ok(counters) = answered.recv() {
                        report(&Report::Counters(counters));
                    }
                    report(&Report::Finished { counts, sample });
                }
                Command::Quit => std::process::exit(0),
            }
        }
    });
}

/// Takes what was asked since the last look.
fn asked(asks: &Receiver<Ask>) -> Result<Vec<Ask>> {
    let mut found = Vec::new();
    loop {
        match asks.try_recv() {
            Ok(ask) => found.push(ask),
            Err(std::sync::mpsc::TryRecvError::Empty) => return Ok(found),
            Err(error) => return Err(error).context("nobody takes commands"),
        }
    }
}
