use std::ffi::OsString;

use clap::Parser;

use super::keys::{Change, Key, Kind, Table};
use super::sources::{parse, read_environment};
use super::*;
use crate::cli::args::{Cli, Command};

/// Returns a file in which this key has this value.
fn line(key: &Key, value: &str) -> String {
    match key.table {
        Table::Broker => format!("{} = {value}", key.name),
        // Elsewhere it would be without effect, which is told.
        Table::Link => format!("[link]\n{} = {value}", key.name),
        Table::Channel => format!("[link]\n[channels.'a.b']\n{} = {value}", key.name),
    }
}

fn file(text: &str) -> Result<Loaded, String> {
    parse(Path::new("n.toml"), text)
}

fn meant(text: &str) -> Result<String, String> {
    let loaded = file(text)?;
    let (mut options, _) = serve::options(&loaded).map_err(|failure| failure.to_string())?;
    if let Some(link) = &mut options.link {
        link.keys = netcluster::Keys::new(Vec::new());
    }
    Ok(format!("{options:?}"))
}

#[test]
fn file_flag_and_variable_mean_the_same_for_every_key() {
    for key in keys::all() {
        let loaded = file(&line(key, key.example)).unwrap();
        let path = key.path().replace("NAME", "a.b");
        let value = loaded.values().remove(&path).unwrap_or_else(|| panic!("{path} is not set"));
        assert!(loaded.origin(&path).unwrap().to_string().starts_with("n.toml:"), "{path}");
        let Some(flag) = &key.flag else { continue };
        let texts: Vec<String> = match value {
            toml::Value::Array(list) => list.iter().map(|it| it.as_str().unwrap().into()).collect(),
            toml::Value::String(text) => vec![text],
            other => vec![other.to_string()],
        };
        let arguments = texts.iter().map(|text| format!("--{flag}={text}"));
        let arguments = ["netcluster".into(), "serve".into()].into_iter().chain(arguments);
        let Command::Serve(typed) = Cli::try_parse_from(arguments).unwrap().command else {
            panic!("{flag}")
        };
        let mut from_file = loaded.settings;
        let variable = key.variable().unwrap();
        let value = |name: &str| (name == variable).then(|| OsString::from(texts.join(", ")));
        let from_variable = read_environment(value).unwrap();
        assert_eq!(from_variable.origin(&path).unwrap().to_string(), variable);
        assert_eq!(from_variable.settings, typed.settings, "{variable}");
        if key.table == Table::Link && key.name != "address" {
            from_file.link.address = None;
        }
        assert_eq!(from_file, typed.settings, "--{flag}");
    }
}

#[test]
fn a_default_is_what_an_unset_key_means() {
    for key in keys::all() {
        let Some(default) = key.default else { continue };
        let unset = match key.table {
            Table::Broker => "",
            Table::Link => "[link]",
            Table::Channel => "[link]\n[channels.'a.b']",
        };
        assert_eq!(meant(&line(key, default)), meant(unset), "{}", key.path());
        let is_told =
            !key.default_words.is_empty() || key.help.contains(default.trim_matches('\''));
        assert!(is_told || key.kind == Kind::Flag, "{}", key.path());
    }
}

#[test]
fn bounds_are_those_of_the_broker() {
    let mut checked = 0;
    for key in keys::all() {
        let (within, beyond) = match key.kind {
            Kind::Number(least, most) | Kind::Size(least, most) => {
                let below = least.checked_sub(1).filter(|_| least > 0);
                // No number of TOML is beyond, nor is this limit reached by all together.
                let above = (most < i64::MAX as u64).then(|| most + 1);
                let most = above.map(|above| above - 1);
                (vec![Some(least), most], vec![below, above])
            }
            _ => continue,
        };
        for value in within.into_iter().flatten() {
            // With a link there is less room, which is another rule.
            let meant = meant(&line(key, &value.to_string()));
            let other_rule = meant.as_ref().is_err_and(|text| !text.contains(key.name));
            assert!(meant.is_ok() || other_rule, "{}: {meant:?}", key.path());
        }
        for value in beyond.into_iter().flatten() {
            let text = meant(&line(key, &value.to_string())).unwrap_err();
            assert!(text.starts_with("n.toml:") && text.contains(key.name), "{text}");
            checked += 1;
        }
    }
    assert!(checked >= 15, "{checked}");
    let short = meant("\nstall-timeout = '9ms'").unwrap_err();
    assert_eq!(short, "n.toml:2:1: stall-timeout must be at least 10 ms");
    let alone = meant("[link]\naddress = '10.0.0.1:4454'").unwrap_err();
    assert!(alone.starts_with("n.toml:2:1: link address 10.0.0.1 is no"), "{alone}");
    let slow = meant("[link]\nttl = 1\nrate = '1KiB/s'").unwrap_err();
    assert!(slow.starts_with("n.toml:3:1: rate must be at least 1000000 B/s"), "{slow}");
}

#[test]
fn mistakes_come_with_line_and_column_and_with_what_is_allowed() {
    for (text, words) in [
        (
            "shards = 1\nsockte = 'x'\n",
            "n.toml:2:1: unknown field `sockte`, expected one of `socket`",
        ),
        (
            "\n\n  socket-mode = 660\n",
            "n.toml:3:17: invalid type: integer `660`, expected a string; `socket-mode` is a string: permissions in octal",
        ),
        ("max-queue = '8MB'", "n.toml:1:13: write bytes"),
        (
            "max-queue = '8MB'",
            "; `max-queue` is bytes as a number, or a string such as \"8MiB\", at least 64 KiB",
        ),
        ("shards = 70000", "; `shards` is a whole number from 1 to 64"),
        ("[link]\nttl = 'x'", "n.toml:2:7: invalid type"),
        ("[link]\npeer = ['a b']", "; `peer` is a string, or a list of strings: HOST"),
        ("[channels.x]\npressure = 'all'", "; `pressure` is one of \"cluster\""),
        ("shards = 1\nshards", "n.toml:2:"),
        ("shards = 1\nshards = 2", "duplicate key"),
        ("link = 3", "n.toml:1:8: "),
    ] {
        let error = file(text).unwrap_err();
        assert!(error.contains(words) && !error.contains('\n'), "{text}:\n{error}\n{words}");
    }
}

#[test]
fn a_variable_that_is_wrong_is_named_and_an_empty_one_is_none() {
    let with = |value: &'static str| {
        read_environment(|name| (name == "NETCLUSTER_SHARDS").then(|| value.into()))
    };
    let error = with("many").unwrap_err().to_string();
    assert!(error.starts_with("NETCLUSTER_SHARDS: "), "{error}");
    assert!(error.ends_with("; it is a whole number from 1 to 64"), "{error}");
    assert_eq!(with("").unwrap().settings, Settings::default());
    let beyond = with("65").unwrap();
    let error = serve::options(&beyond).unwrap_err().to_string();
    assert_eq!(error, "NETCLUSTER_SHARDS: shards must be between 1 and 64");
}

#[test]
fn what_is_read_can_be_written_and_read_again() {
    let uncommented = uncommented();
    let loaded = file(&uncommented).unwrap_or_else(|error| panic!("{error}:\n{uncommented}"));
    assert_eq!(loaded.values().len(), keys::all().len(), "every key is in the template");
    let written = toml::to_string(&loaded.settings).unwrap();
    assert_eq!(file(&written).unwrap().settings, loaded.settings, "{written}");
}

/// Returns the template with every key set.
fn uncommented() -> String {
    let lines = template::text();
    let lines = lines.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_template_changes_nothing() {
    assert_eq!(file(&template::text()).unwrap().settings, Settings::default());
}

/// `netcluster config init docs/netcluster.toml` and `netcluster config schema` write them.
#[test]
fn the_files_in_docs_are_those_that_the_command_writes() {
    assert_eq!(include_str!("../../../docs/netcluster.toml"), template::text());
    assert_eq!(include_str!("../../../docs/netcluster.schema.json"), schema::text());
}

#[test]
fn the_schema_has_every_key_and_each_example_is_as_it_says() {
    let schema: serde_json::Value = serde_json::from_str(&schema::text()).unwrap();
    for key in keys::all() {
        let table = match key.table {
            Table::Broker => &schema,
            Table::Link => &schema["properties"]["link"],
            Table::Channel => &schema["properties"]["channels"]["additionalProperties"],
        };
        let property = &table["properties"][key.name];
        assert_eq!(table["additionalProperties"], false);
        let value = schema::literal(key.example).unwrap();
        let kind = match &value {
            serde_json::Value::Bool(_) => "boolean",
            serde_json::Value::Number(_) => "integer",
            serde_json::Value::Array(_) => "array",
            _ => "string",
        };
        let alternatives = property["anyOf"].as_array();
        let alternatives = alternatives.map_or(vec![property], |all| all.iter().collect());
        let fits = alternatives.iter().any(|it| it["type"] == kind)
            || property["enum"].as_array().is_some_and(|all| all.contains(&value));
        assert!(fits, "{}: {property}", key.path());
        let restarts = property["description"].as_str().unwrap().contains("takes a restart");
        assert_eq!(restarts, key.change == Change::Restart, "{}", key.path());
    }
}

#[test]
fn it_is_shown_where_each_value_came_from() {
    let typed = Settings { shards: Some(1), ..Settings::default() };
    let variables = |name: &str| {
        let value = match name {
            "NETCLUSTER_SHARDS" => "2",
            "NETCLUSTER_MAX_QUEUE" => "1MiB",
            _ => return None,
        };
        Some(OsString::from(value))
    };
    let text =
        "shards = 3\nmax-queue = '2MiB'\nspin-us = 4\n[channels.'a.b']\npressure = 'cluster'";
    let loaded =
        Loaded::typed(typed).or(read_environment(variables).unwrap()).or(file(text).unwrap());
    let shown = show::text(&loaded);
    for (value, from) in [
        ("shards = 1", "# --shards"),
        ("max-queue = \"1MiB\"", "# NETCLUSTER_MAX_QUEUE"),
        ("spin-us = 4", "# n.toml:3:1"),
        ("stall-timeout = \"5s\"", "# default"),
        ("# max-clients-per-user: half of --max-clients", "# default"),
        ("pressure = \"cluster\"", "# n.toml:5:1"),
    ] {
        let is_it = |line: &str| line.starts_with(value) && line.ends_with(from);
        assert!(shown.lines().any(is_it), "{value} {from}:\n{shown}");
    }
    assert!(shown.contains("\n[channels.\"a.b\"]\n"), "{shown}");
    assert!(file(&shown).is_ok(), "it is TOML:\n{shown}");
    let json: serde_json::Value = serde_json::from_str(&show::json(&loaded)).unwrap();
    assert_eq!(json["spin-us"]["value"], 4);
    assert_eq!(json["channels.a.b.pressure"]["from"], "n.toml:5:1");
}

/// Minutes went by, and a file of any size or none that ends was read to its end.
#[test]
fn a_file_may_be_long_but_not_endless() {
    let channels: String =
        (0..5000).map(|number| format!("[channels.c{number}]\nnetwork = false\n")).collect();
    let loaded = sources::parse(Path::new("n.toml"), &channels).unwrap();
    assert_eq!(loaded.origin("channels.c4999.network").unwrap().to_string(), "n.toml:10000:1");
    let error =
        sources::parse(Path::new("n.toml"), &format!("{channels}netwrk = 1\n")).unwrap_err();
    assert!(error.starts_with("n.toml:10001:1: unknown field `netwrk`"), "{error}");
    let error = sources::parse(Path::new("n.toml"), &format!("{} = 1", "x".repeat(5000)));
    assert!(error.unwrap_err().len() < 1000);
    if cfg!(unix) {
        let error = sources::read_file(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("longer than 1048576 bytes"), "{error}");
    }
    let error = sources::read_environment(|name| {
        (name == "NETCLUSTER_SHARDS").then(|| "2\n\x1b".repeat(5000).into())
    });
    let error = error.unwrap_err().to_string();
    assert!(error.len() < 1000 && !error.contains(['\n', '\x1b']), "{error}");
}
