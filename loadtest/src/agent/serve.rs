//! The agent's listening socket: one run at a time, everybody else is told so.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::args::{AgentArgs, MachineArgs};
use super::hello::{self, Token};
use super::lines::{self, MAX_LINE_BYTES, Reader, Writer};
use super::machine::Machine;
use super::message::{Answer, Order};
use super::seat::Seat;
use crate::{clock, interrupt};

/// A coordinator asks for the clock every second: one that is silent for so long is
/// gone.
const SILENCE: Duration = Duration::from_secs(15);
/// Who has not proven the token yet has a thread: more of them wait.
const MAX_GREETINGS: usize = 8;
/// Orders that wait to be carried out: a run has fewer.
const MAX_ORDERS: usize = 64;
/// Answers that wait to be written.
const MAX_ANSWERS: usize = 4096;
/// How late an interrupt may be seen.
const POLL: Duration = Duration::from_millis(20);
/// A run ends soon after its agent was told to.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// What all connections share.
struct Agent {
    args: MachineArgs,
    token: Option<Token>,
    is_busy: AtomicBool,
    greetings: AtomicUsize,
}

/// Serves until interrupted; always `true`.
///
/// # Errors
/// If it cannot listen there, or needs a token.
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
        greetings: AtomicUsize::new(0),
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
            Ok((stream, from)) if agent.greetings.load(Ordering::Acquire) < MAX_GREETINGS => {
                agent.greetings.fetch_add(1, Ordering::AcqRel);
                let agent = Arc::clone(&agent);
                thread::spawn(move || {
                    if let Err(error) = agent.take(stream) {
                        eprintln!("{from}: {error:#}");
                    }
                });
            }
            // Its connection ends; it may try again.
            Ok(_) => {}
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

/// The agent's one run; frees it when it is over.
struct Room(Arc<Agent>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

impl Agent {
    fn take(self: &Arc<Agent>, stream: TcpStream) -> Result<()> {
        let greeted = self.greet(stream);
        self.greetings.fetch_sub(1, Ordering::AcqRel);
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

/// One run: a thread reads, one writes, this one has the seat.
fn run(room: Room, reader: Reader, writer: Writer) -> Result<()> {
    let (ordered, orders) = sync_channel(MAX_ORDERS);
    let (answer, answers) = sync_channel(MAX_ANSWERS);
    let asked = answer.clone();
    let reading = thread::spawn(move || read(reader, &ordered, &asked));
    let writing = thread::spawn(move || write(writer, &answers));
    let last = answer.clone();
    let out = Box::new(move |said| !interrupt::requested() && answer.send(said).is_ok());
    let counted = Seat::run(room.0.args.clone(), &orders, out);
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
    // Ends when neither the seat nor the reader has anything to say any more.
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
