//! Printing of events by `on`.
//!
//! Invariant: in `text` and `json`, one event is one line, and no byte of an event
//! reaches a terminal as a control sequence.

use std::io::{self, Write};

use base64::prelude::{BASE64_STANDARD, Engine};
use netcluster_client::Source;
use netcluster_wire::escape::{self, Escaped};
use serde::Serialize;

use super::args::Format;

/// An event to print.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Name of the event.
    pub name: &'a str,
    /// Data of the event.
    pub data: &'a [u8],
    /// Emitter of the event.
    pub source: Source,
    /// The emitter's number for it.
    pub sequence: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    event: &'a str,
    source: SourceObject,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

#[derive(Serialize)]
struct SourceObject {
    /// Node id of the emitter's broker, as in `status`.
    node: String,
    client: u32,
}

/// Writes the event and a newline.
pub fn write(out: &mut impl Write, format: Format, event: Event<'_>) -> io::Result<()> {
    match format {
        Format::Raw => out.write_all(event.data)?,
        Format::Text => {
            write!(out, "{} {}", Escaped::text(event.name), Escaped(event.data))?;
        }
        Format::Json => {
            let data = std::str::from_utf8(event.data).ok();
            let line = Line {
                event: event.name,
                source: SourceObject {
                    node: format!("{:08x}", event.source.node),
                    client: event.source.client,
                },
                sequence: event.sequence,
                data,
                data_base64: data.is_none().then(|| BASE64_STANDARD.encode(event.data)),
            };
            out.write_all(escape::json(&serde_json::to_string(&line)?).as_bytes())?;
        }
    }
    out.write_all(b"\n")
}

/// Text of others as it may be printed.
pub fn escaped(text: &str) -> String {
    Escaped::text(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format, data: &[u8]) -> String {
        let mut out = Vec::new();
        let source = Source { node: 0xab, client: 3 };
        write(&mut out, format, Event { name: "log", data, source, sequence: 9 }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_one_line_and_harmless() {
        assert_eq!(printed(Format::Text, "grün\t!".as_bytes()), "log grün\t!\n");
        assert_eq!(printed(Format::Text, b"a\nb\r\x1b[2J\x7f"), "log a\\nb\\r\\u{1b}[2J\\u{7f}\n");
        assert_eq!(printed(Format::Text, b"a\xff\x00z"), "log a\\xff\\u{0}z\n");
        assert_eq!(
            printed(Format::Text, "a\u{9b}2J\u{202e}".as_bytes()),
            "log a\\u{9b}2J\\u{202e}\n"
        );
        assert_eq!(printed(Format::Text, b""), "log \n");
    }

    #[test]
    fn json_holds_text_or_base64() {
        let head =
            "{\"event\":\"log\",\"source\":{\"node\":\"000000ab\",\"client\":3},\"sequence\":9,";
        assert_eq!(printed(Format::Json, b"a\"\n"), format!("{head}\"data\":\"a\\\"\\n\"}}\n"));
        assert_eq!(
            printed(Format::Json, b"\xff\xfe"),
            format!("{head}\"data_base64\":\"//4=\"}}\n")
        );
    }

    #[test]
    fn json_is_harmless_and_means_the_same() {
        let data = "a\u{9b}2J\x7f\u{202e}b\u{e0041}";
        let line = printed(Format::Json, data.as_bytes());
        assert!(line.trim_end().chars().all(|c| matches!(c, ' '..='~')), "{line:?}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["data"], data);
    }
}
