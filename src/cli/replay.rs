//! `netcluster replay`: what was recorded, emitted again.
//!
//! Events come in the order of the recording and from one client, this one. Files are read
//! as they are replayed, whatever their size.

use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::Args;
use netcluster_client::{Client, Reconnect, Source};
use netcluster_wire::Pattern;

use super::args::{Format, SocketArgs};
use super::failure::Failure;
use super::listener;
use super::output::notice;
use super::recording::reader::{Entry, Reader, Recorded};
use super::render::{self, escaped};
use super::signals;
use super::values::Channel;

/// Longest wait at the end until all events are queued for their listeners.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Delay that is not slept: a wake-up takes about as long.
const SHORT: Duration = Duration::from_micros(50);

/// Source of an event in a file that tells none.
const UNKNOWN: Source = Source { node: 0, client: 0 };

const EXAMPLES: &str = "\
Events are emitted in their order and at the distances in which they were received, with their
encoding; those who listen see this command as their source. All files are replayed as if they
were one. Topics of other MCAP files that are no names of events are left out, which is said;
compressed files are refused.

A file that is damaged, or cut because its recorder was killed, is replayed up to there, and the
exit code is 1.

Examples:
  netcluster replay run.mcap
  netcluster replay run.mcap run.2.mcap --speed 10 --events 'sensor.**'
  netcluster replay run.mcap --speed max
  netcluster replay run.mcap --dry-run            how much is in it, without a broker
  netcluster replay run.mcap --print json | jq    and what";

/// `netcluster replay`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReplayArgs {
    /// Files to replay, one after the other
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How much faster than it was: 2, 0.5, or max (also 0) for as fast as it goes
    #[arg(long, value_name = "X", default_value = "1")]
    pub speed: Speed,
    /// What to emit: names, in which `*` is any token and `**` any number of them; may be
    /// repeated
    #[arg(long, value_name = "PATTERN", default_value = "**")]
    pub events: Vec<String>,
    /// Begin again at the end, until Ctrl-C
    #[arg(long = "loop", conflicts_with_all = ["dry_run", "print"])]
    pub again: bool,
    /// Read everything and say how much would be emitted, without a broker
    #[arg(long)]
    pub dry_run: bool,
    /// Print the events as they were recorded, as `on` does, without a broker
    #[arg(long, value_name = "FORMAT")]
    pub print: Option<Format>,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Channel to emit into [default: the one that was recorded, or else `default`]
    #[arg(long)]
    pub channel: Option<Channel>,
    /// Do not tell on standard error what was emitted
    #[arg(long, short)]
    pub quiet: bool,
}

/// Factor by which a replay is faster than what was recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// No pause at all.
    Max,
    /// Factor, which is positive and finite.
    Factor(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Speed, String> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Speed::Max),
            Ok(0.0) => Ok(Speed::Max),
            Ok(factor) if factor > 0.0 && factor.is_finite() => Ok(Speed::Factor(factor)),
            _ => Err("write a positive number, or max: 0.5, 1, 10".into()),
        }
    }
}

/// Replays.
pub fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let patterns = listener::check(&args.events)?;
    // Each file before the broker, so that a mistake is told even without one.
    let mut bus_channel = None;
    for file in &args.files {
        let reader = Reader::open(file)
            .map_err(|bad| Failure::other(format_args!("{}: {bad}", file.display())))?;
        bus_channel = bus_channel.or_else(|| reader.bus_channel().map(str::to_owned));
    }
    let (ended, end) = mpsc::channel();
    signals::on_first(move |_| {
        // Nobody listens if it has ended anyway.
        let _ = ended.send(());
    })?;
    let (target, speed) = match args.print {
        Some(format) => (Target::Print(BufWriter::new(io::stdout()), format), Speed::Max),
        None if args.dry_run => (Target::Nothing, Speed::Max),
        None => (Target::Bus(connect(args, bus_channel)?), args.speed),
    };
    let pace = Pace { speed, begun: None };
    let mut replay = Replay { patterns, pace, end, target, totals: Totals::default() };
    let replayed = replay.all(args);
    // Also after a mistake: what was emitted before it is to arrive.
    let settled = replay.target.settle();
    if !args.quiet {
        notice(replay.totals.told(args.dry_run || args.print.is_some()));
    }
    replayed.and(settled)
}

/// Outcome of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    /// A signal came.
    End,
}

/// A replay under way.
struct Replay {
    patterns: Vec<Pattern>,
    pace: Pace,
    /// Tells of a signal.
    end: Receiver<()>,
    target: Target,
    totals: Totals,
}

/// Place for what is replayed.
enum Target {
    Bus(Client),
    Print(BufWriter<Stdout>, Format),
    Nothing,
}

impl Replay {
    fn all(&mut self, args: &ReplayArgs) -> Result<(), Failure> {
        loop {
            let before = self.totals;
            self.pace.begun = None;
            for file in &args.files {
                if self.file(file)? == Flow::End {
                    return Ok(());
                }
            }
            if !args.again {
                return Ok(());
            }
            if self.totals.events == before.events {
                return Err(Failure::other("nothing to emit in a loop: no event matches"));
            }
        }
    }

    fn file(&mut self, file: &Path) -> Result<Flow, Failure> {
        let bad = |bad| Failure::other(format_args!("{}: {bad}", file.display()));
        let mut reader = Reader::open(file).map_err(bad)?;
        loop {
            match reader.next().map_err(bad)? {
                None => return Ok(Flow::GoOn),
                Some(Entry::Lost { count }) => self.totals.lost(count),
                Some(Entry::Unnamed { topic, is_first }) => {
                    self.totals.unnamed += 1;
                    if is_first {
                        let (file, topic) = (file.display(), escaped(topic));
                        notice(format_args!("{file}: topic `{topic}` is no name of an event"));
                    }
                }
                Some(Entry::Event(event)) => {
                    let name = event.name.as_bytes();
                    if !self.patterns.iter().any(|pattern| pattern.matches(name)) {
                        self.totals.filtered += 1;
                        continue;
                    }
                    if self.pace.wait(event.time_ns, &self.end) == Flow::End {
                        return Ok(Flow::End);
                    }
                    match self.target.take(&event) {
                        Ok(flow) if flow == Flow::End => return Ok(flow),
                        Ok(_) => {}
                        Err(failure) => {
                            let events = self.totals.events;
                            return Err(failure.note(format_args!("after {events} events")));
                        }
                    }
                    self.totals.events += 1;
                    self.totals.bytes += event.data.len() as u64;
                }
            }
        }
    }
}

impl Target {
    /// Takes an event.
    fn take(&mut self, event: &Recorded<'_>) -> Result<Flow, Failure> {
        match self {
            Target::Bus(client) => emit(client, event).map(|()| Flow::GoOn),
            Target::Print(output, format) => {
                let event = render::Event {
                    name: event.name,
                    data: event.data,
                    encoding: event.encoding,
                    source: event.source.unwrap_or(UNKNOWN),
                    sequence: event.sequence,
                };
                match render::write(output, *format, event) {
                    Ok(()) => Ok(Flow::GoOn),
                    Err(error) => Failure::output(&error).map(|()| Flow::End),
                }
            }
            Target::Nothing => Ok(Flow::GoOn),
        }
    }

    /// Waits until all that it took is where it belongs.
    fn settle(&mut self) -> Result<(), Failure> {
        match self {
            Target::Bus(client) => Ok(client.disconnect()?),
            Target::Print(output, _) => output.flush().or_else(|error| Failure::output(&error)),
            Target::Nothing => Ok(()),
        }
    }
}

fn emit(client: &Client, event: &Recorded<'_>) -> Result<(), Failure> {
    if event.data.len() > client.max_payload() {
        return Err(Failure::other(format_args!(
            "an event of {} bytes is longer than {} bytes, the broker's limit: raise \
             --max-payload on the broker",
            event.data.len(),
            client.max_payload()
        )));
    }
    Ok(client.emit_encoded(event.name, event.encoding, event.data)?)
}

fn connect(args: &ReplayArgs, bus_channel: Option<String>) -> Result<Client, Failure> {
    let channel = args.channel.as_ref().map(|channel| channel.0.clone()).or(bus_channel);
    let mut builder = Client::builder()
        .name("netcluster replay")
        // What a break has lost of a replay is not to be guessed.
        .reconnect(Reconnect::Never)
        .disconnect_timeout(DISCONNECT_TIMEOUT);
    if let Some(channel) = channel {
        builder = builder.channel(channel);
    }
    args.socket.connect(builder)
}

/// Times at which events are due.
struct Pace {
    speed: Speed,
    /// Times at which the first event was emitted, and was received.
    begun: Option<(Instant, u64)>,
}

impl Pace {
    /// Waits until an event is due that was received at this time.
    fn wait(&mut self, time_ns: u64, end: &Receiver<()>) -> Flow {
        let delay = match self.speed {
            Speed::Max => Duration::ZERO,
            Speed::Factor(factor) => {
                let (start, first_ns) = *self.begun.get_or_insert((Instant::now(), time_ns));
                let seconds = Duration::from_nanos(time_ns.saturating_sub(first_ns)).as_secs_f64();
                let due = Duration::try_from_secs_f64(seconds / factor).unwrap_or(Duration::MAX);
                due.saturating_sub(start.elapsed())
            }
        };
        let told = if delay < SHORT {
            match end.try_recv() {
                Err(mpsc::TryRecvError::Empty) => Err(RecvTimeoutError::Timeout),
                _ => Ok(()),
            }
        } else {
            end.recv_timeout(delay)
        };
        if told == Err(RecvTimeoutError::Timeout) { Flow::GoOn } else { Flow::End }
    }
}

/// Numbers of what was emitted.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    events: u64,
    bytes: u64,
    /// Events that match no pattern.
    filtered: u64,
    /// Messages whose topic is no name of an event.
    unnamed: u64,
    /// Notices of losses, and the events that they count.
    losses: u64,
    lost: u64,
}

impl Totals {
    fn lost(&mut self, count: Option<u64>) {
        self.losses += 1;
        self.lost = self.lost.saturating_add(count.unwrap_or(0));
    }

    fn told(&self, is_dry: bool) -> String {
        let Totals { events, bytes, filtered, unnamed, losses, lost } = self;
        let done = if is_dry { "would emit" } else { "emitted" };
        let mut text = format!("{done} {events} events of {bytes} bytes");
        if *filtered > 0 {
            text.push_str(&format!("; {filtered} others match no pattern"));
        }
        if *unnamed > 0 {
            text.push_str(&format!("; left out {unnamed}, whose topics are no names of events"));
        }
        if *losses > 0 {
            text.push_str(&format!(
                "; at least {lost} were lost when it was recorded, at {losses} places"
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_positive_number_or_max() {
        for (text, speed) in [
            ("max", Speed::Max),
            ("0", Speed::Max),
            ("1", Speed::Factor(1.0)),
            ("0.5", Speed::Factor(0.5)),
        ] {
            assert_eq!(text.parse(), Ok(speed), "{text}");
        }
        for bad in ["", "-1", "inf", "nan", "fast"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }

    /// A file may claim any time.
    #[test]
    fn times_that_go_back_are_not_waited_for() {
        let (_signal, end) = mpsc::channel();
        let mut pace = Pace { speed: Speed::Factor(f64::MIN_POSITIVE), begun: None };
        for time_ns in [u64::MAX, 0, 5, u64::MAX] {
            assert_eq!(pace.wait(time_ns, &end), Flow::GoOn);
        }
    }

    #[test]
    fn a_signal_ends_a_wait_of_any_length() {
        let (signal, end) = mpsc::channel();
        let mut pace = Pace { speed: Speed::Factor(f64::MIN_POSITIVE), begun: None };
        assert_eq!(pace.wait(0, &end), Flow::GoOn);
        signal.send(()).unwrap();
        assert_eq!(pace.wait(u64::MAX, &end), Flow::End);
    }
}
