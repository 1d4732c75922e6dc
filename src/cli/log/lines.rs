//! Lines of the log: how a message is written, for people, for programs, or for the journal.
//!
//! - text: time, level, message, fields; with colours on a terminal.
//! - json: an object a line: `time`, `level`, `message`, and the fields by their names.
//! - the journal: `<N>` before the line says its priority (sd-daemon(3)), and text has no time
//!   and no level, which the journal has itself.
//!
//! Invariant: every line of the process is made here, also those that no message was
//! behind: sums, losses, panics, notices.

use std::fmt::{self, Debug, Write as _};
use std::str::FromStr;
use std::sync::OnceLock;

use clap::ValueEnum;
use netcluster_wire::escape;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::values::read_from_file;

/// Variable by which systemd says that a stream goes to the journal: device and inode.
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// Style of the process's log, once it has started.
static STYLE: OnceLock<Style> = OnceLock::new();

/// Format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// An object a line
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<LogFormat, String> {
        <LogFormat as ValueEnum>::from_str(text, false).map_err(|_| "write text or json".to_owned())
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

read_from_file! {
    LogFormat, numbers: false;
}

/// Style of lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Format of the log.
    pub format: LogFormat,
    /// The journal reads it.
    pub is_journal: bool,
}

impl Style {
    /// Makes this the style of the process.
    pub fn set(self) {
        // A second log in one process is a bug, which is told elsewhere.
        let _ = STYLE.set(self);
    }

    fn present() -> Style {
        STYLE.get().copied().unwrap_or_default()
    }

    /// Writes a line without fields.
    pub fn line(self, level: Level, text: impl fmt::Display) -> Vec<u8> {
        let mut line = String::new();
        if self.is_journal {
            line.push_str(priority(level));
        }
        match self.format {
            LogFormat::Json => {
                let mut fields = Map::new();
                fields.insert("message".into(), text.to_string().into());
                line.push_str(&object(level, fields));
            }
            LogFormat::Text => {
                if !self.is_journal {
                    // Without a clock the line has no time.
                    line.push_str(&format!("{} {level:>5} ", now()));
                }
                // Writing to a string does not fail.
                let _ = write!(line, "{text}");
            }
        }
        line.push('\n');
        line.into_bytes()
    }
}

/// Writes a line of the log that no message is behind.
pub fn stamped(level: Level, text: impl fmt::Display) -> Vec<u8> {
    Style::present().line(level, text)
}

/// Writes a notice: in text as it is.
pub fn notice(text: impl fmt::Display) -> Vec<u8> {
    let style = Style::present();
    match style.format {
        LogFormat::Json => style.line(Level::INFO, text),
        LogFormat::Text if style.is_journal => style.line(Level::INFO, text),
        LogFormat::Text => format!("{text}\n").into_bytes(),
    }
}

/// Returns whether standard error is what systemd says that it connected to the journal.
#[cfg(unix)]
pub fn goes_to_journal() -> bool {
    use std::os::unix::fs::MetadataExt;

    let named = std::env::var(JOURNAL_STREAM).unwrap_or_default();
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|it| named == format!("{}:{}", it.dev(), it.ino()))
}

/// Elsewhere there is no journal.
#[cfg(not(unix))]
pub fn goes_to_journal() -> bool {
    false && std::env::var(JOURNAL_STREAM).is_ok()
}

/// Priority of the journal, in brackets.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

fn now() -> String {
    let mut time = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}

/// Writes a message as an object. What the journal or a terminal could take for a command
/// is escaped.
fn object(level: Level, fields: Map<String, Value>) -> String {
    let mut object = Map::new();
    object.insert("time".into(), now().into());
    object.insert("level".into(), level.to_string().to_lowercase().into());
    object.extend(fields);
    escape::json(&Value::Object(object).to_string()).into_owned()
}

/// Fields of a message, as JSON.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}").into());
    }
}

/// Writer of messages.
pub struct Lines {
    style: Style,
    timed: Format<Full, SystemTime>,
    untimed: Format<Full, ()>,
}

impl Lines {
    /// Makes a writer of this style.
    pub fn new(style: Style) -> Lines {
        let timed = Format::default().with_target(false);
        let untimed = Format::default().with_target(false).with_level(false).without_time();
        Lines { style, timed, untimed }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        if self.style.is_journal {
            writer.write_str(priority(level))?;
        }
        match self.style.format {
            LogFormat::Json => {
                let mut fields = Fields::default();
                event.record(&mut fields);
                writeln!(writer, "{}", object(level, fields.0))
            }
            LogFormat::Text if self.style.is_journal => {
                self.untimed.format_event(context, writer, event)
            }
            LogFormat::Text => self.timed.format_event(context, writer, event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, is_journal: bool) -> String {
        let style = Style { format, is_journal };
        String::from_utf8(style.line(Level::WARN, "two\nlines")).unwrap()
    }

    #[test]
    fn a_line_is_for_people_for_programs_or_for_the_journal() {
        assert!(line(LogFormat::Text, false).ends_with("Z  WARN two\nlines\n"));
        assert_eq!(line(LogFormat::Text, true), "<4>two\nlines\n");
        for is_journal in [false, true] {
            let line = line(LogFormat::Json, is_journal);
            let json = line.strip_prefix("<4>").unwrap_or(&line);
            assert_eq!(json.len() < line.len(), is_journal);
            assert_eq!(json.matches('\n').count(), 1, "a line is an object");
            let object: Value = serde_json::from_str(json).unwrap();
            assert_eq!(
                (&object["level"], &object["message"]),
                (&"warn".into(), &"two\nlines".into())
            );
            assert!(object["time"].as_str().unwrap().ends_with('Z'));
        }
    }
}
