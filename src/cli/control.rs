//! `netcluster kick`, `drain`, `log-level` and `reload`: what whoever runs a broker asks of
//! it while it runs.

use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use netcluster_client::{Client, DisconnectReason, Lifecycle, Reconnect};
use netcluster_wire::escape;
use serde_json::{Value, json};

use super::args::SocketArgs;
use super::failure::Failure;
use super::output::notice;
use super::status::{print, unreadable};
use super::values::{self, LogFilter};

const KICK_EXAMPLES: &str = "\
Only root and the broker's own user may do that. A client that comes back by itself, as those of
the libraries do, is a new one: to keep it away end its process.

Examples:
  netcluster clients                    numbers and processes
  netcluster kick 12
  netcluster kick --pid 4711 --reason 'floods the channel'";

const DRAIN_EXAMPLES: &str = "\
Only root and the broker's own user may do that. Clients are told first, nobody more can connect;
after the notice the broker ends as by SIGTERM (clients get what is queued for them and a goodbye),
with exit code 0. It expects no successor: a broker that is started later waits for nobody.

Examples:
  netcluster drain
  netcluster drain --notice 30s";

const LOG_LEVEL_EXAMPLES: &str = "\
Everybody who can connect may ask, only root and the broker's own user may change it. It is
forgotten when the broker ends; --log of `serve` is for good.

Examples:
  netcluster log-level
  netcluster log-level debug
  netcluster log-level netcluster=debug,netcluster_link=trace";

const RELOAD_EXAMPLES: &str = "\
Only root and the broker's own user may do that. Connections stay. A configuration with an error
changes nothing.

Example:
  netcluster reload";

/// `netcluster kick`.
#[derive(Debug, Args)]
#[command(after_help = KICK_EXAMPLES)]
pub struct KickArgs {
    /// Number of the client, as `status` shows it
    #[arg(required_unless_present = "pid", conflicts_with = "pid")]
    pub client: Option<u32>,
    /// All clients of this process
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Reason that they are told
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// `netcluster drain`.
#[derive(Debug, Args)]
#[command(after_help = DRAIN_EXAMPLES)]
pub struct DrainArgs {
    /// Time between telling the clients and the end
    #[arg(long, value_name = "DURATION", value_parser = values::duration, default_value = "0s")]
    pub notice: Duration,
    /// Return at once instead of waiting for the end
    #[arg(long)]
    pub no_wait: bool,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// `netcluster log-level`.
#[derive(Debug, Args)]
#[command(after_help = LOG_LEVEL_EXAMPLES)]
pub struct LogLevelArgs {
    /// What to log from now on: off, error, warn, info, debug, trace, or directives by module;
    /// without it the present one is printed
    pub level: Option<LogFilter>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// `netcluster reload`.
#[derive(Debug, Args)]
#[command(after_help = RELOAD_EXAMPLES)]
pub struct ReloadArgs {
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// Connects to the broker, not to listen to anything.
pub fn connect(name: &str, socket: &SocketArgs) -> Result<Client, Failure> {
    let builder = Client::builder().name(name).reconnect(Reconnect::Never).max_payload(0);
    socket.connect(builder).map_err(|failure| match socket.listening() {
        Some((path, pid)) => {
            failure.note(format_args!("the broker at {} is pid {pid}", path.display()))
        }
        None => failure,
    })
}

/// Asks the broker something, and gives its answer.
pub fn ask(client: &Client, request: &Value) -> Result<Value, Failure> {
    serde_json::from_str(&client.control(&request.to_string())?).map_err(unreadable)
}

/// Disconnects clients.
pub fn kick(args: &KickArgs) -> Result<(), Failure> {
    let mut request = json!({ "do": "kick" });
    let KickArgs { client, pid, reason, .. } = args;
    if let Some(client) = client {
        request["client"] = json!(client);
    }
    if let Some(pid) = pid {
        request["pid"] = json!(pid);
    }
    if let Some(reason) = reason {
        request["reason"] = json!(reason);
    }
    let answer = ask(&connect("netcluster kick", &args.socket)?, &request)?;
    show(args.json, &answer, |answer| match answer["kicked"].as_u64() {
        Some(1) => "disconnected 1 client".to_owned(),
        many => format!("disconnected {} clients", many.unwrap_or(0)),
    })
}

/// Ends the broker, after its clients were told.
pub fn drain(args: &DrainArgs) -> Result<(), Failure> {
    let client = connect("netcluster drain", &args.socket)?;
    let (sender, ended) = mpsc::channel();
    client.on_lifecycle(move |event| {
        if let Lifecycle::Disconnect { reason, .. } = event {
            // Who asked waits no more, if nobody takes it.
            let _ = sender.send(reason.clone());
        }
    });
    let answer =
        ask(&client, &json!({ "do": "drain", "notice_ms": args.notice.as_millis() as u64 }))?;
    if args.json {
        show(true, &answer, |_| String::new())?;
    }
    if args.no_wait {
        return Ok(());
    }
    match ended.recv() {
        Ok(DisconnectReason::BrokerShutDown) | Err(_) => {
            if !args.json {
                print("the broker has ended\n")?;
            }
            Ok(())
        }
        Ok(reason) => Err(Failure::other(format_args!("it may not have ended in order: {reason}"))),
    }
}

/// Tells or changes what the broker logs.
pub fn log_level(args: &LogLevelArgs) -> Result<(), Failure> {
    let mut request = json!({ "do": "log-level" });
    if let Some(level) = &args.level {
        request["level"] = json!(level.0);
    }
    let answer = ask(&connect("netcluster log-level", &args.socket)?, &request)?;
    show(args.json, &answer, |answer| answer["level"].as_str().unwrap_or_default().to_owned())
}

/// Has the broker read its configuration anew.
pub fn reload(args: &ReloadArgs) -> Result<(), Failure> {
    let answer = ask(&connect("netcluster reload", &args.socket)?, &json!({ "do": "reload" }))?;
    let words = |list: &Value| {
        let names = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        names.collect::<Vec<_>>().join(", ")
    };
    let restart = words(&answer["needs_restart"]);
    if !restart.is_empty() {
        notice(format_args!("warning: changed in the file, but needs a restart: {restart}"));
    }
    show(args.json, &answer, |answer| match words(&answer["changed"]) {
        none if none.is_empty() => "nothing changed".to_owned(),
        changed => format!("changed: {changed}"),
    })
}

/// Prints an answer as JSON or in words.
fn show(json: bool, answer: &Value, words: impl Fn(&Value) -> String) -> Result<(), Failure> {
    let text = if json { escape::json(&answer.to_string()).into_owned() } else { words(answer) };
    print(&format!("{text}\n"))
}
