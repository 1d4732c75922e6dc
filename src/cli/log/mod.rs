//! The log of a broker: written by a thread of its own, so that nobody who logs ever
//! waits for whoever reads it.
//!
//! ```text
//!   shards, signals ─▶ rates ─▶ format ─▶ queue ─▶ writer ─▶ standard error or a file
//! ```
//! - `rates`: of each kind of message some are told, the others counted and summed up.
//! - `lines`: how a message is written: text, JSON, for the journal.
//! - `queue`: bounded; what has no room is counted and told where it is missing.
//! - `writer`: the thread, which alone may stand still.
//!
//! Invariant: once the log has started, nothing else in the process writes to standard
//! error: notices and panics take the same way. Text of others is escaped.

mod lines;
mod queue;
mod rates;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Debug};
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use netcluster::internals::LogCounts;
use netcluster_wire::escape::Escaped;
use tracing::Level;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer as FieldWriter, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::failure::Failure;
use super::settings::Settings;
use super::values::LogFilter;
use lines::{Lines, Style, stamped};
use queue::Queue;
use rates::{Limiter, Rates};
use writer::Writer;

/// The log unless somebody says otherwise.
const DEFAULT_LOG: &str = "info";

pub use lines::LogFormat;

/// Longest wait of the process's end for what is queued to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// The process's log, once it has started.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// The filter of the process's log.
static FILTER: OnceLock<Filter> = OnceLock::new();

/// Starts the log, to standard error or to what is given. Its counters are for `status`.
pub fn start(
    settings: Option<&Settings>,
    file: Option<Box<dyn Write + Send>>,
) -> Result<Arc<LogCounts>, Failure> {
    let counts = Arc::new(LogCounts::default());
    let rates = Arc::new(Rates::new(Arc::clone(&counts)));
    let queue = Arc::new(Queue::new(Arc::clone(&counts)));
    let filter = settings.and_then(|settings| settings.log.as_ref());
    let format = settings.and_then(|settings| settings.log_format).unwrap_or_default();
    let style = Style { format, is_journal: file.is_none() && lines::goes_to_journal() };
    style.set();
    let with_ansi = file.is_none() && io::stderr().is_terminal() && !is_colour_refused();
    let out = file.unwrap_or_else(|| Box::new(io::stderr()));
    let writer = Writer::new(out, Arc::clone(&queue), Arc::clone(&rates), Arc::clone(&counts));
    thread::Builder::new()
        .name("log".into())
        .spawn(move || writer.run())
        .map_err(|error| Failure::other(format_args!("cannot start the log's thread: {error}")))?;
    let lines = Arc::clone(&queue);
    let filter = filter.map_or(DEFAULT_LOG, |filter| &filter.0);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .fmt_fields(fields())
        .with_ansi(with_ansi)
        // It would tell that it cannot write, by a print that panics.
        .log_internal_errors(false)
        .event_format(Lines::new(style))
        .with_writer(move || Line(Arc::clone(&lines)))
        .with_filter_reloading();
    let handle = builder.reload_handle();
    builder.finish().with(Limiter(rates)).init();
    let set = move |filter: &str| {
        handle.reload(EnvFilter::new(filter)).map_err(|error| error.to_string())
    };
    let _ = FILTER.set(Filter { set: Box::new(set), present: Mutex::new(filter.to_owned()) });
    // A second log in one process is a bug, which `init` has told.
    let _ = QUEUE.set(queue);
    panic::set_hook(Box::new(tell_panic));
    Ok(counts)
}

/// Tells which messages the log has.
pub fn filter() -> String {
    FILTER.get().map_or_else(String::new, |filter| filter.lock().clone())
}

/// Has the log have these messages from now on.
pub fn set_filter(wanted: &LogFilter) -> Result<(), String> {
    let Some(filter) = FILTER.get() else { return Err("there is no log".to_owned()) };
    let mut present = filter.lock();
    (filter.set)(&wanted.0)?;
    // Whatever the filter lets pass.
    notice(format_args!("the log's filter changed from {} to {}", *present, wanted.0));
    present.clone_from(&wanted.0);
    Ok(())
}

/// Way to give the log another filter.
type SetFilter = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// The filter of the log, and the way to change it.
struct Filter {
    set: SetFilter,
    present: Mutex<String>,
}

impl Filter {
    fn lock(&self) -> MutexGuard<'_, String> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells something by the log, without a time or level. Returns whether there is one.
pub fn notice(text: impl fmt::Display) -> bool {
    QUEUE.get().is_some_and(|queue| {
        queue.push(lines::notice(text));
        true
    })
}

/// Waits until what was logged is written, but not for long: whoever should read it may
/// have stopped.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(FLUSH_TIMEOUT);
    }
}

/// Whether the user wants no colours, as <https://no-color.org> has it.
fn is_colour_refused() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Line of the log, on its way into the queue.
struct Line(Arc<Queue>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The message, and fields as `name=value`, escaped.
fn fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    debug_fn(|writer: &mut FieldWriter<'_>, field: &Field, value: &dyn Debug| {
        let value = format!("{value:?}");
        let value = Escaped::text(&value);
        match field.name() {
            "message" => write!(writer, "{value}"),
            name if writer.has_ansi_escapes() => {
                write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}")
            }
            name => write!(writer, "{name}={value}"),
        }
    })
    .delimited(" ")
}

/// Logs what the default hook prints: whoever panics must not stand in a write.
fn tell_panic(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no text");
    let mut line = stamped(
        Level::ERROR,
        format_args!("thread {thread} panicked{place}: {}", Escaped::text(text)),
    );
    // Only if the environment asks for it.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        line.extend_from_slice(backtrace.to_string().as_bytes());
    }
    if let Some(queue) = QUEUE.get() {
        queue.push(line);
    }
}
