//! `agent`: what was typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Port at which agents listen.
pub const PORT: u16 = 4456;

/// Arguments of `agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Where coordinators connect; beyond loopback a token is needed
    #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::from(([127, 0, 0, 1], PORT)))]
    pub listen: SocketAddr,
    /// A file with a secret that coordinators must have too
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Broker and socket of the machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// End when standard input does
    #[arg(long, hide = true)]
    pub until_eof: bool,
}

/// Arguments that belong to the machine, not to the scenario.
#[derive(Clone, Debug, Default, Args)]
pub struct MachineArgs {
    /// The broker's program [default: `netcluster` beside this one]
    #[arg(long, value_name = "PATH")]
    pub broker: Option<PathBuf>,
    /// The broker to attach to where the scenario starts none [default: the machine's]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The network interface of the link [default: the one with a route]
    #[arg(long, value_name = "NAME|ADDR")]
    pub interface: Option<String>,
}
