//! The link to other machines on the command line: its settings for `serve`, and
//! the commands of `netcluster link`.
//!
//! - `settings`, `values`: what the link can be told, by command line or file.
//! - `key_file`: reading a key, and `netcluster link keygen`, which makes one.
//! - `check`: `netcluster link check`, which tries whether others are reached.
//! - `open`: `netcluster link open`, which opens the link of a broker that runs.

mod check;
mod key_file;
mod open;
mod settings;
mod values;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::Failure;

pub(super) use settings::one_or_more;
pub use settings::{ChannelSettings, LinkSettings, channel_options, link_options};
pub use values::ChannelName;

const KEYGEN_EXAMPLES: &str = "\
Copy the file to every broker of the cluster, readable for its user alone, and serve with
--key-file. To change a key while all brokers run, have them all reload their configurations with
key-file = [\"old\", \"new\"], then all with [\"new\", \"old\"], then all with \"new\": the first one
seals, both open. The same works by restarts with --key-file old --key-file new, and so on.

Examples:
  netcluster link keygen /etc/netcluster/key
  netcluster link keygen - | ssh other 'umask 077; cat > netcluster.key'";

/// `netcluster link`.
#[derive(Debug, Args)]
pub struct LinkArgs {
    /// Command to carry out.
    #[command(subcommand)]
    pub command: LinkCommand,
}

/// Commands of `netcluster link`.
#[derive(Debug, Subcommand)]
pub enum LinkCommand {
    /// Make a key that brokers of a cluster share, so that nobody else reads or emits
    Keygen(KeygenArgs),
    /// Try whether brokers on other machines are reached, and say what is wrong if not
    Check(Box<check::CheckArgs>),
    /// Link a broker that runs to other machines
    Open(Box<open::OpenArgs>),
}

/// `netcluster link keygen`.
#[derive(Debug, Args)]
#[command(after_help = KEYGEN_EXAMPLES)]
pub struct KeygenArgs {
    /// A new file, or `-` for standard output
    #[arg(default_value = "netcluster.key")]
    pub path: PathBuf,
}

/// Runs one of them.
pub fn run(args: &LinkArgs) -> Result<(), Failure> {
    match &args.command {
        LinkCommand::Keygen(args) => key_file::make(&args.path),
        LinkCommand::Check(args) => check::run(args),
        LinkCommand::Open(args) => open::run(args),
    }
}
