//! Process that listens to a peer on many connections: one thread over sockets that do
//! not block, the peer's frames for each connection. The driver is the same for every
//! peer.
//!
//! ```text
//!   connect ──► hello ──► subscribe ──► events, to the check of this connection
//!             awaited = 0        awaited = 0, subscribed + 1
//! ```
//! Each connection listens to an event of its own, as those of our own broker do. It does
//! not reconnect: one that the peer closes is told and its events are lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::{LocalSet, spawn_local};

use crate::listener::answer_commands;
use crate::many::{meter, wait_for_all};
use crate::message::{Report, report};
use crate::meter::Meter;
use crate::peers::listener::CLOSED;
use crate::plan::{ManyPlan, event_name};
use netcluster_peers::address::{Address, Stream};
use netcluster_peers::frames::{Dialect, Frames};

/// Room for what a read brings, in bytes: some eighty events of 64 bytes, as for our own
/// many connections.
const READ_BYTES: usize = 8 * 1024;

/// Listens until told to quit. `dialect` makes that of the n-th connection; `prompt` is
/// called now and then until all have subscribed, for peers that answer only then.
pub fn run<D: Dialect + Send + 'static>(
    plan: &ManyPlan,
    address: Address,
    dialect: impl Fn(usize) -> D,
    prompt: impl FnMut() -> Result<()>,
) -> Result<()> {
    let meter = meter(plan);
    let subscribed = Arc::new(AtomicUsize::new(0));
    let listener = |index| Listener {
        index,
        frames: Frames::new(dialect(index), READ_BYTES),
        stage: Stage::Hello,
        meter: Arc::clone(&meter),
        subscribed: Arc::clone(&subscribed),
    };
    let listeners: Vec<_> = (0..plan.connections).map(listener).collect();
    thread::Builder::new().name("sockets".into()).spawn(move || {
        if let Err(error) = drive(&address, listeners) {
            report(&Report::Failed(format!("{error:#}")));
        }
    })?;

    // Gone afterwards: it may hold a connection of its own, which is not one of the many.
    wait_for_all(&subscribed, plan.connections, prompt)?;
    report(&Report::Ready { driver: Some("tokio".into()) });
    answer_commands(&meter);
    Ok(())
}

/// Connection without its socket.
struct Listener<D> {
    index: usize,
    frames: Frames<D>,
    stage: Stage,
    meter: Arc<Meter>,
    subscribed: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Hello,
    Subscribing,
    Listening,
}

impl<D: Dialect> Listener<D> {
    /// Advances as far as the bytes go that were read.
    fn advance(&mut self) -> Result<()> {
        if self.stage != Stage::Listening {
            self.frames.take_answers()?;
        }
        if self.stage == Stage::Hello && self.frames.awaited() == 0 {
            self.stage = Stage::Subscribing;
            self.frames.subscribe(&event_name(self.index));
            self.frames.take_answers()?;
        }
        if self.stage == Stage::Subscribing && self.frames.awaited() == 0 {
            self.stage = Stage::Listening;
            self.subscribed.fetch_add(1, Ordering::Release);
        }
        if self.stage == Stage::Listening {
            let check = self.meter.check(self.index);
            self.frames.take(|payload| {
                check.record(payload);
            })?;
        }
        Ok(())
    }

    /// Writes the bytes that are to be written, and reads once.
    async fn exchange(&mut self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
        if !self.frames.outbound().is_empty() {
            stream.write_all(self.frames.outbound()).await?;
            self.frames.written();
        }
        match stream.read(self.frames.room()?).await? {
            0 => bail!("the peer closed the connection"),
            read => self.frames.filled(read),
        }
        self.advance()
    }

    /// Runs the connection until the peer closes it.
    async fn run(mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let error = loop {
            if let Err(error) = self.exchange(&mut stream).await {
                break format!("{error:#}");
            }
        };
        report(&match self.stage {
            Stage::Listening => {
                Report::Counters(BTreeMap::from([(format!("{CLOSED} ({error})"), 1)]))
            }
            _ => Report::Failed(format!("connection {}: {error}", self.index)),
        });
    }
}

fn drive<D: Dialect + 'static>(address: &Address, listeners: Vec<Listener<D>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        for listener in listeners {
            let stream = address.connect().context("cannot connect to the peer")?;
            stream.set_nonblocking(true)?;
            match stream {
                Stream::Unix(stream) => open(listener, UnixStream::from_std(stream)?).await?,
                Stream::Tcp(stream) => open(listener, TcpStream::from_std(stream)?).await?,
            }
        }
        std::future::pending().await
    })
}

/// Opens a connection up to the end of the hello; the rest goes on by itself. So hellos
/// come one after the other: how many strangers a peer has patience with is not what is
/// measured.
async fn open<D: Dialect + 'static>(
    mut listener: Listener<D>,
    mut stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
) -> Result<()> {
    while listener.stage == Stage::Hello {
        let said = listener.exchange(&mut stream).await;
        said.with_context(|| format!("connection {}", listener.index))?;
    }
    spawn_local(listener.run(stream));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery_check::DeliveryCheck;
    use crate::stamp::{Stamp, Template};
    use netcluster_peers::nats::Nats;

    fn listener() -> Listener<Nats> {
        let checks = (0..4)
            .map(|event| DeliveryCheck::new(event, 1, Arc::new(Template::new(64)), true))
            .collect();
        Listener {
            index: 3,
            frames: Frames::new(Nats::new("n", false), READ_BYTES),
            stage: Stage::Hello,
            meter: Arc::new(Meter::new(checks)),
            subscribed: Arc::default(),
        }
    }

    fn feed(listener: &mut Listener<Nats>, bytes: &[u8]) -> Result<()> {
        listener.frames.room().unwrap()[..bytes.len()].copy_from_slice(bytes);
        listener.frames.filled(bytes.len());
        listener.advance()
    }

    #[test]
    fn a_connection_says_hello_subscribes_and_counts_as_bytes_come() {
        let mut listener = listener();
        let mut template = Template::new(64);
        let payload = template.write(Stamp { sequence: 0, emitter: 0, event: 3 }, 0);
        let event = [b"MSG e3 1 64\r\n", payload, b"\r\n"].concat();
        listener.frames.written();
        feed(&mut listener, b"INFO {}\r\nPON").unwrap();
        assert_eq!(listener.stage, Stage::Hello);
        feed(&mut listener, b"G\r\n").unwrap();
        assert_eq!(listener.stage, Stage::Subscribing);
        assert_eq!(listener.frames.outbound(), b"SUB e3 1\r\nPING\r\n");
        assert_eq!(listener.subscribed.load(Ordering::Relaxed), 0);
        // The first event right behind the answer.
        feed(&mut listener, &[b"PONG\r\n", &event[..20]].concat()).unwrap();
        assert_eq!(listener.subscribed.load(Ordering::Relaxed), 1);
        assert_eq!(listener.meter.check(3).received(), 0);
        feed(&mut listener, &event[20..]).unwrap();
        assert_eq!(listener.meter.check(3).received(), 1);
        assert!(feed(&mut listener, b"-ERR 'Slow Consumer'\r\n").is_err());
    }
}
