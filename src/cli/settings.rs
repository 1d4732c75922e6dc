//! Settings of a broker, by the command line and by a file: one struct for
//! both, so that neither knows a setting that the other does not.
//!
//! Nothing has a default here: unset is unset, so that what is typed can win over
//! the file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::access::{AccessDefaultName, AccessSettings};
use super::link::{ChannelName, ChannelSettings, LinkSettings};
use super::log::LogFormat;
use super::metrics::MetricsAddress;
use super::values::{
    BackendName, LogFilter, Mode, NodeId, Period, SharedMemoryName, Size, SocketGroup,
};

/// File with every setting of a broker, but those of the link.
#[cfg(test)]
pub const EVERY_SETTING: &str = "
    socket = '/run/x.sock'
    socket-mode = '0600'
    socket-group = 7
    shards = 2
    pin = true
    backend = 'poll'
    shared-memory = 'off'
    spin-us = 20
    max-payload = '1MiB'
    max-queue = 3145728
    max-memory = '1GiB'
    max-clients = 10
    max-clients-per-user = 5
    max-patterns = 20
    stall-timeout = '1s'
    hello-timeout = '2s'
    drain-timeout = '3s'
    node-id = 'ff'
    access-default = 'deny'
    log = 'debug'
    log-format = 'json'
    metrics = '9464'
";

/// The settings of a broker.
#[derive(Clone, Debug, Default, Args, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Where clients connect [default: $NETCLUSTER_SOCKET, else default.sock in
    /// $RUNTIME_DIRECTORY, else /run/netcluster/default.sock for root, else
    /// $XDG_RUNTIME_DIR/netcluster/default.sock, else /tmp/netcluster-UID/default.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The socket's permissions: who may write to it may connect [default: 0660]
    #[arg(long, value_name = "OCTAL")]
    pub socket_mode: Option<Mode>,
    /// The socket's group, by name or number [default: the broker's]
    #[arg(long, value_name = "GROUP")]
    pub socket_group: Option<SocketGroup>,
    /// Threads that move events, 1 to 64 [default: one for two cores, at least one]
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,
    /// Pin each shard to a core of its own
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub pin: Option<bool>,
    /// How to talk to the system [default: auto]
    #[arg(long, value_name = "NAME")]
    pub backend: Option<BackendName>,
    /// Whether events go to and from clients of this machine by shared memory [default: auto]
    #[arg(long, value_name = "NAME")]
    pub shared_memory: Option<SharedMemoryName>,
    /// Busy-wait so many microseconds before sleeping, at most 50: lower latency for more CPU
    /// [default: 0]
    #[arg(long, value_name = "N")]
    pub spin_us: Option<u64>,
    /// The largest data of one event, at most 1GiB; with --link at most 64MiB [default: 2MiB]
    #[arg(long, value_name = "SIZE")]
    pub max_payload: Option<Size>,
    /// How much may wait for one client before the emitters that feed it pause [default: 8MiB, or
    /// four times --max-payload if that is more]
    #[arg(long, value_name = "SIZE")]
    pub max_queue: Option<Size>,
    /// How much memory clients may make the broker keep: queues, connections, patterns
    /// [default: a quarter of the machine's, or of the container's]
    #[arg(long, value_name = "SIZE")]
    pub max_memory: Option<Size>,
    /// The most connections at a time [default: 65536]
    #[arg(long, value_name = "N")]
    pub max_clients: Option<usize>,
    /// The most connections of one user, root and the broker's own excepted [default: half of
    /// --max-clients]
    #[arg(long, value_name = "N")]
    pub max_clients_per_user: Option<usize>,
    /// The most patterns that one client may listen to [default: 10000]
    #[arg(long, value_name = "N")]
    pub max_patterns: Option<usize>,
    /// A client whose full queue has not drained to half by then is disconnected [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub stall_timeout: Option<Period>,
    /// A connection that has not said hello by then is closed [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub hello_timeout: Option<Period>,
    /// How long ending waits for clients to read what is queued for them [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub drain_timeout: Option<Period>,
    /// This broker's number, in hexadecimal [default: random]
    #[arg(long, value_name = "HEX")]
    pub node_id: Option<NodeId>,
    /// What clients may do whom no access rule is for, a table [access.NAME] of the file: allow,
    /// everything; deny, nothing [default: allow]
    #[arg(long, value_name = "NAME")]
    pub access_default: Option<AccessDefaultName>,
    /// How much to log: off, error, warn, info, debug, trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<LogFilter>,
    /// How to log: text for people, json for programs; the journal of systemd gets priorities in
    /// both [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Serve /metrics for Prometheus, /healthz and /readyz here: PORT (of the loopback),
    /// ADDRESS:PORT or unix:PATH
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<MetricsAddress>,
    /// The link; its table in the file turns it on.
    // The last one: its heading in the help would hold for what follows.
    #[command(flatten)]
    #[serde(deserialize_with = "LinkSettings::table")]
    pub link: LinkSettings,
    /// Settings of single channels, which only a file has.
    #[arg(skip)]
    pub channels: BTreeMap<ChannelName, ChannelSettings>,
    /// Access rules, which only a file has.
    #[arg(skip)]
    pub access: BTreeMap<String, AccessSettings>,
}

impl Settings {
    /// Takes the newer settings where a reload changes them, and these for the rest.
    pub fn with_live(self, newer: Settings) -> Settings {
        let mut link = self.link;
        // A link is neither opened nor closed while it runs.
        if link.address.is_some() {
            link.peer = newer.link.peer;
            link.expect_peer = newer.link.expect_peer;
            if link.key_file.is_empty() == newer.link.key_file.is_empty() {
                link.key_file = newer.link.key_file;
            }
        }
        Settings {
            spin_us: newer.spin_us,
            max_queue: newer.max_queue,
            max_memory: newer.max_memory,
            max_clients: newer.max_clients,
            max_clients_per_user: newer.max_clients_per_user,
            max_patterns: newer.max_patterns,
            stall_timeout: newer.stall_timeout,
            hello_timeout: newer.hello_timeout,
            drain_timeout: newer.drain_timeout,
            access_default: newer.access_default,
            log: newer.log,
            link,
            channels: newer.channels,
            access: newer.access,
            ..self
        }
    }

    /// Takes these settings, and where they are unset, the others.
    pub fn or(self, other: Settings) -> Settings {
        Settings {
            socket: self.socket.or(other.socket),
            socket_mode: self.socket_mode.or(other.socket_mode),
            socket_group: self.socket_group.or(other.socket_group),
            shards: self.shards.or(other.shards),
            pin: self.pin.or(other.pin),
            backend: self.backend.or(other.backend),
            shared_memory: self.shared_memory.or(other.shared_memory),
            spin_us: self.spin_us.or(other.spin_us),
            max_payload: self.max_payload.or(other.max_payload),
            max_queue: self.max_queue.or(other.max_queue),
            max_memory: self.max_memory.or(other.max_memory),
            max_clients: self.max_clients.or(other.max_clients),
            max_clients_per_user: self.max_clients_per_user.or(other.max_clients_per_user),
            max_patterns: self.max_patterns.or(other.max_patterns),
            stall_timeout: self.stall_timeout.or(other.stall_timeout),
            hello_timeout: self.hello_timeout.or(other.hello_timeout),
            drain_timeout: self.drain_timeout.or(other.drain_timeout),
            node_id: self.node_id.or(other.node_id),
            access_default: self.access_default.or(other.access_default),
            log: self.log.or(other.log),
            log_format: self.log_format.or(other.log_format),
            metrics: self.metrics.or(other.metrics),
            link: self.link.or(other.link),
            channels: if self.channels.is_empty() { other.channels } else { self.channels },
            access: if self.access.is_empty() { other.access } else { self.access },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::config::keys::{self, Change};
    use super::*;
    use crate::cli::args::{Cli, Command};

    fn typed(arguments: &[&str]) -> Settings {
        let all = ["netcluster", "serve"].iter().chain(arguments);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Serve(args) => args.settings,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn file_and_command_line_mean_the_same() {
        let line = "--socket /run/x.sock --socket-mode 0600 --socket-group 7 --shards 2 --pin \
            --backend poll --shared-memory off --spin-us 20 --max-payload 1MiB --max-queue 3MiB --max-memory 1GiB \
            --max-clients 10 --max-clients-per-user 5 --max-patterns 20 --stall-timeout 1s --hello-timeout 2s --drain-timeout 3s \
            --node-id 0xff --access-default deny --log debug --log-format json --metrics 127.0.0.1:9464";
        let line: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(toml::from_str(EVERY_SETTING), Ok(typed(&line)));
        // Nothing was forgotten in the merge either.
        assert_eq!(Settings::default().or(typed(&line)), typed(&line));
    }

    #[test]
    fn what_a_reload_changes_is_taken_of_the_newer_ones() {
        let newer: Settings = toml::from_str(EVERY_SETTING).unwrap();
        let table = toml::Table::try_from(Settings::default().with_live(newer)).unwrap();
        let live = keys::all().iter().filter(|key| key.change == Change::Live);
        let live = live.filter(|key| key.table == keys::Table::Broker).map(|key| key.name);
        let taken = table.iter().filter(|(_, value)| !value.is_table());
        let (mut live, mut taken): (Vec<_>, Vec<_>) =
            (live.collect(), taken.map(|(name, _)| name.as_str()).collect());
        live.sort_unstable();
        taken.sort_unstable();
        assert_eq!(taken, live);

        let link = |text: &str| -> Settings { toml::from_str(text).unwrap() };
        let before = link("[link]\nkey-file = 'a'\npeer = 'x:1'\nttl = 3");
        let after = before.clone().with_live(link("[link]\nkey-file = ['a', 'b']\nttl = 4"));
        assert_eq!((after.link.key_file.len(), after.link.peer.len()), (2, 0));
        assert_eq!(after.link.ttl, Some(3));
        assert_eq!(before.clone().with_live(link("[link]")).link.key_file.len(), 1);
        let alone = Settings::default().with_live(before);
        assert_eq!(alone.link, Settings::default().link);
    }

    #[test]
    fn what_is_typed_wins() {
        let file = toml::from_str("shards = 2\npin = true\nbackend = 'poll'").unwrap();
        let both = typed(&["--shards", "1", "--pin=false"]).or(file);
        assert_eq!((both.shards, both.pin), (Some(1), Some(false)));
        assert_eq!(both.backend, Some(BackendName::Poll));
    }
}
