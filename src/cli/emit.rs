//! `netcluster emit`: one event, or one for each line of standard input.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use netcluster_client::{Client, Encoding, Error, Reconnect};

use super::args::EmitArgs;
use super::failure::{Code, Failure};
use super::json;
use super::render::escaped;
use super::signals::{self, Outcome};
use super::standing::{Standing, tell_slow};

/// Longest wait at the end until all events are queued for their listeners: longer
/// than a broker bears with a stuck listener, many times over.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Time that a signal leaves to what was emitted before it.
const GRACE: Duration = Duration::from_secs(1);

/// Stands for standard input where a file is named.
const STANDARD_INPUT: &str = "-";

/// Progress of emitting, for who ends it.
#[derive(Clone, Default)]
struct Progress {
    client: Arc<OnceLock<Client>>,
    standing: Standing,
}

impl Progress {
    /// Notes that there is a connection.
    fn connected(&self, client: Client) -> Client {
        self.client.get_or_init(|| client).clone()
    }
}

/// Emits, until a signal comes.
pub fn run(args: EmitArgs) -> Result<(), Failure> {
    // Before connecting, so that a mistake is told even without a broker.
    netcluster_wire::name::check_event(args.event.as_bytes())
        .map_err(|error| Failure::usage(format_args!("event name refused: {error}")))?;
    let reads_lines = args.data.is_none() && args.file.is_none();
    let progress = Progress::default();
    let worker = progress.clone();
    match signals::until_first(move || work(&args, &worker))? {
        Outcome::Done(done) => done,
        Outcome::Interrupted(request) => {
            if let Err(why) = interrupted(&progress, reads_lines) {
                why.print();
                request.end();
            }
            Ok(())
        }
    }
}

fn work(args: &EmitArgs, progress: &Progress) -> Result<(), Failure> {
    match (&args.data, &args.file) {
        (Some(data), _) => {
            let data = prepare(args, data.as_bytes(), Encoding::Text)
                .map_err(|error| error.context("DATA"))?;
            let client = progress.connected(connect_once(args, progress)?);
            finish(&client, emit(args, &client, &data))?;
            progress.standing.check_doubts()
        }
        (None, Some(file)) => emit_file(args, file, progress),
        (None, None) => emit_lines(args, progress),
    }
}

/// Ends after a signal: as at the end of the input, if that takes no more than a moment.
fn interrupted(progress: &Progress, reads_lines: bool) -> Result<(), Failure> {
    let nothing = || Failure::other("interrupted before anything was emitted");
    let client = progress.client.get().cloned().ok_or_else(nothing)?;
    let (ended, end) = mpsc::channel();
    let leaving = client.clone();
    let leave = move || drop(ended.send(leaving.disconnect()));
    let left = thread::Builder::new().name("leave".into()).spawn(leave);
    let left = left.is_ok() && matches!(end.recv_timeout(GRACE), Ok(Ok(())));
    let (confirmed, last) = (client.confirmed_sequence(), client.last_sequence());
    if left && (reads_lines || last > 0) {
        return progress.standing.check_doubts();
    }
    Err(match last.saturating_sub(confirmed) {
        0 => nothing(),
        _ if reads_lines => Failure::other(format_args!(
            "interrupted: lines {} to {last} may not have arrived",
            confirmed + 1
        )),
        _ => Failure::other("interrupted: the event may not have arrived"),
    })
}

/// Connects for one event: if the connection breaks behind it, it is in doubt, and that
/// is better said than gone on from.
fn connect_once(args: &EmitArgs, progress: &Progress) -> Result<Client, Failure> {
    args.socket.connect(
        Client::builder()
            .channel(&args.channel.0)
            .name("netcluster emit")
            .reconnect(Reconnect::Never)
            .disconnect_timeout(DISCONNECT_TIMEOUT)
            .on_lifecycle(progress.standing.refusals()),
    )
}

/// Disconnects, also after a mistake: what was emitted before it is to arrive.
fn finish(client: &Client, emitted: Result<(), Failure>) -> Result<(), Failure> {
    if let Err(Error::Timeout { .. }) = client.ping() {
        tell_slow();
    }
    let disconnected = client.disconnect().map_err(Failure::from);
    emitted.and(disconnected)
}

/// Emits once, and says who gets it if that was asked for.
fn emit(args: &EmitArgs, client: &Client, data: &Payload<'_>) -> Result<(), Failure> {
    if args.verbose {
        let audience = client.audience(&args.event)?;
        let mut text = format!("{}: ", escaped(&args.event));
        text.push_str(&counted(audience.clients, "client"));
        if audience.brokers > 0 {
            let brokers = counted(audience.brokers, "other broker");
            text.push_str(&format!(", and the channel goes to {brokers}"));
        }
        let told = writeln!(io::stdout(), "{text}");
        told.or_else(|error| Failure::output(&error))?;
    }
    Ok(client.emit_encoded(&args.event, data.encoding, &data.bytes)?)
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Emits a file as one event.
fn emit_file(args: &EmitArgs, file: &Path, progress: &Progress) -> Result<(), Failure> {
    let name = if file == Path::new(STANDARD_INPUT) { "standard input" } else { "the file" };
    let unreadable = |error: io::Error| {
        let text = format!("cannot read {name} {}: {error}", file.display());
        Failure::other(text)
    };
    let mut input: Box<dyn Read> = if file == Path::new(STANDARD_INPUT) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).map_err(unreadable)?)
    };
    let client = progress.connected(connect_once(args, progress)?);
    let limit = client.max_payload();
    let mut data = Vec::new();
    // No more than could be emitted, however large the file.
    input.by_ref().take(limit as u64 + 1).read_to_end(&mut data).map_err(unreadable)?;
    if data.len() > limit {
        return Err(Failure::other(format_args!(
            "{name} {} is longer than {limit} bytes, the broker's limit: split it, or raise \
             --max-payload on the broker",
            file.display()
        )));
    }
    let data =
        prepare(args, &data, Encoding::Bytes).map_err(|error| error.context(file.display()))?;
    finish(&client, emit(args, &client, &data))?;
    progress.standing.check_doubts()
}

/// Emits each line, over restarts of the broker.
fn emit_lines(args: &EmitArgs, progress: &Progress) -> Result<(), Failure> {
    let standing = &progress.standing;
    let builder = Client::builder()
        .channel(&args.channel.0)
        .name("netcluster emit")
        .disconnect_timeout(DISCONNECT_TIMEOUT)
        .on_lifecycle(standing.listener());
    let client = progress.connected(args.socket.connect(builder)?);
    let emitted = standing.while_confirming(&client, || read_lines(args, &client, standing));
    let wait = args.socket.wait.unwrap_or_default();
    let settled = standing.settle(&client, wait, DISCONNECT_TIMEOUT);
    let ended = finish(&client, emitted.and(settled));
    ended.and_then(|()| standing.check_doubts())
}

fn read_lines(args: &EmitArgs, client: &Client, standing: &Standing) -> Result<(), Failure> {
    let input = io::stdin();
    if input.is_terminal() {
        super::output::notice(format_args!(
            "each line is emitted as `{}`; end with Ctrl-D",
            args.event
        ));
    }
    let mut input = input.lock();
    let mut line = Vec::new();
    for number in 1_u64.. {
        let context = |failure: Failure| failure.context(format_args!("line {number}"));
        let limit = client.max_payload();
        match read_line(&mut input, &mut line, limit) {
            Ok(Line::Whole) => {}
            Ok(Line::End) => break,
            Ok(Line::TooLong) => {
                let text = format!(
                    "longer than {limit} bytes, the broker's limit: split it, or raise \
                     --max-payload on the broker"
                );
                return Err(context(Failure::other(text)));
            }
            Err(error) => {
                let text = format!("cannot read standard input: {error}");
                return Err(context(Failure::other(text)));
            }
        }
        let data = prepare(args, &line, encoding_of(&line)).map_err(context)?;
        loop {
            match emit(args, client, &data) {
                Err(failure) if failure.is_passing() => standing.wait_connected(None)?,
                emitted => break emitted.map_err(context)?,
            }
        }
    }
    Ok(())
}

/// Data as it is emitted.
struct Payload<'a> {
    bytes: Cow<'a, [u8]>,
    encoding: Encoding,
}

/// Prepares data that is `plain` unless the arguments say that it is JSON.
fn prepare<'a>(args: &EmitArgs, data: &'a [u8], plain: Encoding) -> Result<Payload<'a>, Failure> {
    if !args.json {
        return Ok(Payload { bytes: data.into(), encoding: plain });
    }
    let json = json::compact(data)
        .map_err(|error| Failure::new(Code::Failure, format_args!("not JSON: {error}")))?;
    Ok(Payload { bytes: json.into_bytes().into(), encoding: Encoding::Json })
}

/// Returns what a line is said to be.
fn encoding_of(line: &[u8]) -> Encoding {
    if std::str::from_utf8(line).is_ok() { Encoding::Text } else { Encoding::Bytes }
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads a line without its end, of at most `limit` bytes.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>, limit: usize) -> io::Result<Line> {
    line.clear();
    let read = io::Read::take(&mut *input, limit as u64 + 1).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(if line.len() > limit { Line::TooLong } else { Line::Whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded() {
        let mut input = &b"four\n\nfive5\n"[..];
        let mut line = Vec::new();
        assert!(matches!(read_line(&mut input, &mut line, 4).unwrap(), Line::Whole));
        assert_eq!(line, b"four");
        assert!(matches!(read_line(&mut input, &mut line, 4).unwrap(), Line::Whole));
        assert_eq!(line, b"");
        assert!(matches!(read_line(&mut input, &mut line, 4).unwrap(), Line::TooLong));
        let mut last = &b"end"[..];
        assert!(matches!(read_line(&mut last, &mut line, 4).unwrap(), Line::Whole));
        assert_eq!(line, b"end");
        assert!(matches!(read_line(&mut last, &mut line, 4).unwrap(), Line::End));
    }
}
