//! Printing of events by `on`.
//!
//! Invariant: in `text` and `json`, one event is one line, and no byte of an event
//! reaches a terminal as a control sequence.

use std::io::{self, Write};

use base64::prelude::{BASE64_STANDARD, Engine};
use netcluster_client::{Encoding, Source};
use netcluster_wire::escape::{self, Escaped};
use serde::Serialize;
use serde_json::value::RawValue;

use super::args::Format;
use super::json;

/// An event to print.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Name of the event.
    pub name: &'a str,
    /// Data of the event.
    pub data: &'a [u8],
    /// Encoding of the data, as its emitter says.
    pub encoding: Encoding,
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
    encoding: &'static str,
    #[serde(flatten)]
    data: Data<'a>,
}

/// Data by its encoding; bytes as well if it is not what its emitter says.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Text { data: &'a str },
    Json { data: Box<RawValue> },
    Bytes { data_base64: String },
}

impl Data<'_> {
    fn of<'a>(event: &Event<'a>) -> Data<'a> {
        let text = || Some(Data::Text { data: std::str::from_utf8(event.data).ok()? });
        let json = || {
            let compact = json::compact(event.data).ok()?;
            Some(Data::Json { data: RawValue::from_string(compact).ok()? })
        };
        let read = match event.encoding {
            Encoding::Text => text(),
            Encoding::Json => json(),
            Encoding::Bytes => None,
        };
        read.unwrap_or_else(|| Data::Bytes { data_base64: BASE64_STANDARD.encode(event.data) })
    }
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
            let line = Line {
                event: event.name,
                source: SourceObject {
                    node: format!("{:08x}", event.source.node),
                    client: event.source.client,
                },
                sequence: event.sequence,
                encoding: event.encoding.name(),
                data: Data::of(&event),
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

    fn printed_as(encoding: Encoding, format: Format, data: &[u8]) -> String {
        let mut out = Vec::new();
        let source = Source { node: 0xab, client: 3 };
        let event = Event { name: "log", data, encoding, source, sequence: 9 };
        write(&mut out, format, event).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn printed(format: Format, data: &[u8]) -> String {
        printed_as(Encoding::Text, format, data)
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
    fn json_holds_a_string_a_value_or_base64() {
        const HEAD: &str =
            r#"{"event":"log","source":{"node":"000000ab","client":3},"sequence":9,"encoding":"#;
        for (encoding, data, expected) in [
            (Encoding::Text, &b"a\"\n"[..], r#""text","data":"a\"\n"}"#),
            (Encoding::Json, b"{ \"b\":\n 1.50 }", r#""json","data":{"b":1.50}}"#),
            (Encoding::Json, b"null", r#""json","data":null}"#),
            (Encoding::Bytes, b"abc", r#""bytes","data_base64":"YWJj"}"#),
            // What is not what its emitter says.
            (Encoding::Text, b"\xff\xfe", r#""text","data_base64":"//4="}"#),
            (Encoding::Json, b"{\"a\":", r#""json","data_base64":"eyJhIjo="}"#),
            (Encoding::Json, b"\"\xff\"", r#""json","data_base64":"Iv8i"}"#),
        ] {
            let line = printed_as(encoding, Format::Json, data);
            assert_eq!(line, format!("{HEAD}{expected}\n"));
        }
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
