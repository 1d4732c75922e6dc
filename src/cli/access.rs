//! Access rules in the file: the tables `[access.NAME]`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use netcluster::{AccessDefault, AccessOptions};
use serde::{Deserialize, Serialize};

use super::link::one_or_more;
use super::settings::Settings;
use super::values::read_from_file;

/// A table `[access.NAME]` of the file. No command has these as flags; that they could be
/// says what they are.
#[derive(Clone, Debug, Default, Args, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[serde(expecting = "a table [access.NAME]")]
pub struct AccessSettings {
    /// Users that the rule is for, by name or number, on Windows by name or identifier (S-1-…).
    /// A rule that names neither users nor groups is for everybody
    #[arg(long, value_name = "USER")]
    #[serde(deserialize_with = "one_or_more")]
    pub user: Vec<String>,
    /// Groups that the rule is for, by name or number; a client is of all groups of its process
    #[arg(long, value_name = "GROUP")]
    #[serde(deserialize_with = "one_or_more")]
    pub group: Vec<String>,
    /// Channels that the rule holds on: names, in which `*` is any token and `**` any number of
    /// them [default: all]
    #[arg(long, value_name = "PATTERN")]
    #[serde(deserialize_with = "one_or_more")]
    pub channel: Vec<String>,
    /// Events that may be emitted [default: none]
    #[arg(long, value_name = "PATTERN")]
    #[serde(deserialize_with = "one_or_more")]
    pub emit: Vec<String>,
    /// Events that may be listened to: a client may listen to a pattern if one of these matches
    /// all that it can match [default: none]
    #[arg(long, value_name = "PATTERN")]
    #[serde(deserialize_with = "one_or_more")]
    pub listen: Vec<String>,
}

/// Name of what clients may do whom no access rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccessDefaultName {
    /// Everything
    Allow,
    /// Nothing
    Deny,
}

impl AccessDefaultName {
    /// Returns what it means.
    pub fn meaning(self) -> AccessDefault {
        match self {
            AccessDefaultName::Allow => AccessDefault::Allow,
            AccessDefaultName::Deny => AccessDefault::Deny,
        }
    }
}

impl FromStr for AccessDefaultName {
    type Err = String;

    fn from_str(text: &str) -> Result<AccessDefaultName, String> {
        <AccessDefaultName as ValueEnum>::from_str(text, false)
            .map_err(|_| "write allow or deny".to_owned())
    }
}

impl fmt::Display for AccessDefaultName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            AccessDefaultName::Allow => "allow",
            AccessDefaultName::Deny => "deny",
        })
    }
}

read_from_file! {
    AccessDefaultName, numbers: false;
}

/// Turns the tables `[access.NAME]` into options of the rules.
pub fn access_options(settings: &Settings) -> BTreeMap<String, AccessOptions> {
    let options = settings.access.iter().map(|(name, rule)| {
        // Named one by one, so that a setting that is forgotten here does not compile.
        let AccessSettings { user, group, channel, emit, listen } = rule;
        let mut options = AccessOptions::default();
        options.users.clone_from(user);
        options.groups.clone_from(group);
        options.channels.clone_from(channel);
        options.emit.clone_from(emit);
        options.listen.clone_from(listen);
        (name.clone(), options)
    });
    options.collect()
}
