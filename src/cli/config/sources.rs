//! Sources of the settings: flags, before variables of the environment, before the file,
//! before the defaults.
//!
//! Invariant: what is wrong is told with its place, the flag, the variable, or file, line
//! and column, and with what is allowed there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Args, Command, FromArgMatches};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::failure::Failure;
use crate::cli::render::escaped;
use crate::cli::settings::Settings;

use super::keys;

/// Variable that names the file where no flag does.
pub const CONFIG_VARIABLE: &str = "NETCLUSTER_CONFIG";

/// Largest file, in bytes: some ten thousand channels.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Longest part of a complaint that is told, in characters.
const MAX_TOLD_CHARS: usize = 600;

/// Separator of the values of a variable that has several.
const LIST_SEPARATOR: char = ',';

/// Place where a setting was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag(String),
    /// A variable of the environment.
    Variable(String),
    /// A line and a column of the file.
    File(PathBuf, usize, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => write!(formatter, "--{name}"),
            Origin::Variable(name) => formatter.write_str(name),
            Origin::File(path, line, column) => {
                write!(formatter, "{}:{line}:{column}", path.display())
            }
        }
    }
}

/// Settings, and where each came from.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// File that was read.
    pub file: Option<PathBuf>,
    origins: BTreeMap<String, Origin>,
}

/// Loads all settings: those that were typed, the environment's, and those of the file that
/// is named, by an argument or by [`CONFIG_VARIABLE`].
///
/// # Errors
/// Which place is wrong, and what is allowed there.
pub fn load(typed: Settings, config: Option<&Path>) -> Result<Loaded, Failure> {
    let config = named(config);
    let typed = Loaded::typed(typed);
    let environment = read_environment(|name| std::env::var_os(name))?;
    let loaded = typed.or(environment);
    Ok(match config {
        Some(path) => loaded.or(read_file(&path)?),
        None => loaded,
    })
}

/// Returns the file that is named, by an argument or by [`CONFIG_VARIABLE`].
pub fn named(config: Option<&Path>) -> Option<PathBuf> {
    let named = std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty());
    config.map(Path::to_owned).or_else(|| named.map(PathBuf::from))
}

/// Reads a file.
///
/// # Errors
/// Its name, the line, the column, and what is wrong there.
pub fn read_file(path: &Path) -> Result<Loaded, Failure> {
    let cannot = |why: &dyn fmt::Display| {
        Failure::usage(format_args!("cannot read the configuration {}: {why}", path.display()))
    };
    let file = File::open(path).map_err(|error| cannot(&error))?;
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(|error| cannot(&error))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(cannot(&format_args!("it is longer than {MAX_FILE_BYTES} bytes, the limit")));
    }
    let text = String::from_utf8(text).map_err(|_| cannot(&"it is no UTF-8"))?;
    parse(path, &text).map_err(Failure::usage)
}

/// Checks that a file can be read a second time: what is in a pipe is gone, and who opens one
/// that nobody writes waits for ever.
///
/// # Errors
/// Its name.
pub fn check_lasting(path: &Path) -> Result<(), Failure> {
    match path.metadata() {
        Ok(about) if !about.is_file() && !about.is_dir() => Err(Failure::usage(format_args!(
            "{} is a pipe or a device, which cannot be read again: put it into a file",
            path.display()
        ))),
        // Whoever reads it says what is wrong.
        _ => Ok(()),
    }
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Loaded, String> {
    let lines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let place = |span: Range<usize>| {
        let line = lines.partition_point(|start| *start <= span.start);
        let start = line.checked_sub(1).map_or(0, |before| lines[before]);
        let before = text.get(start..span.start).unwrap_or_default();
        Origin::File(path.to_owned(), 1 + line, 1 + before.chars().count())
    };
    let wrong = |error: &toml::de::Error, key: Option<&str>| {
        let allowed = key
            .and_then(keys::find)
            .map_or_else(String::new, |key| format!("; `{}` is {}", key.name, key.kind.allowed()));
        let message = error.message().trim().replace('\n', "; ");
        let message = shortened(&message);
        let place =
            error.span().map_or_else(|| path.display().to_string(), |it| place(it).to_string());
        format!("{place}: {message}{allowed}")
    };
    let table = DeTable::parse(text).map_err(|error| wrong(&error, None))?;
    let mut spans = Vec::new();
    walk("", table.get_ref(), &mut spans);
    let settings: Settings = toml::from_str(text).map_err(|error| {
        // The innermost key whose value holds the place.
        let at = error.span().map(|span| span.start);
        let holds = |(_, _, value): &&(String, Range<usize>, Range<usize>)| {
            at.is_some_and(|at| value.contains(&at))
        };
        let key = spans.iter().rev().find(holds).map(|(path, ..)| path.as_str());
        wrong(&error, key)
    })?;
    let origins = spans.into_iter().map(|(path, key, _)| (path, place(key))).collect();
    Ok(Loaded { settings, file: Some(path.to_owned()), origins })
}

/// Returns the beginning of a text in which somebody's own words are, if it is long.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_TOLD_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{} …", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Lists the keys below a table by their path, with the places of key and value.
fn walk(above: &str, table: &DeTable<'_>, spans: &mut Vec<(String, Range<usize>, Range<usize>)>) {
    for (key, value) in table {
        let path = match above {
            "" => key.get_ref().to_string(),
            _ => format!("{above}.{}", key.get_ref()),
        };
        let value: &Spanned<DeValue<'_>> = value;
        spans.push((path.clone(), key.span(), value.span()));
        if let DeValue::Table(table) = value.get_ref() {
            walk(&path, table, spans);
        }
    }
}

/// Reads the variables of the environment, each of them as its flag.
pub(super) fn read_environment(
    value_of: impl Fn(&str) -> Option<OsString>,
) -> Result<Loaded, Failure> {
    let mut loaded = Loaded::default();
    for key in keys::all() {
        let (Some(flag), Some(variable)) = (&key.flag, key.variable()) else { continue };
        let Some(value) = value_of(&variable).filter(|value| !value.is_empty()) else { continue };
        let wrong = |what: &dyn fmt::Display| {
            Failure::usage(format_args!("{variable}: {what}; it is {}", key.kind.allowed()))
        };
        let text = value.to_str().ok_or_else(|| wrong(&"it is no UTF-8"))?;
        let values = match key.kind {
            keys::Kind::List(_) => text.split(LIST_SEPARATOR).map(str::trim).collect(),
            _ => vec![text],
        };
        let arguments = values.iter().map(|value| format!("--{flag}={value}"));
        let command = Settings::augment_args(Command::new("environment").no_binary_name(true));
        let settings = command
            .try_get_matches_from(arguments)
            .and_then(|matches| Settings::from_arg_matches(&matches))
            .map_err(|error| {
                let text = error.to_string();
                let told = text.split("\n\n").next().unwrap_or_default();
                wrong(&shortened(&escaped(told.trim_start_matches("error: "))))
            })?;
        let origins = [(key.path(), Origin::Variable(variable))].into();
        loaded = loaded.or(Loaded { settings, file: None, origins });
    }
    Ok(loaded)
}

impl Loaded {
    pub(super) fn typed(settings: Settings) -> Loaded {
        let mut loaded = Loaded { settings, ..Loaded::default() };
        for path in loaded.values().into_keys() {
            if let Some(flag) = keys::find(&path).and_then(|key| key.flag.clone()) {
                loaded.origins.insert(path, Origin::Flag(flag));
            }
        }
        loaded
    }

    /// Takes these settings, and where they are unset, the others.
    pub(super) fn or(self, other: Loaded) -> Loaded {
        let mut origins = other.origins;
        origins.extend(self.origins);
        Loaded {
            settings: self.settings.or(other.settings),
            file: self.file.or(other.file),
            origins,
        }
    }

    /// Takes the newer settings where a reload changes them, and these for the rest.
    pub fn with_live(&self, newer: Loaded) -> Loaded {
        let settings = self.settings.clone().with_live(newer.settings);
        Loaded { settings, ..newer }
    }

    /// Returns the settings that are set, by path.
    pub fn values(&self) -> BTreeMap<String, toml::Value> {
        let mut values = BTreeMap::new();
        // What was read can be written.
        if let Ok(table) = toml::Table::try_from(&self.settings) {
            flatten("", table, &mut values);
        }
        values
    }

    /// Returns where a setting was set, by its path.
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        // That `[link]` is there sets the address.
        let above = || path.rsplit_once('.').and_then(|(above, _)| self.origins.get(above));
        self.origins.get(path).or_else(above)
    }

    /// Adds to a broker's complaint about an option where that was set: its text begins with
    /// the key.
    pub fn locate(&self, failure: Failure) -> Failure {
        let text = failure.to_string();
        let named = text.split([' ', ':']).next().unwrap_or_default();
        let key = keys::all().iter().find(|key| key.name == named || key.path() == named);
        let path = match key {
            Some(key) if key.table == keys::Table::Channel => named.to_owned(),
            Some(key) => key.path(),
            None if named == "link" => "link.address".to_owned(),
            None => named.to_owned(),
        };
        match self.origin(&path) {
            Some(Origin::Flag(_)) | None => failure,
            Some(origin) => failure.context(origin),
        }
    }
}

fn flatten(above: &str, table: toml::Table, values: &mut BTreeMap<String, toml::Value>) {
    for (key, value) in table {
        let path = if above.is_empty() { key } else { format!("{above}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(&path, table, values),
            toml::Value::Array(list) if list.is_empty() => {}
            value => {
                values.insert(path, value);
            }
        }
    }
}
