//! `netcluster record`: what is emitted, into MCAP files.
//!
//! ```text
//!   reader of the client ─▶ chunk ─▶ file        as they come; its queue is the broker's
//!   main thread: waits for the end, and has the chunk written each second
//!   signals: ask for the end, and say so if the disk holds that up
//! ```
//!
//! There is no queue of its own: a disk that is too slow fills the broker's queue for this
//! client, which is bounded, and loses the oldest (which is recorded) or has emitters wait.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use netcluster_client::{Client, Lifecycle, Message, Source};

use super::failure::{Code, Failure};
use super::listener::{self, ListenerArgs, Queue};
use super::output::{notice, tell_connection};
use super::recording::series::{self, Limits, Series, Taken, Totals};
use super::recording::{About, Loss};
use super::render;
use super::signals;
use super::values::{self, Size};

/// Longest time that an event is gathered in memory.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Time after which whoever asked for the end is told what it waits for.
const TELL_AFTER: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Files are MCAP (mcap.dev), which Foxglove and the `mcap` command read: for each name, encoding
and source there is a channel, its topic the event's name, its metadata the source. log_time
and publish_time are both when the event was received here: events tell no time of their own.
What was lost is recorded at its place, as messages of the topic `$lost`.

FILE must not be there. What follows run.mcap is run.2.mcap, run.3.mcap and so on: with --rotate
at --max-size, and in any case after 16,384 channels. Only the user may read them.

It ends at Ctrl-C, SIGTERM, --duration, --max-size, or when the disk is full, and leaves whole
files. If it is killed the file is cut, and replay reads what was written until a second before.

Examples:
  netcluster record run.mcap
  netcluster record run.mcap --events 'sensor.**' --events 'alarm.*'
  netcluster record run.mcap --max-size 1GiB --rotate 10    the last 10 GiB, until it is ended";

/// `netcluster record`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RecordArgs {
    /// File to record into
    pub file: PathBuf,
    /// What to record: names, in which `*` is any token and `**` any number of them; may be
    /// repeated
    #[arg(long, value_name = "PATTERN", default_value = "**")]
    pub events: Vec<String>,
    /// End before the file is larger than this; with --rotate, begin another
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<Size>,
    /// Keep so many files of --max-size, removing the oldest
    #[arg(long, value_name = "FILES", requires = "max_size",
          value_parser = clap::value_parser!(u32).range(2..))]
    pub rotate: Option<u32>,
    /// End after this time, for example 500ms, 5s or 2min
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub duration: Option<Duration>,
    /// The client.
    #[command(flatten)]
    pub listener: ListenerArgs,
}

impl RecordArgs {
    fn queue(&self) -> Queue {
        self.listener.queue.unwrap_or(Queue::Latest)
    }
}

/// Reason for which a recording ends.
enum End {
    /// A signal, or the time is over.
    Wanted,
    /// The file is as large as it may be.
    Size,
    /// The client gave up; why was told as a notice.
    Closed,
    /// The file cannot be written.
    Failed(Failure),
}

/// Records.
pub fn run(args: &RecordArgs) -> Result<(), Failure> {
    listener::check(&args.events)?;
    series::check_unused(&args.file)?;
    let deadline = args.duration.map(|duration| Instant::now() + duration);
    let about = About {
        channel: args.listener.channel.0.clone(),
        patterns: args.events.clone(),
        queue: match args.queue() {
            Queue::Backpressure => "backpressure",
            Queue::Latest => "latest",
        },
    };
    let limits = Limits {
        max_bytes: args.max_size.map(|size| size.0 as u64),
        keep: args.rotate.map(|files| files as usize),
    };
    let recorder = Arc::new(Recorder::default());
    let client = connect(args, &recorder)?;
    // Only now: who cannot connect leaves no file behind.
    let series = Series::begin(&args.file, about, limits)?;
    recorder.begin(series);
    let ending = Arc::clone(&recorder);
    signals::on_first(move |_| {
        ending.end(End::Wanted);
        if !ending.is_over_within(TELL_AFTER) {
            notice(
                "the recording does not end yet, as the disk or the broker holds it up; to end \
                 at once and leave a file that is cut, ask again",
            );
        }
    })?;
    let listened = listen(args, &client, &recorder);
    let end = match listened {
        Ok(()) => recorder.wait(deadline),
        Err(failure) => End::Failed(failure),
    };
    if matches!(end, End::Wanted) {
        // What the broker had queued before comes before its answer.
        if let Err(error) = client.ping() {
            notice(format_args!("what came last may be missing: {error}"));
        }
    }
    let (ended, totals) = recorder.finish(matches!(end, End::Failed(_)));
    drop(client);
    recorder.note_over();
    if !args.listener.quiet {
        notice(told(&totals));
    }
    match end {
        End::Failed(failure) => Err(failure),
        End::Closed => ended.and(Err(Failure::new(
            Code::NoBroker,
            "the connection ended, and connecting again makes no sense",
        ))),
        End::Size if !args.listener.quiet => {
            notice("the file is as large as --max-size allows; --rotate goes on in others");
            ended
        }
        End::Wanted | End::Size => ended,
    }
}

fn connect(args: &RecordArgs, recorder: &Arc<Recorder>) -> Result<Client, Failure> {
    let listener = &args.listener;
    let (quiet, told) = (listener.quiet, Arc::clone(recorder));
    let builder = listener.builder("netcluster record", args.queue());
    let builder = builder.on_lifecycle(move |happened| tell(&told, happened, quiet));
    listener.socket.connect(builder)
}

fn listen(args: &RecordArgs, client: &Client, recorder: &Arc<Recorder>) -> Result<(), Failure> {
    for pattern in &args.events {
        let recorder = Arc::clone(recorder);
        client.on(pattern, move |message| recorder.record(message))?;
    }
    if !args.listener.quiet {
        let place = args.listener.place(&args.events, client);
        notice(format_args!("recording {place} into {}", args.file.display()));
    }
    Ok(())
}

/// Tells what happened to the connection, and records what was lost.
fn tell(recorder: &Recorder, happened: &Lifecycle, quiet: bool) {
    tell_connection(happened, "recording", quiet);
    match happened {
        Lifecycle::Lost { source, count, reason } => {
            recorder.lost(&Loss { source: *source, count: *count, reason: *reason });
        }
        Lifecycle::Closed(_) => recorder.end(End::Closed),
        _ => {}
    }
}

/// Says what was recorded.
fn told(totals: &Totals) -> String {
    let Totals { events, bytes, files, losses, lost } = totals;
    let mut text = format!("recorded {events} events of {bytes} bytes");
    if *files > 1 {
        text.push_str(&format!(" in {files} files"));
    }
    if *losses > 0 {
        text.push_str(&format!("; lost at least {lost}, which is recorded at {losses} places"));
    }
    text
}

/// The recording, as the client's reader, the main thread and whoever hears signals share it.
///
/// The files' lock is held while the disk takes what it is given; the end can be asked for
/// meanwhile.
#[derive(Default)]
struct Recorder {
    files: Mutex<Files>,
    ending: Mutex<Ending>,
    changed: Condvar,
}

#[derive(Default)]
struct Files {
    /// `None` before the file is there, and once it is ended.
    series: Option<Series>,
    /// Whether the files take no more; until then events are recorded, also those that were
    /// on their way when the end was asked for.
    is_full: bool,
    /// The event recorded last.
    latest: Option<(Source, u64)>,
}

#[derive(Default)]
struct Ending {
    end: Option<End>,
    is_over: bool,
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ending(&self) -> MutexGuard<'_, Ending> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, series: Series) {
        self.lock().series = Some(series);
    }

    fn end(&self, end: End) {
        self.ending().end.get_or_insert(end);
        self.changed.notify_all();
    }

    fn record(&self, message: &Message<'_>) {
        let mut files = self.lock();
        // An event that matches several patterns is told to each listener before the next
        // one comes.
        let identity = (message.source(), message.sequence());
        if files.latest == Some(identity) {
            return;
        }
        files.latest = Some(identity);
        let event = render::Event {
            name: message.event(),
            data: message.payload(),
            encoding: message.encoding(),
            source: message.source(),
            sequence: message.sequence(),
        };
        let end = match files.open().map(|series| series.event(&event)) {
            None | Some(Ok(Taken::Recorded)) => return,
            Some(Ok(Taken::NoRoom)) => End::Size,
            Some(Err(failure)) => End::Failed(failure),
        };
        files.is_full = true;
        drop(files);
        self.end(end);
    }

    fn lost(&self, loss: &Loss) {
        let mut files = self.lock();
        if let Some(Err(failure)) = files.open().map(|series| series.loss(loss)) {
            files.is_full = true;
            drop(files);
            self.end(End::Failed(failure));
        }
    }

    /// Waits for the end, and has what came written each second.
    fn wait(&self, deadline: Option<Instant>) -> End {
        loop {
            let now = Instant::now();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
            let wait = left.unwrap_or(FLUSH_EVERY).min(FLUSH_EVERY);
            let ending = self.ending();
            let goes_on = |ending: &mut Ending| ending.end.is_none();
            let waited = self.changed.wait_timeout_while(ending, wait, goes_on);
            if let Some(end) = waited.unwrap_or_else(PoisonError::into_inner).0.end.take() {
                return end;
            }
            if left.is_some_and(|left| left <= wait) {
                return End::Wanted;
            }
            let mut files = self.lock();
            if let Some(Err(failure)) = files.open().map(Series::flush) {
                files.is_full = true;
                return End::Failed(failure);
            }
        }
    }

    /// Ends the files; after a failure as well as can be.
    fn finish(&self, failed: bool) -> (Result<(), Failure>, Totals) {
        let Some(series) = self.lock().series.take() else { return (Ok(()), Totals::default()) };
        let totals = series.totals();
        if failed {
            series.abandon();
            (Ok(()), totals)
        } else {
            (series.finish(), totals)
        }
    }

    /// Notes that the files are ended.
    fn note_over(&self) {
        self.ending().is_over = true;
        self.changed.notify_all();
    }

    /// Waits until the files are ended; returns whether they are, in this time.
    fn is_over_within(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.ending(), time, |it| !it.is_over);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }
}

impl Files {
    /// Returns the files while they are written.
    fn open(&mut self) -> Option<&mut Series> {
        if self.is_full { None } else { self.series.as_mut() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever heard the signal waited for the disk.
    #[test]
    fn the_end_can_be_asked_for_while_the_disk_hangs() {
        let recorder = Recorder::default();
        let writing = recorder.lock();
        recorder.end(End::Wanted);
        assert!(matches!(recorder.wait(None), End::Wanted));
        assert!(!recorder.is_over_within(Duration::ZERO));
        drop(writing);
        recorder.note_over();
        assert!(recorder.is_over_within(Duration::ZERO));
    }
}
