//! ZeroMQ's forwarder: one connection to hear, another to publish, as its sockets
//! are.
//!
//! ```text
//!   PUB ═══ SOCKET.in ══► XSUB ─┐
//!                               │ forwarder
//!   SUB ◄══ SOCKET ═════  XPUB ◄┘
//! ```
//! A subscription has no answer. So it is made twice, for the topic and for a word
//! of nobody else, and that word is published until it is heard: both came on one
//! connection, in this order, and the first is then in force too. Nor can a
//! publisher ask whether all was read: its fence returns at once, and who waits for
//! events counts them.

mod zmtp;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::Address;
use crate::connection::{Connection, Received};
use crate::pipe::{ANSWER_TIMEOUT, Pipe};
pub use zmtp::Zmtp;

/// Pause between two words to oneself.
const PROBE_INTERVAL: Duration = Duration::from_millis(5);
const _: () = assert!(PROBE_INTERVAL.as_millis() < ANSWER_TIMEOUT.as_millis());
/// Pause between two words that very many connections hear.
const PROMPT_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes after which a publisher reads what it is told of subscriptions: nobody looks at
/// them, but they must not fill the socket.
const READ_AFTER_BYTES: usize = 1 << 20;

/// A client of the forwarder.
#[derive(Debug)]
pub struct ZeroMq {
    name: String,
    front: Address,
    subscriber: Option<Pipe<Zmtp>>,
    publisher: Option<Pipe<Zmtp>>,
    published_bytes: usize,
}

/// Publisher of the word that subscribers of a name wait for.
#[derive(Debug)]
pub struct Prober {
    publisher: Pipe<Zmtp>,
    word: String,
    last: Option<Instant>,
}

impl ZeroMq {
    /// Connects to those sides of the forwarder that are needed.
    pub fn connect(
        address: &Address,
        name: &str,
        publishes: bool,
        listens: bool,
    ) -> Result<ZeroMq> {
        let front = front(address)?;
        let subscriber = listens.then(|| Pipe::connect(address, name, false)).transpose()?;
        let publisher = publishes.then(|| Pipe::connect(&front, name, true)).transpose()?;
        Ok(ZeroMq { name: name.into(), front, subscriber, publisher, published_bytes: 0 })
    }

    fn publisher(&mut self) -> Result<&mut Pipe<Zmtp>> {
        self.publisher.as_mut().context("this connection does not publish")
    }
}

impl Prober {
    /// Connects on behalf of the subscribers of this name, which connect to `address`.
    pub fn connect(address: &Address, name: &str) -> Result<Prober> {
        Prober::to(&front(address)?, name)
    }

    fn to(front: &Address, name: &str) -> Result<Prober> {
        let publisher = Pipe::connect(front, name, true)?;
        Ok(Prober { publisher, word: zmtp::word(name), last: None })
    }

    /// Says the word once more, if the last time is long enough ago for many to have
    /// heard it.
    pub fn prompt(&mut self) -> Result<()> {
        if self.last.is_some_and(|last| last.elapsed() < PROMPT_INTERVAL) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        self.probe()
    }

    /// Says the word once more.
    fn probe(&mut self) -> Result<()> {
        self.publisher.publish(&self.word, b"")?;
        self.publisher.flush()?;
        self.publisher.take_waiting()
    }
}

/// Returns the address at which publishers connect.
fn front(address: &Address) -> Result<Address> {
    match address {
        Address::Unix(path) => {
            let mut front = path.clone().into_os_string();
            front.push(".in");
            Ok(Address::Unix(front.into()))
        }
        Address::Tcp(_) | Address::Domain(_) => {
            anyhow::bail!("the forwarder listens on unix sockets")
        }
    }
}

impl Connection for ZeroMq {
    fn subscribe(&mut self, topic: &str) -> Result<()> {
        let subscriber = self.subscriber.as_mut().context("this connection does not listen")?;
        let mut prober = Prober::to(&self.front, &self.name)?;
        subscriber.ask_for(topic)?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            prober.probe()?;
            if subscriber.answered_within(PROBE_INTERVAL)? {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no subscription within {ANSWER_TIMEOUT:?}");
        }
    }

    #[inline]
    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        self.published_bytes += payload.len();
        let full = self.published_bytes >= READ_AFTER_BYTES;
        let publisher = self.publisher()?;
        publisher.publish(topic, payload)?;
        if full {
            publisher.take_waiting()?;
            self.published_bytes = 0;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.publisher()?.flush()
    }

    /// Sends what was published; nothing in the protocol would answer.
    fn fence(&mut self) -> Result<()> {
        self.publisher()?.fence()
    }

    fn receive(&mut self, each: impl FnMut(&[u8])) -> Result<Received> {
        self.subscriber.as_mut().context("this connection does not listen")?.receive(each)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;
    use netcluster_testkit::Directory;

    #[test]
    fn publishers_have_a_socket_of_their_own() {
        assert_eq!(front(&Address::Unix("/t/s".into())).unwrap(), Address::Unix("/t/s.in".into()));
        assert!(front(&Address::Tcp(7)).is_err());
    }

    #[test]
    fn a_subscription_is_made_once_the_own_word_is_heard() {
        const SAID: &[u8] = b"\0\x03?n\0";
        let mut hello = b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01NULL".to_vec();
        hello.resize(64, 0);
        hello.extend_from_slice(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04X");
        let hello = |rest: &[u8]| [&hello[..], rest].concat();
        let directory = Directory::new();
        let address = Address::Unix(directory.socket("s"));
        let Ok(Address::Unix(front)) = front(&address) else { panic!("a unix socket") };
        let back = UnixListener::bind(directory.socket("s")).unwrap();
        let front = UnixListener::bind(front).unwrap();
        let (to_subscriber, to_publisher) = (hello(b"PUB"), hello(b"SUB"));
        let forwarder = thread::spawn(move || {
            let (mut subscriber, _) = back.accept().unwrap();
            subscriber.write_all(&to_subscriber).unwrap();
            let (mut publisher, _) = front.accept().unwrap();
            publisher.write_all(&to_publisher).unwrap();
            let mut heard = Vec::new();
            // The first time, nobody is subscribed yet.
            while !heard.ends_with(&[SAID, SAID].concat()) {
                let mut byte = [0];
                publisher.read_exact(&mut byte).unwrap();
                heard.push(byte[0]);
            }
            subscriber.write_all(&[SAID, b"\0\x04e1\0a"].concat()).unwrap();
            // Both stay open: the client may be saying it once more.
            (subscriber, publisher)
        });
        let mut client = ZeroMq::connect(&address, "n", false, true).unwrap();
        client.subscribe("e1").unwrap();
        let _ends = forwarder.join().unwrap();
        let mut got = Vec::new();
        assert_eq!(client.receive(|event| got.push(event.to_vec())).unwrap(), Received::Events(1));
        assert_eq!(got, [b"a"]);
        assert!(client.publish("e1", b"").is_err(), "it only listens");
    }
}
