//! Settings that are in force, and where each value came from.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::keys::{self, Change, Key, Table};
use super::schema::literal;
use super::sources::Loaded;

/// Column in which it stands where a value came from.
const ORIGIN_COLUMN: usize = 44;

/// One line: a setting, or a default.
struct Shown {
    path: String,
    /// Value as TOML, if there is one that is always the same.
    value: Option<String>,
    from: String,
    key: &'static Key,
}

/// Returns it as TOML, with the place of each value behind it.
pub fn text(loaded: &Loaded) -> String {
    let mut text = String::new();
    let mut table = String::new();
    for shown in lines(loaded) {
        let (above, name) = shown.path.rsplit_once('.').unwrap_or(("", &shown.path));
        if above != table {
            table = above.to_owned();
            text.push_str(&format!("\n[{}]\n", heading(above)));
        }
        let line = match &shown.value {
            Some(value) => format!("{name} = {value}"),
            None => format!("# {name}: {}", shown.key.default_words),
        };
        text.push_str(&format!("{line:<ORIGIN_COLUMN$} # {}\n", shown.from));
    }
    text
}

/// Returns the name of a table as TOML has it.
fn heading(path: &str) -> String {
    match path.split_once('.') {
        Some((above, name)) => format!("{above}.{}", toml::Value::from(name)),
        None => path.to_owned(),
    }
}

/// Returns it as JSON: for each key `value`, `from`, and whether a `reload` changes it.
pub fn json(loaded: &Loaded) -> String {
    let mut all = Map::new();
    for shown in lines(loaded) {
        let value = shown.value.as_deref().and_then(literal).unwrap_or(Value::Null);
        let reload = shown.key.change == Change::Live;
        all.insert(shown.path, json!({"value": value, "from": shown.from, "reload": reload}));
    }
    format!("{}\n", Value::Object(all))
}

fn lines(loaded: &Loaded) -> Vec<Shown> {
    let mut values: BTreeMap<String, toml::Value> = loaded.values();
    let mut lines = Vec::new();
    for key in keys::all() {
        let path = key.path();
        if key.table == Table::Channel
            || key.table == Table::Link && loaded.settings.link.address.is_none()
        {
            continue;
        }
        let value = values.remove(&path);
        let from = match &value {
            Some(_) => loaded.origin(&path).map_or_else(String::new, ToString::to_string),
            None => "default".to_owned(),
        };
        let default = || key.default.map(|it| it.replace('\'', "\""));
        let value = value.map(|it| it.to_string()).or_else(default);
        lines.push(Shown { path, value, from, key });
    }
    for (path, value) in values {
        let from = loaded.origin(&path).map_or_else(String::new, ToString::to_string);
        if let Some(key) = keys::find(&path) {
            lines.push(Shown { path, value: Some(value.to_string()), from, key });
        }
    }
    lines
}
