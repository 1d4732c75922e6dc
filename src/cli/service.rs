//! `netcluster service`: the broker as a service of the system.
//!
//! On Windows it is registered with the service manager, which starts it with the
//! machine. Elsewhere the system's own service manager does without us, and the
//! command says how. Each kind of system has its sibling, which supplies `install`,
//! `uninstall` and `run`.

#[cfg(not(windows))]
mod elsewhere;
#[cfg(any(windows, test))]
mod log_file;
#[cfg(windows)]
mod windows;

#[cfg(not(windows))]
use elsewhere as system;
#[cfg(windows)]
use windows as system;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::Failure;

const EXAMPLES: &str = "\
Windows, as an administrator:
  netcluster service install
  net start netcluster
  net stop netcluster             clients get what is queued for them and a goodbye
  netcluster service uninstall

The service runs as LocalService. It reads its settings from
%ProgramData%\\netcluster\\netcluster.toml, if there is such a file, and writes its log beside
it, to netcluster.log. To let all users connect, not administrators alone, say there

  socket-group = \"Users\"

Elsewhere the broker is an ordinary program for the system's service manager: units for systemd
are in contrib/systemd, and in the Debian package.";

/// `netcluster service`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServiceArgs {
    /// Command to carry out.
    #[command(subcommand)]
    pub command: ServiceCommand,
}

/// Commands of `netcluster service`.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Have the system start a broker with the machine
    Install(ConfigArgs),
    /// Stop the service and remove it
    Uninstall,
    /// Run as the service: what the system's service manager calls
    Run(ConfigArgs),
}

/// Place of the service's settings.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Read settings from this TOML file [default: %ProgramData%\netcluster\netcluster.toml, if
    /// it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Runs one of them.
pub fn run(args: ServiceArgs) -> Result<(), Failure> {
    match args.command {
        ServiceCommand::Install(args) => system::install(args.config),
        ServiceCommand::Uninstall => system::uninstall(),
        ServiceCommand::Run(args) => system::run(args.config),
    }
}
