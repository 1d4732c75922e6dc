//! `netcluster man`: the manual pages, from the help of the commands.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::args::Cli;
use super::failure::Failure;

/// `netcluster man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netcluster man /usr/local/share/man/man1
  netcluster man /tmp && man /tmp/netcluster-serve.1")]
pub struct ManArgs {
    /// Directory that the pages go to: netcluster.1, netcluster-serve.1 and so on
    pub directory: PathBuf,
}

/// Writes a page for each command.
pub fn run(args: &ManArgs) -> Result<(), Failure> {
    let failed = |error| {
        Failure::other(format_args!("cannot write to {}: {error}", args.directory.display()))
    };
    fs::create_dir_all(&args.directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &args.directory).map_err(failed)
}
