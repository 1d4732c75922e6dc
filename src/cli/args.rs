//! Arguments of the command line. Nothing here decides what they mean.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use netcluster_client::{Client, ClientBuilder, default_socket_paths};
use netcluster_platform::listening_pid;

use super::clients::{ChannelsArgs, ClientsArgs};
use super::cluster::ClusterArgs;
use super::config::ConfigArgs;
use super::control::{DrainArgs, KickArgs, LogLevelArgs, ReloadArgs};
use super::failure::Failure;
use super::link::LinkArgs;
use super::listener::ListenerArgs;
use super::man::ManArgs;
use super::record::RecordArgs;
use super::replay::ReplayArgs;
use super::service::ServiceArgs;
use super::settings::Settings;
#[cfg(feature = "top")]
use super::top::TopArgs;
use super::values::{self, Channel};

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked; also when ended by Ctrl-C with nothing left undone, or because nobody reads the
     output; an `emit` or `demo` that is interrupted ends by the signal (130 in a shell)
  1  it failed
  2  the command line or the configuration is wrong
  3  no broker answers, or the connection to it ended
  4  `on --timeout` ended before as many events came as `--count` asked for
  5  `serve`: a broker runs already on that socket

A minute's tour:
  netcluster demo                 see events flow, all in one command
  netcluster serve                start a broker
  netcluster on 'log.**'          listen (in another terminal)
  netcluster emit log.web hello   emit (in a third)
  netcluster status               see who is connected
  netcluster peers                see the brokers of other machines";

const SERVE_EXAMPLES: &str = "\
Sizes are bytes or a number with KiB, MiB or GiB; durations a number with us, ms, s, min or h.
All settings may be in the file too, by the same names, in TOML; `netcluster config init` writes
one that explains them:

  socket = \"/run/netcluster/default.sock\"
  socket-group = \"events\"
  shards = 2
  max-memory = \"2GiB\"
  stall-timeout = \"5s\"

  [link]                              # that it is there turns the link on
  address = \"239.255.44.54:4454\"      # --link
  key-file = \"/etc/netcluster/key\"
  peer = [\"db1\", \"db2:4454\"]

  [channels.orders]
  pressure = \"cluster\"                # --cluster-pressure orders

What is typed wins over the environment (NETCLUSTER_SHARDS=2, and so on), that over the file.
SIGHUP and `netcluster reload` read all of it again, and nobody is disconnected.

SIGTERM, SIGINT and the end of its terminal (but not under nohup) end the broker in order:
clients get what is queued for them and a goodbye, the socket is removed. A second signal ends it
at once.

Examples:
  netcluster serve
  netcluster serve --socket /tmp/events.sock --socket-mode 0600
  netcluster serve --config /etc/netcluster.toml --log debug
  netcluster serve --link --cluster office --key-file /etc/netcluster/key
  netcluster serve --print-ready --die-with-parent    by a program that needs one
  netcluster serve --takeover --background            another version in the place of this one";

const EMIT_EXAMPLES: &str = "\
It ends when the broker has queued the events for all their listeners. While it reads lines it
outlives brokers: it says when the connection breaks, goes on when it is back, and fails at the
end if events were on their way. At the end it waits for a broker that is gone only with --wait.

Ctrl-C ends the lines: what was read still arrives if that takes no more than a second. Else, and
before a broker answers, it says what may not have arrived, and ends by the signal.

Data and lines are emitted as text (what is not UTF-8 as bytes), with --json as JSON, files as
bytes: listeners in other languages get a string, a value or bytes.

Examples:
  netcluster emit log 'disk full'
  netcluster emit sensor.cpu '{\"percent\": 12}' --json
  netcluster emit image --file cat.png
  tail -f app.log | netcluster emit log.app";

const ON_EXAMPLES: &str = "\
Patterns: `*` stands for one token between dots, `**` for any number of them, also none. An
event that matches several patterns is printed once. Wildcards of other systems (`log.>`,
`log.#`, `log/+`, `log*`) are refused.

Formats:
  text   the event's name and its data; control characters and what is not UTF-8 escaped
  json   one object a line: event, source {node, client}, sequence, encoding (text, json or
         bytes), and data (a string, or the value), or data_base64 if it is bytes
  raw    the data as it is, and a newline

It stays when the broker goes, and listens again when it is back; notices are on standard
error.

Examples:
  netcluster on log
  netcluster on 'sensor.*' 'alarm.**' --format json
  netcluster on job.done --count 1 --timeout 30s";

const STATUS_EXAMPLES: &str = "\
Of very many clients and channels it has those with the longest queues and the most clients;
`netcluster clients` and `channels` have all.

Columns of clients:
  LISTENERS         patterns that it listens to
  IN, OUT           events that it emitted, and that it was sent
  QUEUED, OF        what waits to be sent to it, and how much of that makes its emitters wait
  DROPPED           events that it lost because it is a `latest` listener
  STATE             what it does, and whom it waits for

Columns of shards, which are the broker's threads, since it began:
  BUFFERS, OF SIZE  buffers that it receives into, and the size of each
  PINNED            of these, those that hold events which wait to be sent
  STARVED           times that receiving stopped because all were pinned
  SYSCALLS          system calls
  RECEIVES, SENDS   receives from clients, and sends to them
  BLOCKED           sends that a client's socket took only in part: it does not keep up

Examples:
  netcluster status
  netcluster status --totals --json | jq .totals.events_in_per_s
  netcluster status --json | jq '.clients[] | select(.queued_bytes > 0)'";

const PEERS_EXAMPLES: &str = "\
Columns, since the peer was found:
  SENT, RECEIVED    datagrams: sent to it alone, and from it; what goes to all is in `status`
  REPAIRED, LOST    datagrams sent to it again; events from it that are lost for good
  NAKS IN, OUT      requests for repairs, by it and to it
  GROUPS            how many it wants to hear
  MISSING           datagrams of it that are waited for

Examples:
  netcluster peers
  netcluster peers --json | jq '.link.peers[].round_trip_us'
  netcluster link check           when somebody is missing";

/// An event bus for the processes of a machine.
///
/// Every machine runs one broker. Processes connect to its socket, emit events and listen to
/// events by name.
#[derive(Debug, Parser)]
#[command(name = "netcluster", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// Command to carry out.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker
    Serve(Box<ServeArgs>),
    /// Emit an event, or one for each line of standard input
    Emit(EmitArgs),
    /// Print the events that match a pattern
    On(OnArgs),
    /// Record events into MCAP files
    Record(RecordArgs),
    /// Emit what was recorded
    Replay(ReplayArgs),
    /// Show what the broker does
    Status(StatusArgs),
    /// Show who is connected
    Clients(ClientsArgs),
    /// Show the channels
    Channels(ChannelsArgs),
    /// Show the brokers of other machines
    Peers(PeersArgs),
    /// Show all machines, and who of those that are expected is missing
    Cluster(ClusterArgs),
    /// Watch a broker at work, on a terminal
    #[cfg(feature = "top")]
    Top(TopArgs),
    /// Disconnect a client
    Kick(KickArgs),
    /// Tell the clients that the broker will end, and end it
    Drain(DrainArgs),
    /// Show or change what the broker logs
    LogLevel(LogLevelArgs),
    /// Have the broker read its configuration anew
    Reload(ReloadArgs),
    /// Prepare the link to other machines, and try it
    Link(LinkArgs),
    /// Make, check or show the configuration of a broker
    Config(ConfigArgs),
    /// Run a broker as a service of the system (Windows)
    Service(ServiceArgs),
    /// See events flow: a broker, a listener and an emitter, ending by itself in seconds
    Demo(DemoArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Write the manual pages
    Man(ManArgs),
}

/// `netcluster serve`.
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    /// Read settings from this TOML file [default: $NETCLUSTER_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the settings, say what is wrong with them, and end
    #[arg(long)]
    pub check: bool,
    /// Take the place of the broker that runs at the socket, without a gap: clients go on with
    /// this one and lose nothing. If this one cannot start, that one goes on
    #[arg(long)]
    pub takeover: bool,
    /// Return once clients can connect, and go on in the background
    #[arg(long)]
    pub background: bool,
    /// Print one line of JSON on standard output when clients can connect: ready, pid, socket,
    /// node, version
    #[arg(long)]
    pub print_ready: bool,
    /// End in order when the process that started this one has ended; with its PID also if that
    /// was before this one began (Windows: when standard input ends)
    #[arg(long, value_name = "PID", num_args = 0..=1, require_equals = true,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub die_with_parent: Option<Option<u32>>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// Way to the broker.
#[derive(Debug, Args)]
pub struct SocketArgs {
    /// The broker's socket [default: $NETCLUSTER_SOCKET if it is set, else the user's own,
    /// $XDG_RUNTIME_DIR/netcluster/default.sock or /tmp/netcluster-UID/default.sock, else the
    /// system's, /run/netcluster/default.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Wait so long for a broker that is not there yet, for example 500ms, 0.5s or 2min
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub wait: Option<Duration>,
}

impl SocketArgs {
    /// Finds the first of the sockets that are tried at which a process listens, whether
    /// it
    /// answers or not, and that process.
    pub fn listening(&self) -> Option<(PathBuf, u32)> {
        let paths = self.socket.clone().map_or_else(default_socket_paths, |socket| vec![socket]);
        paths.into_iter().find_map(|path| listening_pid(&path).map(|pid| (path, pid)))
    }

    /// Connects.
    pub fn connect(&self, builder: ClientBuilder) -> Result<Client, Failure> {
        let builder = builder.wait_for_broker(self.wait.unwrap_or_default());
        let client = match &self.socket {
            Some(socket) => builder.connect(socket),
            None => builder.connect_default(),
        };
        Ok(client?)
    }
}

/// `netcluster emit`.
#[derive(Debug, Args)]
#[command(after_help = EMIT_EXAMPLES)]
pub struct EmitArgs {
    /// The event's name: tokens with dots between, 255 bytes at most
    pub event: String,
    /// The data; without it, each line of standard input is the data of one event
    pub data: Option<String>,
    /// Emit this file as it is, as one event of bytes; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub file: Option<PathBuf>,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Only clients of the same channel hear each other
    #[arg(long, default_value = "default")]
    pub channel: Channel,
    /// Check that the data (each line) is JSON, and emit it in compact form
    #[arg(long)]
    pub json: bool,
    /// Print how many clients of this machine get each event, and to how many other brokers
    /// its channel goes
    #[arg(long, short)]
    pub verbose: bool,
}

/// `netcluster on`.
#[derive(Debug, Args)]
#[command(after_help = ON_EXAMPLES)]
pub struct OnArgs {
    /// What to listen to: names, in which `*` is any token and `**` any number of them
    #[arg(required = true, value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after this time, for example 500ms, 5s or 2min
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub timeout: Option<Duration>,
    /// Say that listening began only when the brokers of all machines know of it, and fail if
    /// they do not within this time
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub wait_cluster: Option<Duration>,
    /// How to print events
    #[arg(long, default_value = "text")]
    pub format: Format,
    /// The client.
    #[command(flatten)]
    pub listener: ListenerArgs,
}

/// Format in which `on` prints events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The name and the data, readable
    Text,
    /// One JSON object a line
    Json,
    /// The data alone, as it is
    Raw,
}

/// `netcluster status`.
#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub struct StatusArgs {
    /// Print everything, as JSON
    #[arg(long)]
    pub json: bool,
    /// Leave out clients and channels, which are the longer the more there are
    #[arg(long)]
    pub totals: bool,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// `netcluster peers`.
#[derive(Debug, Args)]
#[command(after_help = PEERS_EXAMPLES)]
pub struct PeersArgs {
    /// Print everything about the link, as JSON
    #[arg(long)]
    pub json: bool,
    /// Also print each stream by itself
    #[arg(long, short, conflicts_with = "json")]
    pub verbose: bool,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// `netcluster demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How to talk to the system [default: auto]
    #[arg(long)]
    pub backend: Option<values::BackendName>,
}

/// `netcluster completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netcluster completions bash > /etc/bash_completion.d/netcluster
  netcluster completions zsh > \"${fpath[1]}/_netcluster\"
  netcluster completions fish > ~/.config/fish/completions/netcluster.fish")]
pub struct CompletionsArgs {
    /// Which one
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
