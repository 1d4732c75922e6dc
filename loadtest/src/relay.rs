//! Relay, the measure of all runs: a process that copies bytes between the same emitters
//! and listeners and parses nothing.
//!
//! After the handshake (hello, welcome, subscriptions) one thread per emitter reads up to
//! 64 KiB and writes it to each of its listeners, all blocking: what sockets can do at
//! most with a process in the middle. Bytes of two emitters must not meet at one
//! listener, since their frames would tear each other; so a relay serves one emitter to
//! many listeners, or pairs. Clients of the bare baseline (`bare`) say their name and
//! nothing else. Frames that a client sends to the broker itself (a ping now and then)
//! reach the listeners, who answer to nobody: bytes that listeners send are thrown away,
//! but in a round trip.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use netcluster_wire::limits::DEFAULT_MAX_PAYLOAD_BYTES;
use netcluster_wire::{Hello, Kind, Source, Welcome, control, frame};
use serde::{Deserialize, Serialize};

use crate::bare;
use crate::plan::{emitter_name, listener_name};
use crate::raw::read_frame;

const READ_BYTES: usize = 64 * 1024;
/// Send buffer of a socket, as the broker sets it, so that both are as good as sockets
/// get.
const SEND_BUFFER_BYTES: usize = 512 * 1024;
/// Longest wait for a listener that has not connected yet.
const TARGET_TIMEOUT: Duration = Duration::from_secs(30);
const NODE: u32 = 1;

/// Plan of a relay process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RelayPlan {
    /// Socket that the relay listens at.
    pub socket: PathBuf,
    /// Listeners of each emitter.
    pub links: Vec<Vec<usize>>,
    /// Whether listeners answer: their bytes go back to the emitter.
    pub round_trip: bool,
    /// Whether the relay's clients are those of the bare baseline.
    pub bare: bool,
}

struct Relay {
    plan: RelayPlan,
    clients: AtomicU32,
    connected: Mutex<HashMap<String, Arc<UnixStream>>>,
    arrived: Condvar,
}

/// Listens, and serves from threads of its own.
pub fn start(plan: RelayPlan) -> Result<()> {
    let listener = UnixListener::bind(&plan.socket)
        .with_context(|| format!("the relay cannot listen on {}", plan.socket.display()))?;
    let relay = Arc::new(Relay {
        plan,
        clients: AtomicU32::new(0),
        connected: Mutex::default(),
        arrived: Condvar::new(),
    });
    thread::Builder::new().name("accept".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let relay = Arc::clone(&relay);
            thread::spawn(move || {
                // A client that leaves is the ordinary end of a connection; what
                // it did not get, its listeners count.
                let _ = relay.serve(stream);
            });
        }
    })?;
    Ok(())
}

impl Relay {
    fn serve(&self, mut stream: UnixStream) -> Result<()> {
        let mut inbound = Vec::new();
        let name = if self.plan.bare {
            bare::read_name(&mut stream)?
        } else {
            self.shake_hands(&mut stream, &mut inbound)?
        };
        rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES)?;
        let stream = Arc::new(stream);
        let mut connected = self.connected.lock().expect("no thread panics with the lock");
        connected.insert(name.clone(), Arc::clone(&stream));
        drop(connected);
        self.arrived.notify_all();

        let targets = self.wait_for_targets(&self.targets_of(&name))?;
        copy(&stream, &inbound, targets)
    }

    /// Answers hello and subscriptions; returns the client's name.
    fn shake_hands(&self, stream: &mut UnixStream, inbound: &mut Vec<u8>) -> Result<String> {
        let hello = read_frame(stream, inbound)?;
        if hello.kind != Kind::Hello {
            bail!("no hello");
        }
        let name = Hello::decode(&hello.payload)?.client_name;
        let source =
            Source { node: NODE, client: self.clients.fetch_add(1, Ordering::Relaxed) + 1 };
        let welcome = Welcome {
            max_payload: DEFAULT_MAX_PAYLOAD_BYTES as u64,
            run: u64::from(std::process::id()),
            ..Welcome::default()
        };
        stream.write_all(&frame::encode(Kind::Welcome, source, 0, b"", &welcome.encode()))?;
        let mut awaited = usize::from(self.plan.round_trip || self.emitter_of(&name).is_none());
        while awaited > 0 {
            let request = read_frame(stream, inbound)?;
            let (answer, payload) = match request.kind {
                Kind::Subscribe => (Kind::Ack, Vec::new()),
                Kind::Ping => (Kind::Pong, control::encode_pong(0).to_vec()),
                _ => continue,
            };
            awaited -= usize::from(answer == Kind::Ack);
            let answer = frame::encode(answer, source, request.sequence, b"", &payload);
            stream.write_all(&answer)?;
        }
        Ok(name)
    }

    fn emitter_of(&self, name: &str) -> Option<usize> {
        (0..self.plan.links.len()).find(|&emitter| emitter_name(emitter) == name)
    }

    /// Returns the names of the clients that this client's bytes go to.
    fn targets_of(&self, name: &str) -> Vec<String> {
        let links = &self.plan.links;
        if let Some(emitter) = self.emitter_of(name) {
            return links[emitter].iter().map(|&listener| listener_name(listener)).collect();
        }
        let answers = |&emitter: &usize| {
            self.plan.round_trip && links[emitter].iter().any(|&to| listener_name(to) == name)
        };
        (0..links.len()).filter(answers).map(emitter_name).collect()
    }

    fn wait_for_targets(&self, names: &[String]) -> Result<Vec<Arc<UnixStream>>> {
        let connected = self.connected.lock().expect("no thread panics with the lock");
        let all = |connected: &mut HashMap<String, Arc<UnixStream>>| {
            !names.iter().all(|name| connected.contains_key(name))
        };
        let (connected, waited) = self
            .arrived
            .wait_timeout_while(connected, TARGET_TIMEOUT, all)
            .expect("no thread panics with the lock");
        if waited.timed_out() {
            bail!("a listener did not connect in {TARGET_TIMEOUT:?}");
        }
        Ok(names.iter().map(|name| Arc::clone(&connected[name])).collect())
    }
}

/// Copies until the source ends. A target that is gone is left out.
fn copy(mut source: &UnixStream, first: &[u8], mut targets: Vec<Arc<UnixStream>>) -> Result<()> {
    targets.retain(|target| first.is_empty() || (&mut &**target).write_all(first).is_ok());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        targets.retain(|target| (&mut &**target).write_all(&buffer[..read]).is_ok());
    }
}
