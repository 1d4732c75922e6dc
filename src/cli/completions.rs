//! `netcluster completions`.

use std::io::{self, Write};

use clap::CommandFactory;

use super::args::{Cli, CompletionsArgs};
use super::failure::Failure;

/// Prints the script of a shell.
pub fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    // Into memory first: the generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "netcluster", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script).and_then(|()| out.flush()).or_else(|error| Failure::output(&error))
}
