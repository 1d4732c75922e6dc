//! Parts that the integration tests share: a broker of its own for each test, on each
//! back end, and waiting that is bounded but never part of a test's meaning.
//!
//! `raw` speaks the protocol byte by byte, over `transport`; `process` has what must be
//! killed.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses a part")]

pub mod process;
pub mod raw;
mod transport;

use std::path::{Path, PathBuf};
use std::time::Duration;

use netcluster::status::Status;
use netcluster::{Broker, BrokerOptions};
use netcluster_client::{Client, ClientBuilder, OwnedMessage, RecvError, Subscription};
use netcluster_platform::{BackendChoice, select_backend};
use netcluster_wire::Hello;

pub use netcluster_testkit::{Directory, PATIENCE, wait_until};
pub use raw::Raw;

/// Time that a shutdown waits for clients that a test has left unread.
const DRAIN: Duration = Duration::from_millis(500);

/// Makes a test of each line: its name, back end and number of shards, and whether memory is
/// shared from the first byte on.
macro_rules! on {
    (($(#[$about:meta])* fn $name:ident($bed:ident) $body:block)
     $($test:ident: $backend:ident, $shards:literal $(, $sharing:ident)?;)*) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(#[$about])*
            fn run($bed: &Bed) $body

            $(
                #[test]
                fn $test() {
                    let backend = netcluster_platform::BackendChoice::$backend;
                    Bed::new(backend, $shards)$(.$sharing())?.run(run);
                }
            )*
        }
    };
}

/// Runs a test on both back ends with one shard, by sockets and by shared memory, as
/// `name::uring` and so on.
macro_rules! on_both {
    ($($test:tt)*) => {
        $crate::common::on! {
            ($($test)*)
            uring: Uring, 1;
            poll: Poll, 1;
            uring_shared: Uring, 1, sharing;
            poll_shared: Poll, 1, sharing;
        }
    };
}

/// Runs a test on both back ends, with one shard and with two between which the
/// clients of a channel alternate.
macro_rules! on_all {
    ($($test:tt)*) => {
        $crate::common::on! {
            ($($test)*)
            uring: Uring, 1;
            uring_across_shards: Uring, 2;
            poll: Poll, 1;
            poll_across_shards: Poll, 2;
            uring_shared: Uring, 1, sharing;
            uring_shared_across_shards: Uring, 2, sharing;
            poll_shared: Poll, 1, sharing;
        }
    };
}

/// Runs a test on both back ends, where all who move anything get memory.
macro_rules! on_sharing {
    ($($test:tt)*) => {
        $crate::common::on! {
            ($($test)*)
            uring: Uring, 1, sharing;
            poll: Poll, 1, sharing;
        }
    };
}

pub(crate) use {on, on_all, on_both, on_sharing};

/// Back end and number of shards that a test runs on.
pub struct Bed {
    pub backend: BackendChoice,
    pub shards: u16,
    /// Memory is shared with each client that moves anything; else with those that move much.
    pub is_sharing: bool,
}

impl Bed {
    pub fn new(backend: BackendChoice, shards: u16) -> Bed {
        Bed { backend, shards, is_sharing: false }
    }

    /// Has memory shared with clients as soon as they move anything.
    pub fn sharing(self) -> Bed {
        Bed { is_sharing: true, ..self }
    }

    /// Runs a test unless the machine does not allow it.
    pub fn run(&self, test: impl FnOnce(&Bed)) {
        match select_backend(self.backend) {
            Ok(_) => test(self),
            Err(reason) => println!("SKIPPED: {reason}"),
        }
    }

    /// Starts a broker with the default options.
    pub fn bus(&self) -> Bus {
        self.bus_with(|_| {})
    }

    /// Starts a broker with other options.
    pub fn bus_with(&self, change: impl FnOnce(&mut BrokerOptions)) -> Bus {
        let directory = Directory::new();
        let mut options = self.options(&directory.socket("s"));
        change(&mut options);
        let broker = Broker::start(options).expect("the broker starts");
        let path = broker.socket().to_owned();
        Bus { broker: Some(broker), path, directory }
    }

    /// Returns the options of a broker at this socket.
    pub fn options(&self, path: &Path) -> BrokerOptions {
        let mut options = BrokerOptions::new(path);
        options.backend = self.backend;
        options.shards = Some(self.shards);
        options.node = Some(1);
        options.spill_clients = 1;
        options.drain_timeout = DRAIN;
        // Where a test wants these to be over, it says so.
        options.hello_timeout = PATIENCE;
        options.stall_timeout = PATIENCE;
        options.linger = PATIENCE;
        if self.is_sharing {
            options.share_after_bytes = 0;
        }
        options
    }
}

/// Broker in this process, which ends with the test.
pub struct Bus {
    pub broker: Option<Broker>,
    pub path: PathBuf,
    directory: Directory,
}

impl Bus {
    /// Connects a client of the client crate.
    pub fn client(&self) -> Client {
        self.client_with(|builder| builder)
    }

    pub fn client_with(&self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
        connect(&self.path, change)
    }

    /// Connects a client that writes its own frames, welcomed to the default channel.
    pub fn raw(&self) -> Raw {
        Raw::welcomed(&self.path, &Hello::default()).0
    }

    pub fn raw_with(&self, hello: &Hello) -> Raw {
        Raw::welcomed(&self.path, hello).0
    }

    pub fn status(&self) -> Status {
        status_at(&self.path)
    }

    /// Shuts the broker down and waits for the end.
    pub fn end(mut self) {
        let broker = self.broker.take().expect("it runs");
        broker.shutdown().request();
        broker.join().expect("an orderly end");
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            if std::thread::panicking() {
                // On a thread of its own, which may panic too.
                let path = self.path.clone();
                let status = std::thread::spawn(move || status_at(&path)).join();
                println!("the broker when the test failed: {status:#?}");
            }
            broker.shutdown().request();
            let ended = broker.join();
            if !std::thread::panicking() {
                ended.expect("no shard breaks");
            }
        }
    }
}

/// Connects a client that is patient where the default would give a loaded machine up.
pub fn connect(path: &Path, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    let builder = Client::builder().connect_timeout(PATIENCE).disconnect_timeout(PATIENCE);
    change(builder).connect(path).expect("the broker takes clients")
}

/// Returns the status as a client of a channel that no test uses gets it.
pub fn status_at(path: &Path) -> Status {
    Raw::on_channel(path, "status", &Hello::default()).0.status()
}

/// Takes the next message of a subscription; there must be one, perhaps behind a loss.
pub fn take(subscription: &Subscription) -> OwnedMessage {
    loop {
        match subscription.recv_timeout(PATIENCE) {
            Err(RecvError::Lost(_)) => {}
            message => return message.expect("a message comes"),
        }
    }
}

/// Makes a payload that tells its maker, its number and its length, and whose other bytes
/// follow from these.
pub fn patterned(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ length as u64;
    let mut payload = Vec::with_capacity(length + 8);
    while payload.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        payload.extend_from_slice(&state.to_le_bytes());
    }
    payload.truncate(length);
    payload
}
