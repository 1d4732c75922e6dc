//! Questions to the broker, and the thread that asks them.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use netcluster_client::Client;
use serde_json::json;

use crate::cli::args::SocketArgs;
use crate::cli::clients::{By, clients_page};
use crate::cli::control::{ask, connect};
use crate::cli::failure::Failure;
use crate::cli::status::unreadable;

use super::controls::Controls;
use super::samples::{Look, Samples};
use super::views::View;

/// Time after which a question that is not answered is told of.
const PATIENCE: Duration = Duration::from_secs(2);

/// Question to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// View that is to be filled.
    pub view: View,
    /// Order of clients.
    pub by: By,
    /// Clients and channels at the most.
    pub limit: usize,
}

/// The broker, whose connection is made anew when it breaks.
pub struct Broker {
    socket: SocketArgs,
    client: Option<Client>,
}

impl Broker {
    /// Returns the broker of this socket. Nobody is connected yet.
    pub fn new(socket: SocketArgs) -> Broker {
        Broker { socket, client: None }
    }

    /// Asks for what a view shows: totals, and one page if it has more than they say.
    pub fn look(&mut self, wanted: Wanted) -> Result<Look, Failure> {
        let client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => connect("netcluster top", &self.socket)?,
        };
        let totals = ask(&client, &json!({ "do": "totals" }))?;
        let page = match wanted.view {
            View::Clients | View::Slow => clients_page(&client, wanted.by, wanted.limit, 0)?,
            View::Channels => ask(&client, &json!({ "do": "channels", "limit": wanted.limit }))?,
            View::Peers => ask(&client, &json!({ "do": "peers" }))?,
            View::Losses | View::Shards => json!({}),
        };
        self.client = Some(client);
        Look::read(Instant::now(), wanted.view, totals, page).map_err(unreadable)
    }
}

/// Thread that asks, one question at a time.
pub struct Asker {
    questions: Sender<Wanted>,
    answers: Receiver<Result<Look, Failure>>,
    /// The last question, and when it was asked.
    asked: Option<(Instant, Wanted)>,
    is_answered: bool,
}

impl Asker {
    /// Starts the thread.
    pub fn start(mut broker: Broker) -> Result<Asker, Failure> {
        let (questions, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let work = move || {
            for wanted in asked {
                if answer.send(broker.look(wanted)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("asker".into())
            .spawn(work)
            .map_err(|error| Failure::other(format_args!("cannot start a thread: {error}")))?;
        Ok(Asker { questions, answers, asked: None, is_answered: true })
    }

    /// Asks if it is time to, or if something else is wanted than before, and takes an
    /// answer that has come. Returns whether there is something new.
    pub fn ask(&mut self, controls: &Controls, samples: &mut Samples) -> io::Result<bool> {
        let now = Instant::now();
        let is_new = match self.answers.try_recv() {
            Ok(Ok(look)) => {
                self.is_answered = true;
                samples.add(look);
                true
            }
            Ok(Err(failure)) => {
                self.is_answered = true;
                samples.failed(now, failure.to_string());
                true
            }
            Err(TryRecvError::Empty) => self.is_late(now, samples),
            Err(TryRecvError::Disconnected) => return Err(gone()),
        };
        let wanted = controls.wanted();
        let is_due = self.asked.is_none_or(|(at, asked)| {
            asked != wanted || now.saturating_duration_since(at) >= controls.interval
        });
        if is_due && self.is_answered && !controls.is_paused {
            self.questions.send(wanted).map_err(|_| gone())?;
            (self.asked, self.is_answered) = (Some((now, wanted)), false);
        }
        Ok(is_new)
    }

    /// Tells once that an answer takes too long.
    fn is_late(&self, now: Instant, samples: &mut Samples) -> bool {
        let since = self.asked.filter(|_| !self.is_answered && samples.trouble.is_none());
        let is_late = since.is_some_and(|(at, _)| now.saturating_duration_since(at) >= PATIENCE);
        if is_late {
            samples.failed(now - PATIENCE, "it has been asked, and waited for".into());
        }
        is_late
    }
}

fn gone() -> io::Error {
    io::Error::other("this is a bug: see above")
}
