//! The keys of the configuration: what `serve` takes as flags, environment variables and in
//! the file, and what is allowed for each.
//!
//! Names, flags and help come from the settings' own structs ([`Settings`],
//! [`LinkSettings`], [`ChannelSettings`]); [`FACTS`] adds what clap does not know. A test
//! compares the two, and each value with what file and flags take.

use std::sync::LazyLock;

use clap::{Args, Command};

use crate::cli::link::{ChannelSettings, LinkSettings};
use crate::cli::settings::Settings;

use Change::{Live, Restart};
use Kind::{Flag, List, Number, OneOf, Period, Rate, Size, Text};
use Table::{Broker, Channel, Link};

/// Start of the names of environment variables.
const VARIABLE_PREFIX: &str = "NETCLUSTER_";

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Largest number that TOML has.
const SIZE_MAX: u64 = i64::MAX as u64;
const LEVELS: &str = "off, error, warn, info, debug or trace, or directives such as \
                      netcluster=debug";

/// The facts, in the order of the help.
const FACTS: &[Fact] = &[
    fact((Broker, "socket"), Text("a path", None), Restart, None, "'/run/netcluster/default.sock'"),
    fact(
        (Broker, "socket-mode"),
        Text("permissions in octal, at most 0777", Some("^(0o)?[0-7]{1,4}$")),
        Restart,
        Some("'0660'"),
        "'0666'",
    ),
    fact((Broker, "socket-group"), Text("a group's name or number", None), Restart, None, "'7'"),
    fact((Broker, "shards"), Number(1, 64), Restart, None, "2"),
    fact((Broker, "pin"), Flag, Restart, Some("false"), "true"),
    fact((Broker, "backend"), OneOf(&["auto", "uring", "poll"]), Restart, Some("'auto'"), "'poll'"),
    fact((Broker, "shared-memory"), OneOf(&["auto", "off"]), Restart, Some("'auto'"), "'off'"),
    fact((Broker, "spin-us"), Number(0, 50), Live, Some("0"), "20"),
    fact((Broker, "max-payload"), Size(1, GIB), Restart, Some("'2MiB'"), "'1MiB'"),
    fact((Broker, "max-queue"), Size(64 * KIB, SIZE_MAX), Live, None, "'16MiB'"),
    fact((Broker, "max-memory"), Size(0, SIZE_MAX), Live, None, "'1GiB'"),
    fact((Broker, "max-clients"), Number(1, SIZE_MAX), Live, Some("65536"), "1000"),
    fact((Broker, "max-clients-per-user"), Number(1, SIZE_MAX), Live, None, "100"),
    fact((Broker, "max-patterns"), Number(1, SIZE_MAX), Live, Some("10000"), "100"),
    fact((Broker, "stall-timeout"), Period(10), Live, Some("'5s'"), "'2s'"),
    fact((Broker, "hello-timeout"), Period(10), Live, Some("'5s'"), "'2s'"),
    fact((Broker, "drain-timeout"), Period(10), Live, Some("'5s'"), "'2s'"),
    fact(
        (Broker, "node-id"),
        Text("1 to 8 hexadecimal digits, not all zero", Some("^(0x)?[0-9A-Fa-f]{1,8}$")),
        Restart,
        None,
        "'0a1b2c3d'",
    ),
    fact((Broker, "log"), Text(LEVELS, None), Live, Some("'info'"), "'debug'"),
    fact((Broker, "log-format"), OneOf(&["text", "json"]), Restart, Some("'text'"), "'json'"),
    fact(
        (Broker, "metrics"),
        Text("PORT, ADDRESS:PORT or unix:PATH", None),
        Restart,
        None,
        "'127.0.0.1:9464'",
    ),
    fact(
        (Link, "address"),
        Text("a multicast address and a port", None),
        Restart,
        Some("'239.255.44.54:4454'"),
        "'239.1.2.3:5000'",
    ),
    fact(
        (Link, "cluster"),
        Text("a name of 1 to 255 bytes", None),
        Restart,
        Some("'default'"),
        "'office'",
    ),
    fact((Link, "node-name"), Text("a name of 1 to 255 bytes", None), Restart, None, "'here'"),
    fact(
        (Link, "interface"),
        Text("an interface's name or address", None),
        Restart,
        None,
        "'eth0'",
    ),
    fact((Link, "unicast-port"), Number(0, 65_535), Restart, Some("0"), "4455"),
    fact((Link, "ttl"), Number(0, 255), Restart, Some("1"), "2"),
    fact((Link, "groups"), Number(1, 64), Restart, Some("16"), "8"),
    fact((Link, "mtu"), Number(1280, 9000), Restart, Some("1400"), "9000"),
    fact((Link, "rate"), Rate(1_000_000), Restart, None, "'100MiB/s'"),
    fact((Link, "receive-buffer"), Size(256 * KIB, GIB), Restart, Some("'8MiB'"), "'4MiB'"),
    fact((Link, "history"), Size(256 * KIB, GIB), Restart, Some("'8MiB'"), "'4MiB'"),
    fact(
        (Link, "key-file"),
        List("a path, two at the most"),
        Live,
        None,
        "['/etc/netcluster/key']",
    ),
    fact((Link, "peer"), List("HOST or HOST:PORT"), Live, None, "['db1', 'db2:4454']"),
    fact((Link, "expect-peer"), List("a broker's name"), Live, None, "['db1', 'db2']"),
    fact((Link, "cluster-pressure"), List("a channel's name"), Restart, None, "['orders']"),
    fact((Channel, "pressure"), OneOf(&["cluster"]), Restart, None, "'cluster'"),
    fact((Channel, "network"), Flag, Live, Some("true"), "false"),
    fact((Channel, "forward-to"), List("a pattern of channels' names"), Live, None, "['log.*']"),
    fact((Channel, "max-payload"), Size(1, GIB), Live, None, "'64KiB'"),
    fact((Channel, "max-rate"), Rate(1), Live, None, "'10MiB/s'"),
    fact((Channel, "max-event-rate"), Number(1, SIZE_MAX), Live, None, "1000"),
];

/// Table of the file that a key stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Top of the file.
    Broker,
    /// `[link]`.
    Link,
    /// `[channels.NAME]`.
    Channel,
}

/// Whether a change takes effect in a broker that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A reload is enough.
    Live,
    /// The broker must be started again.
    Restart,
}

/// Kind of a value, with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string, described by these words; matching this expression, if it is one.
    Text(&'static str, Option<&'static str>),
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A whole number between these.
    Number(u64, u64),
    /// A number of bytes between these.
    Size(u64, u64),
    /// A duration, at least so many milliseconds long.
    Period(u64),
    /// Bytes a second, at least so many.
    Rate(u64),
    /// A string, or a list of strings, each described by these words.
    List(&'static str),
}

/// Facts of a key that clap does not know.
struct Fact {
    table: Table,
    name: &'static str,
    kind: Kind,
    change: Change,
    /// Default as the file would have it; `None`: found out, as the help says.
    default: Option<&'static str>,
    /// A value as the file has it.
    example: &'static str,
}

const fn fact(
    (table, name): (Table, &'static str),
    kind: Kind,
    change: Change,
    default: Option<&'static str>,
    example: &'static str,
) -> Fact {
    Fact { table, name, kind, change, default, example }
}

/// A key of the configuration.
#[derive(Clone, Debug)]
pub struct Key {
    /// Table that it stands in.
    pub table: Table,
    /// Name in the file.
    pub name: &'static str,
    /// Flag of `serve`, without dashes; only the file has settings of single channels.
    pub flag: Option<String>,
    /// Help, without the default.
    pub help: String,
    /// Default in words; empty if there is none.
    pub default_words: String,
    /// Default as the file would have it, if it is always the same.
    pub default: Option<&'static str>,
    /// A value as the file has it.
    pub example: &'static str,
    /// Kind of its value.
    pub kind: Kind,
    /// Whether a reload changes it.
    pub change: Change,
}

impl Key {
    /// Returns the name with its table, as messages and the origins of settings have it; of a
    /// channel's key that of any.
    pub fn path(&self) -> String {
        match self.table {
            Broker => self.name.to_owned(),
            Link => format!("link.{}", self.name),
            Channel => format!("channels.NAME.{}", self.name),
        }
    }

    /// Returns the environment variable of the key, if it has a flag.
    pub fn variable(&self) -> Option<String> {
        let flag = self.flag.as_ref()?;
        Some(format!("{VARIABLE_PREFIX}{}", flag.replace('-', "_").to_uppercase()))
    }

    /// Returns whether this is the key of a setting, by its path.
    pub fn is_of(&self, path: &str) -> bool {
        match self.table {
            Channel => {
                let rest = path.strip_prefix("channels.");
                rest.and_then(|rest| rest.rsplit_once('.')).is_some_and(|it| it.1 == self.name)
            }
            _ => self.path() == path,
        }
    }
}

impl Kind {
    /// Says in words what is allowed.
    pub fn allowed(self) -> String {
        match self {
            Text(words, _) => format!("a string: {words}"),
            OneOf(words) => format!("one of \"{}\"", words.join("\", \"")),
            Flag => "true or false".to_owned(),
            Number(least, SIZE_MAX) => format!("a whole number, at least {least}"),
            Number(least, most) => format!("a whole number from {least} to {most}"),
            Size(least, most) => {
                let bounds = match (least, most) {
                    (0 | 1, SIZE_MAX) => String::new(),
                    (_, SIZE_MAX) => format!(", at least {}", size(least)),
                    _ => format!(", from {} to {}", size(least), size(most)),
                };
                format!("bytes as a number, or a string such as \"8MiB\"{bounds}")
            }
            Period(least) => {
                format!("a string such as \"500ms\", \"5s\" or \"2min\", at least {least} ms")
            }
            Rate(least) => {
                format!("a string such as \"100MiB/s\", at least {least} bytes a second")
            }
            List(words) => format!("a string, or a list of strings: {words}"),
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= GIB && bytes.is_multiple_of(GIB) => format!("{} GiB", bytes / GIB),
        _ if bytes >= MIB && bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        _ if bytes >= KIB && bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        _ => format!("{bytes} B"),
    }
}

/// All keys, made once: a file may have thousands of settings.
static ALL: LazyLock<Vec<Key>> = LazyLock::new(make);

/// Returns all keys, in the order of the help.
///
/// # Panics
/// If the structs of the settings and [`FACTS`] have different keys; a test sees to that.
pub fn all() -> &'static [Key] {
    &ALL
}

fn make() -> Vec<Key> {
    let tables = [
        (Broker, Settings::augment_args(Command::new("broker"))),
        (Link, LinkSettings::augment_args(Command::new("link"))),
        (Channel, ChannelSettings::augment_args(Command::new("channel"))),
    ];
    let mut keys = Vec::new();
    for (table, command) in tables {
        let mut facts = FACTS.iter().filter(|fact| fact.table == table);
        for argument in command.get_arguments() {
            // The settings of the link are a part of all settings.
            if table == Broker && argument.get_help_heading().is_some() {
                continue;
            }
            let flag = argument.get_long().unwrap_or_default().to_owned();
            let name = if (table, flag.as_str()) == (Link, "link") { "address" } else { &flag };
            let fact = facts.next().filter(|fact| fact.name == name);
            let fact = fact.unwrap_or_else(|| panic!("{name}: the table of keys has another one"));
            let help = argument.get_long_help().or_else(|| argument.get_help());
            let help = help.map(ToString::to_string).unwrap_or_default();
            let (help, default_words) = match help.rsplit_once("[default: ") {
                Some((help, words)) => (help.trim_end(), words.trim_end_matches(']')),
                None => (help.as_str(), ""),
            };
            keys.push(Key {
                table,
                name: fact.name,
                flag: (table != Channel).then(|| flag.clone()),
                help: help.split_whitespace().collect::<Vec<_>>().join(" "),
                default_words: default_words.split_whitespace().collect::<Vec<_>>().join(" "),
                default: fact.default,
                example: fact.example,
                kind: fact.kind,
                change: fact.change,
            });
        }
        assert!(facts.next().is_none(), "a key of {table:?} has no setting");
    }
    keys
}

/// Returns the key of a setting, by its path.
pub fn find(path: &str) -> Option<&'static Key> {
    all().iter().find(|key| key.is_of(path))
}
