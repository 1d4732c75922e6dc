//! The client of a command that listens: what `on` and `record` have in common.

use clap::{Args, ValueEnum};
use netcluster_client::{Client, ClientBuilder, QueuePolicy};
use netcluster_wire::Pattern;

use super::args::SocketArgs;
use super::failure::Failure;
use super::render::escaped;
use super::values::Channel;

/// Client that listens.
#[derive(Debug, Args)]
pub struct ListenerArgs {
    /// What happens when events come faster than they are printed or recorded [default:
    /// backpressure for `on`, latest for `record`]
    #[arg(long)]
    pub queue: Option<Queue>,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Only clients of the same channel hear each other
    #[arg(long, default_value = "default")]
    pub channel: Channel,
    /// Do not tell on standard error when it begins or ends, and what came of it
    #[arg(long, short)]
    pub quiet: bool,
}

/// Policy of the broker for a listener that falls behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Queue {
    /// Emitters wait
    #[value(alias = "pace")]
    Backpressure,
    /// The oldest events are lost, which is told; nobody waits
    Latest,
}

impl ListenerArgs {
    /// Returns a builder of this client.
    pub fn builder(&self, name: &str, queue: Queue) -> ClientBuilder {
        let builder = Client::builder().channel(&self.channel.0).name(name);
        match queue {
            Queue::Latest => builder.queue(QueuePolicy::Latest),
            Queue::Backpressure => builder,
        }
    }

    /// Returns what it listens to, and where, for people.
    pub fn place(&self, patterns: &[String], client: &Client) -> String {
        let patterns: Vec<String> = patterns.iter().map(|pattern| escaped(pattern)).collect();
        let (channel, socket) = (escaped(&self.channel.0), client.socket().display());
        format!("{} on channel {channel} of {socket}", patterns.join(" "))
    }
}

/// Checks patterns before there is a broker, so that a mistake is told even without one.
///
/// # Errors
/// What is wrong with the first bad one.
pub fn check(patterns: &[String]) -> Result<Vec<Pattern>, Failure> {
    let check = |text: &String| {
        Pattern::new(text.as_bytes()).map_err(|error| {
            Failure::usage(format_args!("pattern `{}` refused: {error}", escaped(text)))
        })
    };
    patterns.iter().map(check).collect()
}
