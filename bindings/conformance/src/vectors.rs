//! Test vectors, made from the examples and tables of `PROTOCOL.md`, so that they cannot
//! differ from it.
//!
//! What an example means is said by the document; the wire crate's tests hold the document
//! and the code in step. Numbers of 64 bits are texts: JavaScript has no room for them.

use netcluster_testkit::document::{Block, Document, number, yes};
use netcluster_wire::Frame;
use netcluster_wire::limits::DEFAULT_MAX_PAYLOAD_BYTES;
use serde_json::{Map, Value, json};

const PROTOCOL: Document = Document(include_str!("../../../PROTOCOL.md"));

/// Makes the vectors.
///
/// # Panics
/// The document is not as it should be.
pub fn make() -> Value {
    json!({
        "protocol_version": limit("PROTOCOL_VERSION"),
        "limits": limits(),
        "kinds": numbered("## Kinds", "| kind | number | from | name | sequence | payload |", &["from"]),
        "encodings": numbered("#### Encodings", "| encoding | number | payload | in `flags` |", &["", "flags"]),
        "errors": numbered("## Errors", "| error | number | connection | when |", &["connection"]),
        "loss_reasons": numbered("### lost", "| reason | number | meaning |", &[]),
        "frames": PROTOCOL.blocks_of("frame").iter().map(frame).collect::<Vec<_>>(),
        "broken": PROTOCOL.blocks_of("broken").iter().map(broken).collect::<Vec<_>>(),
        "matches": triples("match", ["pattern", "name", "matches"]),
        "names": triples("names", ["of", "name", "good"]),
    })
}

/// The vectors as they lie in the file.
pub fn text() -> String {
    let pretty = serde_json::to_string_pretty(&make()).expect("a value");
    pretty + "\n"
}

fn limit_rows() -> Vec<Vec<String>> {
    PROTOCOL.table("## Limits", "| limit | value | of what |")
}

fn limit(name: &str) -> u64 {
    let rows = limit_rows();
    let row = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name}"));
    number(&row[1])
}

fn limits() -> Map<String, Value> {
    limit_rows().into_iter().map(|row| (row[0].clone(), number(&row[1]).into())).collect()
}

/// The rows of a table of names and numbers, with more columns of these names; one without
/// a name is left out.
fn numbered(heading: &str, columns: &str, more: &[&str]) -> Vec<Value> {
    let rows = PROTOCOL.table(heading, columns);
    let row = |row: &Vec<String>| {
        let mut object = Map::new();
        object.insert("name".into(), row[0].replace(' ', "_").into());
        object.insert("number".into(), number(&row[1]).into());
        for (key, cell) in more.iter().zip(&row[2..]).filter(|(key, _)| !key.is_empty()) {
            let value = match *key {
                "flags" => number(cell).into(),
                _ => Value::from(cell.as_str()),
            };
            object.insert((*key).into(), value);
        }
        Value::Object(object)
    };
    rows.iter().map(row).collect()
}

fn frame(block: &Block) -> Value {
    let bytes = block.bytes();
    let frame = Frame::read(&bytes, DEFAULT_MAX_PAYLOAD_BYTES).expect("good").expect("whole");
    let kind = block.heading[1];
    let mut object = Map::from_iter([
        ("bytes".into(), hex(&bytes).into()),
        ("kind".into(), kind.into()),
        ("payload".into(), hex(frame.payload()).into()),
    ]);
    if kind == "event" {
        object.insert("encoding".into(), "bytes".into());
    }
    let mut fields = Map::new();
    for (key, text) in block.fields() {
        match key {
            "source" => object.insert(key.into(), source(text)),
            "sequence" => object.insert(key.into(), number(text).to_string().into()),
            "name" | "encoding" => object.insert(key.into(), text.into()),
            // Told by its bytes.
            "payload" => None,
            _ => fields.insert(key.into(), field(kind, key, text)),
        };
    }
    object.insert("fields".into(), fields.into());
    object.into()
}

/// A field of a control frame's payload.
fn field(kind: &str, key: &str, text: &str) -> Value {
    match (kind, key) {
        ("hello", "echo" | "latest" | "shared" | "leaves")
        | ("welcome", "held")
        | ("bye", "successor") => yes(text).into(),
        ("hello", "previous") => source(text),
        ("hello", "client_name") | ("error" | "shared", "text") => text.into(),
        ("welcome", "reason") if text == "none" => Value::Null,
        ("welcome", "reason") => {
            let (code, text) = text.split_once(' ').expect("code and text");
            json!({ "code": number(code), "text": text })
        }
        ("error", "code") | ("lost", "reason") | ("shared", "step") => number(text).into(),
        ("hello", "max_queue")
        | ("welcome", "max_payload" | "run")
        | ("pong" | "bye", "confirmed")
        | ("audience", "clients" | "brokers")
        | ("shared", "arena_bytes") => number(text).to_string().into(),
        _ => panic!("a field that has no form here: {key} of {kind}"),
    }
}

fn broken(block: &Block) -> Value {
    json!({
        "error": block.heading[1],
        "bytes": hex(&block.bytes()),
        "max_payload": DEFAULT_MAX_PAYLOAD_BYTES,
    })
}

/// The lines of blocks of this word, three words each; the third one says yes or no.
fn triples(word: &str, keys: [&str; 3]) -> Vec<Value> {
    let blocks = PROTOCOL.blocks_of(word);
    let lines = blocks.iter().flat_map(|block| &block.lines);
    let triple = |line: &&str| {
        let [first, second, third] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("three words: {line}");
        };
        let is = match third {
            "yes" | "good" => true,
            "no" | "bad" => false,
            other => panic!("yes, no, good or bad: {other}"),
        };
        json!({ keys[0]: first, keys[1]: second, keys[2]: is })
    };
    lines.map(triple).collect()
}

fn source(text: &str) -> Value {
    let (node, client) = text.split_once('/').expect("node/client");
    json!({ "node": number(node), "client": number(client) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_file_is_in_step_with_the_document() {
        let file = include_str!("../vectors.json");
        let is_same = file == super::text();
        assert!(is_same, "run: cargo run -p netcluster-conformance --bin vectors");
    }
}
