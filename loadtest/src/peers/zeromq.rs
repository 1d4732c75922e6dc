//! ZeroMQ by libzmq: a forwarder as the broker, sockets of the library on both
//! sides.
//!
//! ```text
//!   emitter  PUSH ══ <address>.in ══► PULL  zmq_proxy  PUB ══ <address>.out ══► SUB  listener
//! ```
//! PUSH and not PUB at the emitter: it waits where PUB would throw away what the
//! broker has not taken yet. What PUB throws away for a slow listener beyond
//! [`QUEUE_BYTES`] counts as lost. An event is one part, `<topic>|<payload>`: two
//! parts cost twice.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use zmq::{Context, Message, PULL, PUSH, Socket, SocketType};

use crate::message::{Command, Report, next_command, report};
use crate::peers::connection::{Connection, Received};
use crate::peers::{Address, QUEUE_BYTES};

/// Ends a topic: `e1` must not match `e11`.
const END: u8 = b'|';
/// Events that one call of `receive` hands over at most.
const MAX_BATCH: usize = 1024;
const EVENT_TIMEOUT_MS: i32 = 3000;
/// Between two tries to hear oneself.
const SYNC_POLL_MS: i32 = 10;
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);
/// An event with its frame takes about so much, if it is short.
const LEAST_EVENT_BYTES: usize = 128;
const _: () = assert!(QUEUE_BYTES / LEAST_EVENT_BYTES <= i32::MAX as usize);

/// The library's version.
pub fn version() -> String {
    let (major, minor, patch) = zmq::version();
    format!("{major}.{minor}.{patch}")
}

/// Is the broker until told to quit.
pub fn serve(address: &Address, size: usize) -> Result<()> {
    let context = Context::new();
    let front = socket(&context, PULL, size)?;
    let back = socket(&context, zmq::PUB, size)?;
    front.bind(&endpoint(address, "in")?).context("cannot listen")?;
    back.bind(&endpoint(address, "out")?).context("cannot listen")?;
    std::thread::spawn(move || {
        let end = zmq::proxy(&front, &back);
        report(&Report::Failed(format!("the proxy ended: {end:?}")));
    });
    report(&Report::Ready { driver: None });
    while next_command() != Command::Quit {}
    // Not by returning: the context would wait for the proxy.
    std::process::exit(0)
}

/// A client: one socket to send, one to receive.
pub struct Client {
    name: String,
    outbound: Socket,
    inbound: Socket,
    /// The topic that is subscribed, with its end.
    prefix: Vec<u8>,
    event: Vec<u8>,
    message: Message,
}

impl Client {
    /// Connects; the library does so behind our back.
    pub fn connect(address: &Address, name: &str, size: usize) -> Result<Client> {
        let context = Context::new();
        let outbound = socket(&context, PUSH, size)?;
        let inbound = socket(&context, zmq::SUB, size)?;
        outbound.connect(&endpoint(address, "in")?)?;
        inbound.connect(&endpoint(address, "out")?)?;
        let (prefix, event, message) = (Vec::new(), Vec::new(), Message::new());
        Ok(Client { name: name.into(), outbound, inbound, prefix, event, message })
    }

    /// Sends to itself until it hears it: what was subscribed before is in place.
    fn sync(&mut self) -> Result<()> {
        let own = [b"sync ", self.name.as_bytes(), &[END]].concat();
        self.inbound.set_subscribe(&own)?;
        self.inbound.set_rcvtimeo(SYNC_POLL_MS)?;
        let deadline = Instant::now() + SYNC_TIMEOUT;
        loop {
            self.outbound.send(&own, 0)?;
            match self.inbound.recv(&mut self.message, 0) {
                Ok(()) if self.message.starts_with(&own) => break,
                Ok(()) | Err(zmq::Error::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() > deadline {
                bail!("no way to itself within {SYNC_TIMEOUT:?}");
            }
        }
        self.inbound.set_unsubscribe(&own)?;
        self.inbound.set_rcvtimeo(EVENT_TIMEOUT_MS)?;
        Ok(())
    }
}

impl Connection for Client {
    fn subscribe(&mut self, topic: &str) -> Result<()> {
        self.prefix = [topic.as_bytes(), &[END]].concat();
        self.inbound.set_subscribe(&self.prefix)?;
        self.sync()
    }

    #[inline]
    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        self.event.clear();
        self.event.extend_from_slice(topic.as_bytes());
        self.event.push(END);
        self.event.extend_from_slice(payload);
        Ok(self.outbound.send(&self.event, 0)?)
    }

    /// The library batches by itself.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// The library has no such thing; who waits for the events counts them.
    fn fence(&mut self) -> Result<()> {
        Ok(())
    }

    fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<Received> {
        let (mut events, mut flags) = (0, 0);
        while events < MAX_BATCH {
            match self.inbound.recv(&mut self.message, flags) {
                Ok(()) => {
                    // The others are left over from `sync`.
                    if let Some(payload) = self.message.strip_prefix(&self.prefix[..]) {
                        each(payload);
                        events += 1;
                        flags = zmq::DONTWAIT;
                    }
                }
                Err(zmq::Error::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(if events == 0 { Received::Nothing } else { Received::Events(events) })
    }
}

fn socket(context: &Context, kind: SocketType, size: usize) -> Result<Socket> {
    let socket = context.socket(kind)?;
    let most = (QUEUE_BYTES / size.max(LEAST_EVENT_BYTES)) as i32;
    socket.set_sndhwm(most)?;
    socket.set_rcvhwm(most)?;
    socket.set_linger(0)?;
    Ok(socket)
}

fn endpoint(address: &Address, side: &str) -> Result<String> {
    let Address::Unix(path) = address else { bail!("ZeroMQ runs over unix sockets here") };
    let mut path = PathBuf::from(path).into_os_string();
    path.push(".");
    path.push(side);
    path.into_string().map(|path| format!("ipc://{path}")).map_err(|path| {
        anyhow::anyhow!("ZeroMQ needs a path in UTF-8, not {}", path.to_string_lossy())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_sides_have_sockets_of_their_own() {
        let address = Address::Unix("/run/a.sock".into());
        assert_eq!(endpoint(&address, "in").unwrap(), "ipc:///run/a.sock.in");
        assert!(endpoint(&Address::Tcp(1), "in").is_err());
    }

    #[test]
    fn the_library_tells_its_version() {
        assert!(version().starts_with('4'), "{}", version());
    }
}
