//! Ends to the sessions of the machines: over TCP to an agent, or in this process.
//!
//! Orders go out one by one; answers of all come in through one channel, with the time
//! when they came.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::agent::args::{MachineArgs, PORT};
use crate::agent::hello::{self, Token};
use crate::agent::lines::{self, MAX_LINE_BYTES, Reader, Writer};
use crate::agent::machine::Machine;
use crate::agent::message::{Answer, Order};
use crate::agent::session::AgentSession;
use crate::{clock, interrupt};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time after which a silent agent is gone: agents are asked for their clock every second
/// and answer at once.
const SILENCE: Duration = Duration::from_secs(30);
/// Time between two signs of life: an agent to which nothing is said for some seconds
/// gives up.
pub const KEEP_UP: Duration = Duration::from_secs(1);
/// Delay with which an interrupt is seen at the latest.
const POLL: Duration = Duration::from_millis(50);

/// Most answers that nobody has looked at yet; an agent that sends more waits.
const MAX_MAIL: usize = 4096;

/// Answer, with its machine and the time when it came; no answer is the end of the
/// machine.
pub type Mail = (usize, u64, Result<Answer>);

/// Ends to the sessions of all machines.
pub struct Agents {
    ends: Vec<End>,
    inbox: Receiver<Mail>,
    outbox: SyncSender<Mail>,
    /// Answers that came while another one was waited for.
    pub early: Vec<Mail>,
    /// Machines that took no order, which is their end.
    deaf: Vec<usize>,
}

struct End {
    name: String,
    address: String,
    machine: Machine,
    way: Option<Way>,
}

enum Way {
    Local(Sender<Order>, JoinHandle<()>),
    Remote(Writer),
}

impl Agents {
    /// Begins without machines.
    pub fn new() -> Agents {
        let (outbox, inbox) = sync_channel(MAX_MAIL);
        Agents { ends: Vec::new(), inbox, outbox, early: Vec::new(), deaf: Vec::new() }
    }

    /// Adds this machine.
    pub fn add_local(&mut self, name: &str, args: &MachineArgs) {
        let (orders, ordered) = channel();
        let (place, outbox, args) = (self.ends.len(), self.outbox.clone(), args.clone());
        let session = thread::spawn(move || {
            let gone = outbox.clone();
            let out = move |answer| outbox.send((place, clock::now_ns(), Ok(answer))).is_ok();
            let counted = AgentSession::run(args, &ordered, Box::new(out));
            // The receiver is gone if the run could not begin.
            let _ = gone.send((place, clock::now_ns(), Ok(Answer::Ended(counted))));
        });
        self.ends.push(End {
            name: name.into(),
            address: String::new(),
            machine: Machine::this(),
            way: Some(Way::Local(orders, session)),
        });
    }

    /// Adds the machine of the agent at an address.
    ///
    /// # Errors
    /// If the agent is not reached, or refuses.
    pub fn add(&mut self, name: &str, address: &str, token: Option<&Token>) -> Result<()> {
        let stream = connect(address);
        let stream = stream.with_context(|| format!("the agent of {name} at {address}"))?;
        self.add_connected(name, address, stream, token)
    }

    /// Adds the machine at the other end of a connection.
    ///
    /// # Errors
    /// If the machine refuses.
    pub fn add_connected(
        &mut self,
        name: &str,
        address: &str,
        stream: TcpStream,
        token: Option<&Token>,
    ) -> Result<()> {
        let greeted = lines::split(stream).and_then(|(mut reader, mut writer)| {
            let machine = hello::greet_agent(&mut reader, &mut writer, token)?;
            Ok((reader, writer, machine))
        });
        let (reader, writer, machine) =
            greeted.with_context(|| format!("the agent of {name} at {address}"))?;
        let (place, outbox) = (self.ends.len(), self.outbox.clone());
        thread::spawn(move || read(place, reader, &outbox));
        self.ends.push(End {
            name: name.into(),
            address: address.into(),
            machine,
            way: Some(Way::Remote(writer)),
        });
        Ok(())
    }

    /// Returns how many machines there are, also of those that are gone.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns what a machine says of itself.
    pub fn machine(&self, place: usize) -> &Machine {
        &self.ends[place].machine
    }

    /// Returns the address of a machine's agent.
    pub fn address(&self, place: usize) -> &str {
        &self.ends[place].address
    }

    /// Describes a machine for people.
    pub fn describe(&self, place: usize) -> String {
        let end = &self.ends[place];
        match end.address.as_str() {
            "" => end.name.clone(),
            address => format!("{} ({address})", end.name),
        }
    }

    /// Returns whether a machine still takes part.
    pub fn is_here(&self, place: usize) -> bool {
        self.ends[place].way.is_some()
    }

    /// Returns the machines that still take part.
    pub fn here(&self) -> Vec<usize> {
        (0..self.ends.len()).filter(|&place| self.is_here(place)).collect()
    }

    /// Lets a machine take no part from now on.
    pub fn give_up(&mut self, place: usize) {
        match self.ends[place].way.take() {
            Some(Way::Remote(writer)) => writer.shut_down(),
            Some(Way::Local(orders, session)) => {
                // Without orders the session ends; its processes with it.
                drop(orders);
                // It may have to tell more than there is room for.
                while !session.is_finished() {
                    self.early.extend(self.inbox.recv_timeout(POLL));
                }
                // A panic there has been printed.
                let _ = session.join();
            }
            None => {}
        }
    }

    /// Gives an order; an order that cannot be given shows as the end of the machine.
    pub fn tell(&mut self, place: usize, order: Order) {
        let told = match &mut self.ends[place].way {
            Some(Way::Local(orders, _)) => orders.send(order).is_ok(),
            Some(Way::Remote(writer)) => writer.write(&order).is_ok(),
            None => true,
        };
        if !told {
            self.deaf.push(place);
        }
    }

    /// Gives an order to all that are here.
    pub fn tell_all(&mut self, order: &Order) {
        self.here().into_iter().for_each(|place| self.tell(place, order.clone()));
    }

    /// Shows the agents that somebody still coordinates; due every [`KEEP_UP`].
    pub fn keep_up(&mut self) {
        self.tell_all(&Order::Clock(u64::MAX));
    }

    /// Waits for the next answer; `None` if none comes in time.
    pub fn next(&mut self, timeout: Duration) -> Option<Mail> {
        if self.early.is_empty() { self.receive(timeout) } else { Some(self.early.remove(0)) }
    }

    fn receive(&mut self, timeout: Duration) -> Option<Mail> {
        match self.deaf.pop() {
            Some(place) => {
                let gone = Err(anyhow::anyhow!("it does not take orders any more"));
                Some((place, clock::now_ns(), gone))
            }
            None => self.inbox.recv_timeout(timeout).ok(),
        }
    }

    /// Waits until these machines have carried out their last order, while nothing has
    /// begun.
    ///
    /// # Errors
    /// If a machine fails, ends or takes too long, or somebody interrupts.
    pub fn await_ready(&mut self, places: &[usize], what: &str, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut waiting: Vec<usize> = places.to_vec();
        let mut early = Vec::new();
        let mut told = Instant::now();
        while !waiting.is_empty() {
            interrupt::check()?;
            if told.elapsed() > KEEP_UP {
                told = Instant::now();
                self.keep_up();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receive(left.min(POLL)) {
                Some((from, _, Ok(Answer::Ready))) => waiting.retain(|place| *place != from),
                Some((from, _, Ok(Answer::Failed(text)))) => {
                    bail!("{}: {text}", self.describe(from));
                }
                Some((from, _, Err(error))) => {
                    return Err(error.context(self.describe(from)));
                }
                Some((_, _, Ok(Answer::Clock { .. }))) => {}
                Some(mail) => early.push(mail),
                None if !left.is_zero() => {}
                None => {
                    let names: Vec<String> =
                        waiting.iter().map(|&place| self.describe(place)).collect();
                    bail!("{}: {what} took more than {timeout:?}", names.join(", "));
                }
            }
        }
        self.early.append(&mut early);
        Ok(())
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        (0..self.ends.len()).for_each(|place| self.give_up(place));
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let with_port = match address.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => address.to_owned(),
        _ => format!("{address}:{PORT}"),
    };
    let mut last = None;
    for address in with_port.to_socket_addrs().context("there is no such host")? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let hint = "is `netcluster-loadtest agent` running there, and its --listen address reached?";
    match last {
        Some(error) => Err(error).context(hint),
        None => bail!("the host has no address"),
    }
}

fn read(place: usize, mut reader: Reader, outbox: &SyncSender<Mail>) {
    loop {
        let (answer, is_last) = match reader.read(MAX_LINE_BYTES, SILENCE) {
            Ok(Some(answer)) => (Ok(answer), false),
            Ok(None) => (Err(anyhow::anyhow!("it closed the connection")), true),
            Err(error) => (Err(error), true),
        };
        if outbox.send((place, clock::now_ns(), answer)).is_err() || is_last {
            return;
        }
    }
}
