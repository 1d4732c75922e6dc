//! Listening socket of the agent: one run at a time, everybody else is told so.

use std::fmt;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use netcluster_wire::escape;

use super::args::{AgentArgs, MachineArgs};
use super::callers::{Caller, Callers};
use super::hello::{self, Token};
use super::lines::{self, MAX_LINE_BYTES, Reader, Writer};
use super::machine::Machine;
use super::message::{Answer, Order};
use super::session::AgentSession;
use crate::{clock, interrupt};

/// Time after which a silent coordinator is gone: it asks for the clock every second.
const SILENCE: Duration = Duration::from_secs(15);
/// Most orders that wait to be carried out: a run has fewer.
const MAX_ORDERS: usize = 64;
/// Most answers that wait to be written.
const MAX_ANSWERS: usize = 4096;
/// Delay with which an interrupt is seen at the latest.
const POLL: Duration = Duration::from_millis(20);
/// Most complaints in one [`COMPLAINTS_SPAN`].
const MAX_COMPLAINTS: u32 = 20;
const COMPLAINTS_SPAN: Duration = Duration::from_secs(10);
/// Time within which a run ends whose agent was told to.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Agent: the state that all connections share.
struct Agent {
    args: MachineArgs,
    token: Option<Token>,
    is_busy: AtomicBool,
    callers: Callers,
    complaints: Complaints,
}

/// Serves until interrupted; returns always `true`.
///
/// # Errors
/// If the agent cannot listen there, or needs a token.
pub fn serve(args: &AgentArgs) -> Result<bool> {
    let token = args.token_file.as_deref().map(Token::read).transpose()?;
    ensure!(
        token.is_some() || args.listen.ip().is_loopback(),
        "an agent at {} can be reached by others: give it --token-file",
        args.listen
    );
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen at {}", args.listen))?;
    listener.set_nonblocking(true)?;
    println!("listening at {}", listener.local_addr()?);
    let agent = Arc::new(Agent {
        args: args.machine.clone(),
        token,
        is_busy: AtomicBool::new(false),
        callers: Callers::default(),
        complaints: Complaints::default(),
    });
    let is_over = Arc::new(AtomicBool::new(false));
    if args.until_eof {
        let is_over = Arc::clone(&is_over);
        thread::spawn(move || {
            // Whatever is said, only the end counts.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            is_over.store(true, Ordering::Release);
        });
    }
    while !interrupt::requested() && !is_over.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, from)) => agent.begin(stream, from),
            Err(_) => thread::sleep(POLL),
        }
    }
    // A run ends with its coordinator's connection, or with this process.
    let deadline = Instant::now() + END_TIMEOUT;
    while agent.is_busy.load(Ordering::Acquire) && Instant::now() < deadline {
        thread::sleep(POLL);
    }
    Ok(true)
}

/// Place of the agent's one run, which is free again when this is dropped.
struct Room(Arc<Agent>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

impl Agent {
    /// Deals with a connection on a thread of its own. Without a thread the connection
    /// ends, and may try again.
    fn begin(self: &Arc<Agent>, stream: TcpStream, from: SocketAddr) {
        let agent = Arc::clone(self);
        let (begun, begins) = sync_channel::<()>(0);
        let take = move || {
            let caller = agent.callers.admit(&stream);
            drop(begun);
            let Some(caller) = caller else { return };
            if let Err(error) = agent.take(stream, caller) {
                agent.complaints.tell(format_args!("{from}: {error:#}"));
            }
        };
        if thread::Builder::new().spawn(take).is_ok() {
            // So there are never more threads than callers, but for this one.
            let _ = begins.recv();
        }
    }

    fn take(self: &Arc<Agent>, stream: TcpStream, caller: Caller<'_>) -> Result<()> {
        let greeted = self.greet(stream);
        drop(caller);
        let (room, reader, writer) = greeted?;
        run(room, reader, writer)
    }

    fn greet(self: &Arc<Agent>, stream: TcpStream) -> Result<(Room, Reader, Writer)> {
        stream.set_nonblocking(false)?;
        let (mut reader, mut writer) = lines::split(stream)?;
        let take = || {
            if self.is_busy.swap(true, Ordering::AcqRel) {
                bail!("it is busy with another run");
            }
            Ok(Room(Arc::clone(self)))
        };
        let token = self.token.as_ref();
        let machine = Machine::this();
        let room = hello::greet_coordinator(&mut reader, &mut writer, token, take, machine)?;
        Ok((room, reader, writer))
    }
}

/// Complaints about callers on standard error: some of them, the rest by number.
#[derive(Default)]
struct Complaints(Mutex<Told>);

#[derive(Default)]
struct Told {
    since: Option<Instant>,
    told: u32,
    left_out: u64,
}

impl Complaints {
    /// Tells a complaint, unless there were many lately.
    fn tell(&self, complaint: fmt::Arguments<'_>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        if state.since.is_none_or(|since| since.elapsed() >= COMPLAINTS_SPAN) {
            if state.left_out > 0 {
                text = format!("{} more were sent away\n", state.left_out);
            }
            *state = Told { since: Some(Instant::now()), ..Told::default() };
        }
        if state.told == MAX_COMPLAINTS {
            state.left_out += 1;
            return;
        }
        state.told += 1;
        drop(state);
        text.push_str(&format!("{complaint}\n"));
        // Whether anybody reads it does not matter.
        let _ = std::io::stderr().write_all(escape::page(&text).as_bytes());
    }
}

/// Carries out one run: a thread reads, one writes, this one has the session.
fn run(room: Room, reader: Reader, writer: Writer) -> Result<()> {
    let (ordered, orders) = sync_channel(MAX_ORDERS);
    let (answer, answers) = sync_channel(MAX_ANSWERS);
    let asked = answer.clone();
    let reading = thread::spawn(move || read(reader, &ordered, &asked));
    let writing = thread::spawn(move || write(writer, &answers));
    let last = answer.clone();
    let out = Box::new(move |said| !interrupt::requested() && answer.send(said).is_ok());
    let counted = AgentSession::run(room.0.args.clone(), &orders, out);
    // Who is told the end may begin the next run at once.
    drop(room);
    let _ = last.send(Answer::Ended(counted));
    drop(last);
    // The reader sees that nobody takes orders, or the end of the connection.
    drop(orders);
    let read = reading.join().unwrap_or_else(|_| bail!("the reading thread panicked"));
    let written = writing.join().unwrap_or_else(|_| bail!("the writing thread panicked"));
    read.and(written)
}

fn read(mut reader: Reader, ordered: &SyncSender<Order>, asked: &SyncSender<Answer>) -> Result<()> {
    while let Some(order) = reader.read(MAX_LINE_BYTES, SILENCE)? {
        // Asked here, so that nothing else is waited for.
        let is_taken = match order {
            Order::Clock(number) => {
                let at_ns = clock::now_ns();
                asked.send(Answer::Clock { number, at_ns }).is_ok()
            }
            order => ordered.send(order).is_ok(),
        };
        if !is_taken {
            break;
        }
    }
    Ok(())
}

fn write(mut writer: Writer, answers: &Receiver<Answer>) -> Result<()> {
    // Ends when neither the session nor the reader has anything to say any more.
    for answer in answers {
        let is_last = matches!(answer, Answer::Ended(_));
        if let Err(error) = writer.write(&answer) {
            writer.shut_down();
            return Err(error);
        }
        if is_last {
            break;
        }
    }
    Ok(())
}
