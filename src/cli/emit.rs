//! `netcluster emit`: one event, or one for each line of standard input.

use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

use netcluster_client::{Client, Reconnect};

use super::args::EmitArgs;
use super::failure::{Code, Failure};

/// How long the end waits until all events are queued for their listeners: longer
/// than a broker bears with a stuck listener, many times over.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Emits.
pub fn run(args: &EmitArgs) -> Result<(), Failure> {
    // Before connecting, so that a mistake is told even without a broker.
    netcluster_wire::name::check_event(args.event.as_bytes())
        .map_err(|error| Failure::usage(format_args!("event name refused: {error}")))?;
    let data = args.data.as_deref().map(|data| prepare(args, data.as_bytes())).transpose();
    let data = data.map_err(|error| error.context("DATA"))?;

    let builder = Client::builder()
        .channel(&args.channel.0)
        .name("netcluster emit")
        // Events written just before a connection broke are in doubt: better to
        // say so than to go on.
        .reconnect(Reconnect::Never)
        .disconnect_timeout(DISCONNECT_TIMEOUT);
    let client = args.socket.connect(builder)?;
    let emitted = match data {
        Some(data) => client.emit(&args.event, data).map_err(Failure::from),
        None => emit_lines(args, &client),
    };
    // Also after a bad line: what was emitted before it is to arrive.
    let disconnected = client.disconnect().map_err(Failure::from);
    emitted.and(disconnected)
}

fn emit_lines(args: &EmitArgs, client: &Client) -> Result<(), Failure> {
    let input = io::stdin();
    if input.is_terminal() {
        super::output::notice(format_args!(
            "each line is emitted as `{}`; end with Ctrl-D",
            args.event
        ));
    }
    let mut input = input.lock();
    let mut line = Vec::new();
    let limit = client.max_payload();
    for number in 1_u64.. {
        let context = |failure: Failure| failure.context(format_args!("line {number}"));
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
        let data = prepare(args, &line).map_err(context)?;
        client.emit(&args.event, data).map_err(|error| context(error.into()))?;
    }
    Ok(())
}

/// What is emitted for this data.
fn prepare<'a>(args: &EmitArgs, data: &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, Failure> {
    if !args.json {
        return Ok(data.into());
    }
    compact(data)
        .map(Into::into)
        .map_err(|error| Failure::new(Code::Failure, format_args!("not JSON: {error}")))
}

/// The same JSON without white space, everything else as it was written.
fn compact(json: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    // A reader of one value that keeps numbers and the order of keys as they are
    // would need more than `Value`; dropping white space outside strings does not.
    if let Err(error) = std::str::from_utf8(json) {
        return Err(serde::de::Error::custom(error));
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(json)?;
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json {
        if in_string {
            in_string = byte != b'"' || escaped;
            escaped = byte == b'\\' && !escaped;
        } else {
            in_string = byte == b'"';
        }
        if in_string || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push(byte);
        }
    }
    Ok(out)
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
    fn json_loses_its_white_space_and_nothing_else() {
        let compact =
            |text: &str| compact(text.as_bytes()).map(|it| String::from_utf8(it).unwrap());
        let text = " { \"b\" : [1.50, 12345678901234567890123] ,\n\"a \\\" b\\\\\" : \" x \" } ";
        let expected = "{\"b\":[1.50,12345678901234567890123],\"a \\\" b\\\\\":\" x \"}";
        assert_eq!(compact(text).unwrap(), expected);
        for bad in ["", "{", "{} {}", "hello", "[1,]"] {
            assert!(compact(bad).is_err(), "{bad}");
        }
    }

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
