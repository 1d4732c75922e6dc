//! `netcluster on`: prints events until it has enough, or is told to end.
//!
//! The main thread does nothing but wait for the end, so that it hears signals and the
//! clock while another connects, and while nobody reads the output.
//!
//! Decision: `docs/decisions/046-on-ends-on-its-own-thread.md`.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use netcluster_client::{Client, Lifecycle, Message, Source};

use super::args::{Format, OnArgs};
use super::doubt;
use super::failure::{Code, Failure};
use super::listener::{self, Queue};
use super::output::{Ended, Output, Settled, notice, tell_connection};
use super::render;
use super::signals;

/// Longest time that an output which nobody reads may hold up the end.
const GRACE: Duration = Duration::from_secs(1);

/// Reason for which listening ends.
enum End {
    /// The number of events that was asked for is printed.
    Enough,
    /// A signal.
    Signal,
    /// The client gave up; why was told as a notice.
    Closed,
    /// The command did not come to listening.
    Failed(Failure),
}

/// Prints events.
pub fn run(args: OnArgs) -> Result<(), Failure> {
    listener::check(&args.patterns)?;
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let thread = |error: io::Error| Failure::other(format_args!("cannot start a thread: {error}"));
    let output = Output::start().map_err(thread)?;
    let ending = Arc::clone(&output);
    signals::on_first(move |_| ending.end(End::Signal))?;

    let args = Arc::new(args);
    let listening = Arc::new(AtomicBool::new(false));
    let (told, given, filled) = (Arc::clone(&listening), Arc::clone(&args), Arc::clone(&output));
    let listen = move || match listen(&given, &filled) {
        Ok(_client) => {
            told.store(true, Ordering::Release);
            loop {
                // The client is to live as long as the process.
                thread::park();
            }
        }
        Err(failure) => filled.end(End::Failed(failure)),
    };
    thread::Builder::new().name("listen".into()).spawn(listen).map_err(thread)?;

    let ended = output.wait(deadline);
    let settled = output.settle(match ended {
        Ended::Told(End::Enough | End::Closed) => deadline,
        _ => Some(Instant::now() + GRACE),
    });
    let settled = match settled {
        // A signal, or the time is over.
        Settled::Disturbed | Settled::Late if matches!(ended, Ended::Told(End::Enough)) => {
            output.settle(Some(Instant::now() + GRACE))
        }
        settled => settled,
    };
    if settled != Settled::Written && !matches!(ended, Ended::Broken(_)) {
        notice("the output was not read: the end of it is missing");
    }
    let missing = |text: &str| {
        let timeout = args.timeout.unwrap_or_default();
        let text = format_args!("{text} within {timeout:?}");
        Err(Failure::new(Code::Timeout, text))
    };
    match ended {
        Ended::Told(End::Enough) if settled != Settled::Written => {
            missing("the output was not read to its end")
        }
        Ended::Told(End::Enough | End::Signal) => Ok(()),
        Ended::Told(End::Failed(failure)) => Err(failure),
        Ended::Told(End::Closed) => {
            let text = "the connection ended, and connecting again makes no sense";
            Err(Failure::new(Code::NoBroker, text))
        }
        Ended::Broken(error) => Failure::output(&error),
        Ended::Late if !listening.load(Ordering::Acquire) => {
            let timeout = args.timeout.unwrap_or_default();
            let text = format_args!("no broker answered within {timeout:?}");
            Err(Failure::new(Code::NoBroker, text))
        }
        Ended::Late if args.count.is_none() => Ok(()),
        Ended::Late => missing("fewer events than --count asks for came"),
    }
}

/// Connects, and prints from then on.
fn listen(args: &OnArgs, output: &Arc<Output<End>>) -> Result<Client, Failure> {
    let listener = &args.listener;
    let (quiet, closing) = (listener.quiet, Arc::clone(output));
    let queue = listener.queue.unwrap_or(Queue::Backpressure);
    let mut builder = listener.builder("netcluster on", queue);
    if let Some(wait) = args.wait_cluster {
        builder = builder.wait_for_cluster(wait);
    }
    let client = listener.socket.connect(builder.on_lifecycle(move |happened| match happened {
        Lifecycle::Closed(_) => closing.end(End::Closed),
        _ => tell(happened, quiet),
    }))?;
    let printer = Arc::new(Mutex::new(Printer {
        output: Arc::clone(output),
        format: args.format,
        left: args.count,
        latest: None,
    }));
    for pattern in &args.patterns {
        let printer = Arc::clone(&printer);
        client.on(pattern, move |message| {
            // All listeners run on one thread: never contended, never poisoned
            // but by a bug that ended that thread.
            if let Ok(mut printer) = printer.lock() {
                printer.print(message);
            }
        })?;
    }
    // Also when quiet: it is about what will be missing.
    if args.wait_cluster.is_some()
        && let Some(doubt) = doubt::doubt(&client)
    {
        notice(doubt);
    }
    if !quiet {
        notice(format_args!("listening to {}", listener.place(&args.patterns, &client)));
    }
    Ok(client)
}

struct Printer {
    output: Arc<Output<End>>,
    format: Format,
    left: Option<u64>,
    /// The event printed last.
    latest: Option<(Source, u64)>,
}

impl Printer {
    fn print(&mut self, message: &Message<'_>) {
        // An event that matches several patterns comes once and is told to each
        // listener before the next one comes.
        let identity = (message.source(), message.sequence());
        if self.latest == Some(identity) || self.left == Some(0) {
            return;
        }
        self.latest = Some(identity);
        let event = render::Event {
            name: message.event(),
            data: message.payload(),
            encoding: message.encoding(),
            source: message.source(),
            sequence: message.sequence(),
        };
        self.output.write(|out| render::write(out, self.format, event));
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                self.output.end(End::Enough);
            }
        }
    }
}

/// Tells what happened to the connection.
fn tell(happened: &Lifecycle, quiet: bool) {
    tell_connection(happened, "listening", quiet);
    // Also when quiet: what is missing in the output.
    if let Lifecycle::Lost { source, count, reason } = happened {
        let source = source.map(|source| format!(" of {source}")).unwrap_or_default();
        let (count, perhaps) = match count {
            Some(count) => (count.to_string(), ""),
            None => ("an unknown number of".to_owned(), ", perhaps none"),
        };
        notice(format_args!("lost: {count} events{source}{perhaps}: {reason}"));
    }
}
