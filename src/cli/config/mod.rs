//! `netcluster config`: the configuration, made, checked and shown.
//!
//! ```text
//!   flags ─▶ environment ─▶ file ─▶ defaults        the first that says something counts
//! ```
//! - `keys`: every key, with all that is known of it.
//! - `sources`: where settings come from, and where something is wrong.
//! - `template`, `schema`: the commented file, and the JSON schema for editors, both made of
//!   the keys.
//! - `show`: what is in force, and where each value came from.
//!
//! Decision: `docs/decisions/060-one-table-of-keys.md`.

pub mod keys;
mod schema;
mod show;
pub mod sources;
mod template;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::output::notice;
use super::serve;
use super::settings::Settings;

use sources::{CONFIG_VARIABLE, Loaded};

/// File that the commands take if none is named.
const DEFAULT_FILE: &str = "netcluster.toml";

const EXAMPLES: &str = "\
What counts, first: flags, environment variables, the file (--config, or NETCLUSTER_CONFIG),
defaults. Each flag of `serve` is a key of the file, and a variable: NETCLUSTER_ and its name
in capitals, `_` for `-`; several values have commas between. An empty variable is none.

Examples:
  netcluster config init /etc/netcluster.toml
  netcluster config check /etc/netcluster.toml
  NETCLUSTER_SHARDS=2 netcluster config show --config /etc/netcluster.toml
  netcluster config schema > netcluster.schema.json";

/// `netcluster config`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConfigArgs {
    /// Command to carry out.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// Commands of `netcluster config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Write a file with every key, explained, at its default
    Init(InitArgs),
    /// Say whether a file is right, and if not, where and why
    Check(CheckArgs),
    /// Show what `serve` would do with the same arguments, and where each value comes from
    Show(Box<ShowArgs>),
    /// Print a JSON schema of the file, for editors
    Schema,
}

/// `netcluster config init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// A new file, or `-` for standard output
    #[arg(default_value = DEFAULT_FILE)]
    pub file: PathBuf,
}

/// `netcluster config check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file [default: $NETCLUSTER_CONFIG, else netcluster.toml]
    pub file: Option<PathBuf>,
}

/// `netcluster config show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Read settings from this TOML file [default: $NETCLUSTER_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// Runs one of them.
pub fn run(args: ConfigArgs) -> Result<(), Failure> {
    match args.command {
        ConfigCommand::Init(args) => init(&args.file),
        ConfigCommand::Check(args) => check(args.file),
        ConfigCommand::Show(args) => {
            let loaded = sources::load(args.settings, args.config.as_deref())?;
            serve::options(&loaded)?;
            print(&if args.json { show::json(&loaded) } else { show::text(&loaded) })
        }
        ConfigCommand::Schema => print(&schema::text()),
    }
}

fn init(path: &Path) -> Result<(), Failure> {
    let text = template::text();
    if path == Path::new("-") {
        return print(&text);
    }
    let new = OpenOptions::new().write(true).create_new(true).open(path);
    new.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::other(format_args!(
            "{} is there already, and is left as it is: name another file",
            path.display()
        )),
        _ => Failure::other(format_args!("cannot write {}: {error}", path.display())),
    })
}

fn check(file: Option<PathBuf>) -> Result<(), Failure> {
    let named = std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty());
    let path = file.or_else(|| named.map(PathBuf::from));
    let path = path.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let loaded = sources::read_file(&path)?;
    tell_good(&loaded)
}

/// Says that settings are right, and what is to be known of them.
pub fn tell_good(loaded: &Loaded) -> Result<(), Failure> {
    let (_, warnings) = serve::options(loaded)?;
    for warning in warnings {
        notice(format_args!("warning: {warning}"));
    }
    let set = match loaded.values().len() {
        1 => "1 setting".to_owned(),
        number => format!("{number} settings"),
    };
    let file = loaded.file.as_ref().map_or_else(|| "no file".into(), |it| it.display().to_string());
    print(&format!("{file}: right, {set}\n"))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .or_else(|error| Failure::output(&error))
}
