//! The simulator keeps the rules of [`Io`], notices a shard that does not, and
//! repeats itself.

mod pipes;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{Faults, SimClient, SimIo, SimNet};
use crate::Slice;
use crate::io::{Completion, Conn, Io, ReceiveEnd};

/// Shard without faults, and one accepted client.
struct Pair {
    net: SimNet,
    io: SimIo,
    client: SimClient,
    conn: Conn,
}

impl Pair {
    fn new(faults: Faults) -> Pair {
        let net = SimNet::new(1, Faults::default());
        let mut io = net.shard();
        io.accept(net.listener()).unwrap();
        let client = net.connect();
        let completions = wait(&mut io);
        let [Completion::Accepted { conn, .. }] = completions[..] else {
            panic!("{completions:?}");
        };
        net.set_faults(faults);
        Pair { net, io, client, conn }
    }
}

fn wait(io: &mut SimIo) -> Vec<Completion> {
    let is_ready = io.is_ready();
    let mut completions = Vec::new();
    io.wait(&mut completions, Some(Duration::ZERO)).unwrap();
    assert!(is_ready || completions.is_empty(), "not ready, and yet {completions:?}");
    completions
}

fn slice(bytes: &[u8]) -> Slice {
    Slice::from(Bytes::copy_from_slice(bytes))
}

fn send(io: &mut SimIo, conn: Conn, bytes: &[u8]) {
    io.send(conn, [slice(bytes)].iter());
}

#[test]
fn bytes_go_both_ways() {
    let Pair { mut io, client, conn, .. } = Pair::new(Faults::default());
    assert_eq!(client.write(b"hello"), 5);
    assert!(wait(&mut io).is_empty(), "nothing is received before it is asked for");
    io.receive(conn);
    let completions = wait(&mut io);
    assert!(
        matches!(&completions[..], [Completion::Received { chunk, .. }] if &chunk[..] == b"hello")
    );
    io.send(conn, [slice(b"wor"), slice(b"ld")].iter());
    assert!(matches!(wait(&mut io)[..], [Completion::Sent { bytes: 5, blocked: false, .. }]));
    let mut read = Vec::new();
    assert_eq!(client.read(&mut read), 5);
    assert_eq!(read, b"world");
}

#[test]
fn a_full_socket_blocks_until_the_client_reads() {
    let Pair { mut io, client, conn, .. } =
        Pair::new(Faults { socket_bytes: 100, ..Faults::default() });
    send(&mut io, conn, &[1; 150]);
    assert!(matches!(wait(&mut io)[..], [Completion::Sent { bytes: 100, blocked: true, .. }]));
    assert!(!io.is_ready());
    assert!(wait(&mut io).is_empty());
    client.read_up_to(&mut Vec::new(), 50);
    assert!(io.is_ready());
    assert!(matches!(wait(&mut io)[..], [Completion::Writable { .. }]));
    assert_eq!(client.write(&[0; 150]), 100);
    assert_eq!(client.write(&[0; 150]), 0);
}

#[test]
fn what_was_on_its_way_comes_before_stopped() {
    let Pair { mut io, client, conn, .. } = Pair::new(Faults::default());
    io.receive(conn);
    client.write(b"late");
    io.stop_receive(conn);
    let completions = wait(&mut io);
    let [Completion::Received { .. }, Completion::ReceiveEnded { end: ReceiveEnd::Stopped, .. }] =
        &completions[..]
    else {
        panic!("{completions:?}");
    };
    client.write(b"unseen");
    assert!(wait(&mut io).is_empty());
    io.receive(conn);
    assert!(matches!(wait(&mut io)[..], [Completion::Received { .. }]));
}

#[test]
fn receive_into_fills_to_the_length() {
    let faults = Faults { short_read_permille: 1000, ..Faults::default() };
    let Pair { mut io, client, conn, .. } = Pair::new(faults);
    let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    client.write(&content);
    io.receive_into(conn, BytesMut::from(&b"begun"[..]), 90_000);
    let completions = wait(&mut io);
    let [Completion::Filled { buffer, .. }] = &completions[..] else {
        panic!("{completions:?}");
    };
    assert_eq!(&buffer[..5], b"begun");
    assert_eq!(&buffer[5..], &content[..90_000 - 5]);
}

#[test]
fn an_orderly_end_comes_after_the_bytes() {
    let Pair { mut io, client, conn, .. } = Pair::new(Faults::default());
    client.write(b"bye");
    client.close();
    io.receive(conn);
    let completions = wait(&mut io);
    let [Completion::Received { .. }, Completion::ReceiveEnded { end: ReceiveEnd::Eof, .. }] =
        &completions[..]
    else {
        panic!("{completions:?}");
    };
    send(&mut io, conn, b"too late");
    assert!(matches!(wait(&mut io)[..], [Completion::SendFailed { .. }]));
}

#[test]
fn a_killed_client_fails_the_receive() {
    let Pair { mut io, client, conn, .. } = Pair::new(Faults::default());
    io.receive(conn);
    client.reset();
    let completions = wait(&mut io);
    let [Completion::ReceiveEnded { end: ReceiveEnd::Failed(_), .. }] = &completions[..] else {
        panic!("{completions:?}");
    };
    assert!(client.is_closed());
}

#[test]
fn close_swallows_what_was_under_way() {
    let Pair { net, mut io, client, conn } = Pair::new(Faults::default());
    io.receive(conn);
    client.write(b"unread");
    send(&mut io, conn, b"unreported");
    io.close(conn);
    let completions = wait(&mut io);
    assert!(matches!(completions[..], [Completion::Closed { .. }]), "{completions:?}");
    assert!(client.is_closed());
    assert_eq!(net.sockets(), 0);
    let _second = net.connect();
    assert!(
        matches!(wait(&mut io)[..], [Completion::Accepted { conn: again, .. }] if again == conn)
    );
}

#[test]
fn a_starved_connection_is_armed_again_at_a_quarter() {
    let net = SimNet::new(1, Faults { pool_buffers: 8, buffer_bytes: 10, ..Faults::default() });
    let mut io = net.shard();
    io.accept(net.listener()).unwrap();
    let client = net.connect();
    wait(&mut io);
    io.receive(Conn(0));
    client.write(&[0; 200]);
    let mut pinned: VecDeque<Completion> = wait(&mut io).into();
    assert_eq!(pinned.len(), 8);
    assert!(io.starved());
    assert_eq!(io.stats().pinned_buffers, 8);
    pinned.pop_front();
    assert!(wait(&mut io).is_empty(), "one of eight is not a quarter");
    pinned.pop_front();
    assert_eq!(net.next_due(), Some(net.now()));
    assert_eq!(wait(&mut io).len(), 2);
    assert_eq!(io.stats().starvations, 2);
}

#[test]
fn accepting_pauses_and_resumes() {
    let net = SimNet::new(1, Faults { accept_failure_permille: 1000, ..Faults::default() });
    let mut io = net.shard();
    io.accept(net.listener()).unwrap();
    let _client = net.connect();
    assert!(matches!(wait(&mut io)[..], [Completion::AcceptPaused { .. }]));
    assert!(wait(&mut io).is_empty());
    net.set_faults(Faults::default());
    io.resume_accept();
    assert!(matches!(wait(&mut io)[..], [Completion::Accepted { .. }]));
    let waiting = net.connect();
    io.stop_accept();
    assert!(waiting.is_closed());
    assert!(net.connect().is_closed(), "nobody listens");
}

#[test]
fn delayed_completions_wait_for_their_time() {
    let faults = Faults { delay_permille: 1000, max_delay_ns: 1000, ..Faults::default() };
    let Pair { net, mut io, client, conn } = Pair::new(faults);
    io.receive(conn);
    client.write(b"later");
    assert!(wait(&mut io).is_empty());
    let due_at = net.next_due().unwrap();
    assert!((1..=1000).contains(&due_at.as_nanos()));
    net.advance(Duration::from_nanos(due_at.as_nanos() - 1));
    assert!(wait(&mut io).is_empty());
    assert!(net.advance_to_next());
    assert_eq!(wait(&mut io).len(), 1);
    assert!(!net.advance_to_next());
}

#[test]
fn many_wakes_are_one_report() {
    let Pair { net, mut io, .. } = Pair::new(Faults::default());
    let waker = io.waker();
    waker.wake();
    waker.clone().wake();
    assert_eq!(net.next_due(), Some(net.now()));
    assert!(matches!(wait(&mut io)[..], [Completion::Woken]));
    assert!(wait(&mut io).is_empty());
}

#[test]
fn a_dropped_shard_or_handle_closes_its_connections() {
    let Pair { net, mut io, client, conn } = Pair::new(Faults::default());
    let socket = io.release(conn);
    assert!(!client.is_closed());
    drop(socket);
    assert!(client.is_closed());
    let second = net.connect();
    wait(&mut io);
    drop(io);
    assert!(second.is_closed());
    assert_eq!(net.sockets(), 0);
}

#[test]
#[should_panic(expected = "sends twice")]
fn two_sends_at_a_time_panic() {
    let Pair { mut io, conn, client: _client, .. } = Pair::new(Faults::default());
    send(&mut io, conn, b"one");
    send(&mut io, conn, b"two");
}

#[test]
#[should_panic(expected = "receives already")]
fn two_receives_panic() {
    let Pair { mut io, conn, client: _client, .. } = Pair::new(Faults::default());
    io.receive(conn);
    io.receive(conn);
}

#[test]
#[should_panic(expected = "after close")]
fn use_after_close_panics() {
    let Pair { mut io, conn, client: _client, .. } = Pair::new(Faults::default());
    io.close(conn);
    io.receive(conn);
}

#[test]
#[should_panic(expected = "while it receives")]
fn release_while_receiving_panics() {
    let Pair { mut io, conn, client: _client, .. } = Pair::new(Faults::default());
    io.receive(conn);
    io.release(conn);
}

/// Connection of the echoing broker.
#[derive(Default)]
struct Echo {
    queue: VecDeque<Slice>,
    busy: bool,
    /// Received this much before it moves to the other shard.
    received: usize,
    stopping: bool,
    moves: u32,
    closing: bool,
}

/// A broker of two shards that returns what it receives and hands each
/// connection to the other shard now and then.
struct EchoBroker {
    shards: [SimIo; 2],
    conns: [BTreeMap<Conn, Echo>; 2],
}

impl EchoBroker {
    fn new(net: &SimNet) -> EchoBroker {
        let mut shards = [net.shard(), net.shard()];
        shards[0].accept(net.listener()).unwrap();
        EchoBroker { shards, conns: Default::default() }
    }

    fn turn(&mut self, shard: usize) -> usize {
        let completions = wait(&mut self.shards[shard]);
        let count = completions.len();
        for completion in completions {
            self.handle(shard, completion);
        }
        count
    }

    fn handle(&mut self, shard: usize, completion: Completion) {
        let (io, conns) = (&mut self.shards[shard], &mut self.conns[shard]);
        let conn = match completion {
            Completion::Accepted { conn, .. } => {
                assert!(conns.insert(conn, Echo::default()).is_none());
                io.receive(conn);
                return;
            }
            Completion::AcceptPaused { .. } => return io.resume_accept(),
            Completion::Received { conn, ref chunk } => {
                let echo = conns.get_mut(&conn).unwrap();
                if echo.closing {
                    // Closed by something earlier in this batch.
                    return;
                }
                echo.received += chunk.len();
                // A copy, or an echo to a client that does not read would starve the pool.
                echo.queue.push_back(slice(chunk));
                if echo.received >= 2000 && !echo.stopping && echo.moves < 5 {
                    echo.stopping = true;
                    io.stop_receive(conn);
                }
                conn
            }
            Completion::ReceiveEnded { conn, end: ReceiveEnd::Stopped } => conn,
            Completion::ReceiveEnded { conn, .. } | Completion::SendFailed { conn, .. } => {
                let echo = conns.get_mut(&conn).unwrap();
                if !std::mem::replace(&mut echo.closing, true) {
                    io.close(conn);
                }
                return;
            }
            Completion::Sent { conn, mut bytes, blocked } => {
                let echo = conns.get_mut(&conn).unwrap();
                echo.busy = blocked;
                while bytes > 0 {
                    let first = echo.queue.front_mut().unwrap();
                    let count = bytes.min(first.len());
                    first.advance(count);
                    bytes -= count;
                    if first.is_empty() {
                        echo.queue.pop_front();
                    }
                }
                conn
            }
            Completion::Writable { conn } => {
                conns.get_mut(&conn).unwrap().busy = false;
                conn
            }
            Completion::Closed { conn } => {
                assert!(conns.remove(&conn).unwrap().closing);
                return;
            }
            Completion::Filled { .. }
            | Completion::Datagrams(_)
            | Completion::DatagramsWritable
            | Completion::Woken => return,
        };
        self.go_on(shard, conn, matches!(completion, Completion::ReceiveEnded { .. }));
    }

    fn go_on(&mut self, shard: usize, conn: Conn, stopped: bool) {
        let echo = self.conns[shard].get_mut(&conn).unwrap();
        if echo.closing {
            return;
        }
        if stopped && !echo.busy {
            let mut echo = self.conns[shard].remove(&conn).unwrap();
            let socket = self.shards[shard].release(conn);
            let other = 1 - shard;
            let conn = self.shards[other].adopt(socket).unwrap();
            echo.stopping = false;
            echo.received = 0;
            echo.moves += 1;
            self.shards[other].receive(conn);
            if !echo.queue.is_empty() {
                echo.busy = true;
                self.shards[other].send(conn, echo.queue.iter());
            }
            assert!(self.conns[other].insert(conn, echo).is_none());
            return;
        }
        if stopped {
            // It has a send under way: stay here.
            echo.stopping = false;
            echo.received = 0;
            self.shards[shard].receive(conn);
        }
        let echo = self.conns[shard].get_mut(&conn).unwrap();
        if !echo.busy && !echo.queue.is_empty() {
            echo.busy = true;
            self.shards[shard].send(conn, echo.queue.iter());
        }
    }
}

/// Clients write a numbered stream each and read it back. Returns the digest.
fn run_echo(seed: u64, faults: Faults) -> u64 {
    const BYTES: usize = 40_000;
    let net = SimNet::new(seed, faults);
    let mut broker = EchoBroker::new(&net);
    let clients: Vec<SimClient> = (0..5).map(|_| net.connect()).collect();
    let content: Vec<u8> = (0..BYTES as u32).map(|n| (n / 3) as u8).collect();
    let mut written = [0; 5];
    let mut read = vec![Vec::new(); 5];
    for _ in 0..200_000 {
        let mut progress = 0;
        for (index, client) in clients.iter().enumerate() {
            let end = BYTES.min(written[index] + 1000 * (index + 1));
            let count = client.write(&content[written[index]..end]);
            written[index] += count;
            progress += count + client.read_up_to(&mut read[index], 700);
        }
        progress += broker.turn(0) + broker.turn(1);
        if progress == 0 && !net.advance_to_next() {
            break;
        }
    }
    for (index, client) in clients.iter().enumerate() {
        assert!(content.starts_with(&read[index]), "seed {seed}: client {index} read nonsense");
        let complete = read[index].len() == BYTES;
        assert!(complete || client.is_closed(), "seed {seed}: client {index} hangs");
        if faults.reset_per_million == 0 {
            assert!(complete, "seed {seed}: client {index} was closed");
        }
    }
    drop(clients);
    while broker.turn(0) + broker.turn(1) > 0 || net.advance_to_next() {}
    assert_eq!(net.sockets(), 0, "seed {seed}: a connection leaks");
    net.trace()
}

/// Number of seeds that are tried; `SIM_SEEDS=5000 cargo test …` tries more.
fn seeds() -> u64 {
    std::env::var("SIM_SEEDS").map_or(40, |count| count.parse().expect("a number"))
}

#[test]
fn echo_survives_every_fault() {
    for seed in 0..seeds() {
        run_echo(seed, Faults::rough());
        run_echo(seed, Faults::rough_without_resets());
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let trace = run_echo(7, Faults::rough());
    assert_eq!(trace, run_echo(7, Faults::rough()));
    assert_ne!(trace, run_echo(8, Faults::rough()));
}
