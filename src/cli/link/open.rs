//! `netcluster link open`: links a broker that runs to other machines.

use std::path::PathBuf;

use clap::Args;
use netcluster::internals::encode_link_request;
use netcluster_client::Client;
use netcluster_link::options::{DEFAULT_GROUP, MAX_LINK_PAYLOAD_BYTES};

use super::settings::{LinkSettings, link_options};
use super::values::LinkAddress;
use crate::cli::args::SocketArgs;
use crate::cli::config::sources;
use crate::cli::failure::Failure;
use crate::cli::output::notice;
use crate::cli::settings::Settings;

const EXAMPLES: &str = "\
Only root and the broker's own user may do that. Clients stay connected: what they listen to is
told to the other machines, and what they emit goes there from now on. A link that is open stays
as it is until the broker ends, but for keys and peers: asked again, with other ones and else the
same settings, it has those.

Examples:
  netcluster link open
  netcluster link open --link 239.1.2.3:5000 --cluster office --key-file /etc/netcluster/key";

/// `netcluster link open`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct OpenArgs {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
    /// The link; its address has a default here.
    #[command(flatten)]
    pub link: LinkSettings,
}

/// Asks the broker, and waits until its link is open.
pub fn run(args: &OpenArgs) -> Result<(), Failure> {
    let typed = Settings { link: args.link.clone(), ..Settings::default() };
    let mut loaded = sources::load(typed, args.config.as_deref())?;
    let settings = &mut loaded.settings;
    settings.link.address.get_or_insert(LinkAddress(DEFAULT_GROUP));
    let mut warnings = Vec::new();
    // The broker knows its own limit of payloads.
    let options = link_options(settings, MAX_LINK_PAYLOAD_BYTES, &mut warnings)?
        .ok_or_else(|| Failure::usage("the link has no address"))?;
    let request = encode_link_request(&options).map_err(Failure::usage)?;
    let client = args.socket.connect(Client::builder().name("netcluster link open"))?;
    client.control(&request)?;
    client.disconnect()?;
    for warning in warnings {
        notice(format_args!("warning: {warning}"));
    }
    Ok(())
}
