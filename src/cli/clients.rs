//! `netcluster clients` and `channels`: lists, page by page, so that the broker never says
//! all of a long one at once.

use clap::{Args, ValueEnum};
use netcluster::status::{ChannelStatus, ClientStatus};
use netcluster_client::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::args::SocketArgs;
use super::control::{ask, connect};
use super::failure::Failure;
use super::page::terminal_chars;
use super::status::{self, pretty, print, unreadable};

/// Clients of one page.
const PAGE: usize = 500;

const CLIENTS_EXAMPLES: &str = "\
Columns:
  IN, OUT        events that the client emitted, and that were queued to it
  QUEUED, OF     bytes in its queue, and how many it may have before its emitters wait
  DROPPED        events that it lost, as `--queue latest` asks for

Examples:
  netcluster clients
  netcluster clients --by queued-bytes --limit 10         the slowest listeners
  netcluster clients --json | jq '.clients[] | select(.state == \"full\").pid'";

const CHANNELS_EXAMPLES: &str = "\
Those with the most clients first.

Examples:
  netcluster channels
  netcluster channels --limit 10 --json";

/// `netcluster clients`.
#[derive(Debug, Args)]
#[command(after_help = CLIENTS_EXAMPLES)]
pub struct ClientsArgs {
    /// Order
    #[arg(long, default_value = "client")]
    pub by: By,
    /// Show at most so many [default: all; 100 if they are ordered by something else than their
    /// numbers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// `netcluster channels`.
#[derive(Debug, Args)]
#[command(after_help = CHANNELS_EXAMPLES)]
pub struct ChannelsArgs {
    /// Show at most so many
    #[arg(long, value_name = "N", default_value = "1000",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// Order of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Their numbers
    Client,
    /// Bytes in their queues, most first
    QueuedBytes,
    /// Events that they emitted, most first
    EventsIn,
    /// Events queued to them, most first
    EventsOut,
    /// Events that they lost, most first
    Dropped,
}

impl By {
    /// The name in a request.
    pub fn name(self) -> &'static str {
        match self {
            By::Client => "client",
            By::QueuedBytes => "queued_bytes",
            By::EventsIn => "events_in",
            By::EventsOut => "events_out",
            By::Dropped => "dropped",
        }
    }
}

/// A page of clients.
#[derive(Debug, Default, Deserialize)]
pub struct ClientsPage {
    /// The clients.
    pub clients: Vec<ClientStatus>,
    /// Number of those that were not listed.
    pub omitted: u64,
}

/// A list of channels.
#[derive(Debug, Default, Deserialize)]
pub struct ChannelsPage {
    /// The channels.
    pub channels: Vec<ChannelStatus>,
    /// Number of those that were not listed.
    pub omitted: u64,
}

/// Asks for a page of clients, as it is said.
pub fn clients_page(client: &Client, by: By, limit: usize, after: u32) -> Result<Value, Failure> {
    let request = json!({ "do": "clients", "by": by.name(), "limit": limit, "after": after });
    ask(client, &request)
}

/// Prints clients.
pub fn clients(args: &ClientsArgs) -> Result<(), Failure> {
    let client = connect("netcluster clients", &args.socket)?;
    let limit = args.limit.map_or(usize::MAX, |limit| limit as usize);
    let (mut listed, mut after, omitted) = (Vec::new(), 0, 0);
    let mut whole = json!({ "omitted": omitted });
    loop {
        let room = (limit - listed.len()).min(if args.by == By::Client { PAGE } else { 1000 });
        let room = if args.limit.is_none() && args.by != By::Client { 100 } else { room };
        let mut page = clients_page(&client, args.by, room, after)?;
        if let Some(clients) = page["clients"].as_array_mut() {
            listed.append(clients);
        }
        for key in ["schema", "omitted"] {
            whole[key] = page[key].take();
        }
        match page["next"].as_u64().and_then(|next| u32::try_from(next).ok()) {
            Some(next) if listed.len() < limit => after = next,
            _ => break,
        }
    }
    whole["clients"] = Value::Array(listed);
    if args.json {
        return print(&pretty(&whole)?);
    }
    let page: ClientsPage = serde_json::from_value(whole).map_err(unreadable)?;
    print(&status::clients(&page.clients, page.omitted).fit(terminal_chars()))
}

/// Prints channels.
pub fn channels(args: &ChannelsArgs) -> Result<(), Failure> {
    let client = connect("netcluster channels", &args.socket)?;
    let answer = ask(&client, &json!({ "do": "channels", "limit": args.limit }))?;
    if args.json {
        return print(&pretty(&answer)?);
    }
    let page: ChannelsPage = serde_json::from_value(answer).map_err(unreadable)?;
    print(&status::channels(&page.channels, page.omitted).fit(terminal_chars()))
}
