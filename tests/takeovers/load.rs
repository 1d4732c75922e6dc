//! Clients under a bounded load, who check that they get every event once and in order,
//! while their broker is succeeded.
//!
//! Each emitter numbers what it emits by name; each listener hears one name, of every
//! emitter. At the end everything must have come, and nobody may have been told of a loss.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use netcluster_client::{AsyncClient, Client, Lifecycle, SharedMemory};

use crate::common::{PATIENCE, wait_until};

/// Time between two bursts of an emitter.
const BURST_EVERY: Duration = Duration::from_millis(1);

/// The load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub listeners: usize,
    pub emitters: usize,
    /// Events per second, of all emitters together.
    pub rate: usize,
    /// Clients take memory that the broker shares.
    pub is_sharing: bool,
}

/// Events that a listener has heard.
#[derive(Default)]
struct Heard {
    /// Number of the next event of each emitter.
    next: BTreeMap<u64, u64>,
    last: Option<Instant>,
    longest_gap: Duration,
}

/// Clients at work.
pub struct Running {
    stop: Arc<AtomicBool>,
    emitters: Vec<thread::JoinHandle<Vec<u64>>>,
    heard: Arc<Vec<Mutex<Heard>>>,
    faults: Arc<Mutex<Vec<String>>>,
    resumed: Arc<AtomicU64>,
    end: Option<mpsc::Sender<()>>,
    listening: Option<thread::JoinHandle<()>>,
}

impl Load {
    /// Connects all clients and begins.
    pub fn start(self, socket: &Path) -> Running {
        let heard: Vec<Mutex<Heard>> = (0..self.listeners).map(|_| Mutex::default()).collect();
        let (end, ended) = mpsc::channel();
        let mut running = Running {
            stop: Arc::default(),
            emitters: Vec::new(),
            heard: Arc::new(heard),
            faults: Arc::default(),
            resumed: Arc::default(),
            end: Some(end),
            listening: None,
        };
        let (ready, is_ready) = mpsc::channel();
        let listening = Listening {
            load: self,
            socket: socket.to_owned(),
            heard: Arc::clone(&running.heard),
            faults: Arc::clone(&running.faults),
            resumed: Arc::clone(&running.resumed),
        };
        let listening = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(listening.run(ready, ended));
        };
        running.listening = Some(thread::spawn(listening));
        is_ready.recv().expect("all listen");
        for number in 0..self.emitters as u64 {
            let (socket, stop) = (socket.to_owned(), Arc::clone(&running.stop));
            running.emitters.push(thread::spawn(move || self.emit(&socket, number, &stop)));
        }
        running
    }

    fn shared_memory(self) -> SharedMemory {
        if self.is_sharing { SharedMemory::Auto } else { SharedMemory::Off }
    }

    /// Emits until told to stop; how many of each name.
    fn emit(self, socket: &Path, number: u64, stop: &AtomicBool) -> Vec<u64> {
        let builder = Client::builder().connect_timeout(PATIENCE).disconnect_timeout(PATIENCE);
        let builder = builder.shared_memory(self.shared_memory()).name("emitter");
        let client = builder.connect(socket).expect("a broker");
        let names: Vec<String> = (0..self.listeners).map(|name| format!("n.{name}")).collect();
        let mut emitted = vec![0u64; self.listeners];
        let per_burst = self.rate as f64 / self.emitters as f64 * BURST_EVERY.as_secs_f64();
        let (start, mut count) = (Instant::now(), 0usize);
        while !stop.load(Ordering::Relaxed) {
            let bursts = start.elapsed().as_secs_f64() / BURST_EVERY.as_secs_f64();
            while (count as f64) < bursts * per_burst {
                let name = count % self.listeners;
                let payload = [number.to_le_bytes(), emitted[name].to_le_bytes()].concat();
                client.emit(&names[name], payload).expect("it comes back");
                emitted[name] += 1;
                count += 1;
            }
            thread::sleep(BURST_EVERY);
        }
        client.disconnect().expect("an orderly end");
        emitted
    }
}

/// The listeners, on one thread.
struct Listening {
    load: Load,
    socket: PathBuf,
    heard: Arc<Vec<Mutex<Heard>>>,
    faults: Arc<Mutex<Vec<String>>>,
    resumed: Arc<AtomicU64>,
}

impl Listening {
    async fn run(self, ready: mpsc::Sender<()>, ended: mpsc::Receiver<()>) {
        let mut clients = Vec::new();
        for name in 0..self.load.listeners {
            let (faults, resumed) = (Arc::clone(&self.faults), Arc::clone(&self.resumed));
            let builder = AsyncClient::builder()
                .connect_timeout(PATIENCE)
                .disconnect_timeout(PATIENCE)
                .name("listener")
                .shared_memory(self.load.shared_memory())
                .on_lifecycle(move |event| match event {
                    Lifecycle::Connect { resumed: true, .. } => {
                        resumed.fetch_add(1, Ordering::Relaxed);
                    }
                    Lifecycle::Lost { .. } | Lifecycle::Error(_) => {
                        faults.lock().unwrap().push(format!("listener {name}: {event:?}"));
                    }
                    _ => {}
                });
            let client = builder.connect_async(&self.socket).await.expect("a broker");
            let (heard, faults) = (Arc::clone(&self.heard), Arc::clone(&self.faults));
            let hear = move |message: &netcluster_client::Message<'_>| {
                let number = |at: usize| {
                    u64::from_le_bytes(message.payload()[at..at + 8].try_into().expect("8 bytes"))
                };
                let mut heard = heard[name].lock().unwrap();
                let (emitter, number) = (number(0), number(8));
                let next = heard.next.entry(emitter).or_default();
                if number != *next {
                    let text = format!("listener {name}: {number} of {emitter}, not {next}");
                    faults.lock().unwrap().push(text);
                }
                *next = number + 1;
                let now = Instant::now();
                let gap = heard.last.map_or(Duration::ZERO, |last| now - last);
                heard.last = Some(now);
                heard.longest_gap = heard.longest_gap.max(gap);
            };
            client.on(&format!("n.{name}"), hear).await.expect("allowed");
            clients.push(client);
        }
        ready.send(()).expect("somebody waits");
        let (tell, mut told) = tokio::sync::oneshot::channel();
        thread::spawn(move || {
            let _ = ended.recv();
            let _ = tell.send(());
        });
        let _ = (&mut told).await;
        for client in clients {
            client.disconnect().await.expect("an orderly end");
        }
    }
}

impl Running {
    /// Returns how often a listener came back so far.
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// Returns the longest time for which a listener heard nothing since the last call.
    pub fn longest_gap(&self) -> Duration {
        let take = |heard: &Mutex<Heard>| std::mem::take(&mut heard.lock().unwrap().longest_gap);
        self.heard.iter().map(take).max().unwrap_or_default()
    }

    /// Waits until all listeners came back so often.
    pub fn wait_until_resumed(&self, times: u64) {
        let all = self.heard.len() as u64 * times;
        wait_until("all listeners are back", || self.resumed() >= all);
    }

    /// Panics if anything is wrong so far.
    pub fn check(&self) {
        let faults = self.faults.lock().unwrap();
        let some = &faults[..faults.len().min(10)];
        assert!(faults.is_empty(), "{} faults: {some:#?}", faults.len());
    }

    /// Ends all and checks that everything came.
    pub fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let emitted: Vec<Vec<u64>> =
            self.emitters.drain(..).map(|it| it.join().expect("it emits to the end")).collect();
        let arrived = |name: usize, emitter: usize| {
            let heard = self.heard[name].lock().unwrap();
            heard.next.get(&(emitter as u64)).copied().unwrap_or(0)
        };
        let all = || {
            emitted.iter().enumerate().all(|(emitter, counts)| {
                (0..counts.len()).all(|name| arrived(name, emitter) == counts[name])
            })
        };
        wait_until("everything has come", all);
        self.check();
        drop(self.end.take());
        self.listening.take().expect("they listen").join().expect("they end in order");
        let total: u64 = emitted.iter().flatten().sum();
        println!("{total} events, each once and in order");
    }
}
