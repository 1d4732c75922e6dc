//! `netcluster on`: prints events until it has enough, or is told to end.

use std::sync::Arc;
use std::time::Instant;

use netcluster_client::{Client, DisconnectReason, Lifecycle, Message, Source};
use netcluster_wire::Pattern;

use super::args::{Format, OnArgs};
use super::cluster;
use super::failure::{Code, Failure};
use super::output::{Ended, Output, notice};
use super::render;
use super::signals;

/// Why listening ends.
enum End {
    /// As many events as asked for were printed.
    Enough,
    /// A signal.
    Signal,
    /// The client gave up; why was told as a notice.
    Closed,
}

/// Prints events.
pub fn run(args: &OnArgs) -> Result<(), Failure> {
    // Before connecting, so that a mistake is told even without a broker.
    for pattern in &args.patterns {
        Pattern::new(pattern.as_bytes()).map_err(|error| {
            Failure::usage(format_args!("pattern `{}` refused: {error}", render::escaped(pattern)))
        })?;
    }
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let output = Arc::new(Output::new());
    let ending = Arc::clone(&output);
    signals::on_first(move || ending.end(End::Signal))?;

    let socket = args.socket.path();
    let quiet = args.quiet;
    let closing = Arc::clone(&output);
    let mut builder = Client::builder().channel(&args.channel.0).name("netcluster on");
    if let Some(wait) = args.wait_cluster {
        builder = builder.wait_for_cluster(wait);
    }
    let client = builder
        .on_lifecycle(move |happened| match happened {
            Lifecycle::Closed(_) => closing.end(End::Closed),
            _ => tell(happened, quiet),
        })
        .connect(&socket)?;
    let printer = Arc::new(std::sync::Mutex::new(Printer {
        output: Arc::clone(&output),
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
        && let Some(doubt) = cluster::doubt(&client)
    {
        notice(doubt);
    }
    if !quiet {
        let patterns = args.patterns.iter().map(|pattern| render::escaped(pattern));
        let patterns: Vec<String> = patterns.collect();
        notice(format_args!(
            "listening to {} on channel {} of {}",
            patterns.join(" "),
            render::escaped(&args.channel.0),
            socket.display()
        ));
    }
    match output.pump(deadline) {
        Ended::Told(End::Enough | End::Signal) => Ok(()),
        Ended::Told(End::Closed) => {
            let text = "the connection ended, and connecting again makes no sense";
            Err(Failure::new(Code::NoBroker, text))
        }
        Ended::Broken(error) => Failure::output(&error),
        Ended::Late if args.count.is_none() => Ok(()),
        Ended::Late => {
            let timeout = args.timeout.unwrap_or_default();
            let text = format_args!("fewer events than --count asks for came within {timeout:?}");
            Err(Failure::new(Code::Timeout, text))
        }
    }
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
    match happened {
        Lifecycle::Connect { resumed: true, .. } if !quiet => notice("listening again"),
        Lifecycle::Disconnect { reason, .. } if !quiet => match reason {
            // These were told as errors; and the last was wanted.
            DisconnectReason::Kicked { .. }
            | DisconnectReason::Protocol(_)
            | DisconnectReason::Requested => {}
            _ => notice(format_args!("not listening: {reason}; waiting for a broker")),
        },
        // The rest also when quiet: what is missing in the output, and why.
        Lifecycle::Error(error) => notice(format_args!("error: {error}")),
        Lifecycle::Lost { source, count, reason } => {
            let count =
                count.map_or_else(|| "an unknown number of".to_owned(), |it| it.to_string());
            let source = source.map(|source| format!(" of {source}")).unwrap_or_default();
            notice(format_args!("lost: {count} events{source}: {reason}"));
        }
        _ => {}
    }
}
