//! JSON schema of the file, for editors.

use serde_json::{Map, Value, json};

use super::keys::{self, Change, Key, Kind, Table};

/// Returns the schema.
pub fn text() -> String {
    let keys = keys::all();
    let mut top = properties(keys, Table::Broker);
    let link = table("The link to other machines", properties(keys, Table::Link));
    let channel = table("Settings of one channel", properties(keys, Table::Channel));
    top.insert("link".to_owned(), link);
    top.insert(
        "channels".to_owned(),
        json!({
            "type": "object",
            "description": "Settings of single channels, by name",
            "additionalProperties": channel,
        }),
    );
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "netcluster.toml: the configuration of netcluster's broker",
        "type": "object",
        "additionalProperties": false,
        "properties": top,
    });
    // A value without floats and without foreign types can be written.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

fn table(description: &str, properties: Map<String, Value>) -> Value {
    json!({
        "type": "object",
        "description": description,
        "additionalProperties": false,
        "properties": properties,
    })
}

fn properties(keys: &[Key], table: Table) -> Map<String, Value> {
    let keys = keys.iter().filter(|key| key.table == table);
    keys.map(|key| (key.name.to_owned(), property(key))).collect()
}

fn property(key: &Key) -> Value {
    let mut property = shape(key.kind);
    let mut description = key.help.clone();
    if !key.default_words.is_empty() {
        description.push_str(&format!(" [default: {}]", key.default_words));
    }
    if key.change == Change::Restart {
        description.push_str(" (a change takes a restart)");
    }
    property["description"] = description.into();
    if let Some(default) = key.default.and_then(literal) {
        property["default"] = default;
    }
    property
}

fn shape(kind: Kind) -> Value {
    match kind {
        Kind::Text(_, None) => json!({"type": "string"}),
        Kind::Text(_, Some(pattern)) => json!({"type": "string", "pattern": pattern}),
        Kind::OneOf(words) => json!({"enum": words}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::Size(least, most) => json!({
            "anyOf": [
                {"type": "integer", "minimum": least, "maximum": most},
                {"type": "string", "pattern": "^[0-9]+ *(B|KiB|K|k|MiB|M|GiB|G)?$"},
            ],
        }),
        Kind::Period(_) => {
            json!({"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,6})? *(us|µs|ms|s|min|m|h)$"})
        }
        Kind::Rate(_) => json!({"type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB) */s$"}),
        Kind::List(_) => json!({
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        }),
    }
}

/// Turns a value as the file has it into JSON.
pub fn literal(text: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    serde_json::to_value(table.get("value")?).ok()
}
