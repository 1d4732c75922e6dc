//! `netcluster serve`: from settings to a running broker, until it is told to end. The
//! service does the same with another log and another way to be told.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use netcluster::broker::{Broker, BrokerOptions, Shutdown, StartError};
use netcluster::config::{ShardConfig, default_max_queue_bytes};
use netcluster::log::LogCounts;
use netcluster::population::MAX_TOLD;
use netcluster_client::{SOCKET_VARIABLE, default_socket_paths};
use netcluster_platform::{BackendChoice, BindOptions, listening_pid, raise_descriptor_limit};

use super::args::ServeArgs;
use super::failure::Failure;
use super::link::link_options;
use super::log;
use super::settings::Settings;
use super::signals;
use super::values::Size;

/// The variable in which a service manager names the directory that it made.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// Descriptors that are not for clients: what the shards and the link use, and who is told
/// that there are too many.
const OWN_DESCRIPTORS: usize = 128 + MAX_TOLD;

/// Runs a broker until it is asked to end.
pub fn run(args: Box<ServeArgs>) -> Result<(), Failure> {
    let ServeArgs { config, settings } = *args;
    let settings = match config {
        Some(path) => settings.or(Settings::read(&path)?),
        None => settings,
    };
    let counts = log::start(settings.log.as_ref(), None)?;
    let serving = Serving::start(settings, counts)?;
    let shutdown = serving.shutdown();
    signals::on_first(move || {
        tracing::info!("shutting down; another signal ends at once");
        shutdown.request();
    })?;
    serving.join()
}

/// A broker that clients can connect to.
pub struct Serving {
    broker: Broker,
    node: u32,
}

impl Serving {
    /// Starts it; `counts` are those of the log.
    pub fn start(settings: Settings, counts: Arc<LogCounts>) -> Result<Serving, Failure> {
        let mut warnings = Vec::new();
        let is_default = settings.max_clients.is_none();
        let mut options = meaning(settings, &mut warnings)?;
        options.log = counts;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let node = options.shard.node;
        match raise_descriptor_limit() {
            Ok(limit) => fit_clients(&mut options.shard.max_clients, limit, is_default),
            Err(error) => tracing::warn!(%error, "cannot raise the limit of open descriptors"),
        }
        warn_of_two_buses(&options.socket);
        let broker = Broker::start(options).map_err(|error| match error {
            StartError::Setting(_) => Failure::usage(error),
            _ => Failure::other(error),
        })?;
        Ok(Serving { broker, node })
    }

    /// Asks it to end, from any thread.
    pub fn shutdown(&self) -> Shutdown {
        self.broker.shutdown()
    }

    /// Says that it is ready, and waits for its end.
    pub fn join(self) -> Result<(), Failure> {
        let Serving { broker, node } = self;
        tracing::info!(
            socket = %broker.socket().display(),
            backend = %broker.backend(),
            shards = broker.shards(),
            node = format_args!("{node:08x}"),
            "ready",
        );
        broker.join().map_err(|error| Failure::other(format_args!("the broker broke: {error}")))?;
        tracing::info!("ended");
        Ok(())
    }
}

/// Lowers the number of clients to what the limit of open descriptors has room for. At that
/// limit nobody more could come in, not even who has a place kept free.
fn fit_clients(max_clients: &mut usize, limit: u64, is_default: bool) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let room = limit.saturating_sub(OWN_DESCRIPTORS).max(limit / 2).max(1);
    if *max_clients <= room {
        return;
    }
    *max_clients = room;
    if is_default {
        tracing::debug!(room, "clients, by the limit of open descriptors")
    } else {
        tracing::warn!(
            "there can be {room} clients only: the limit of open files is {limit}. Raise it \
             (ulimit -n, LimitNOFILE=), or lower --max-clients"
        )
    }
}

/// Turns the settings into those of a broker; what is worth saying is added to the
/// warnings.
fn meaning(settings: Settings, warnings: &mut Vec<String>) -> Result<BrokerOptions, Failure> {
    let default = ShardConfig::default();
    let period = |period: Option<super::values::Period>, default: Duration| {
        period.map_or(default, |period| period.0)
    };
    let max_payload_bytes = settings.max_payload.map_or(default.max_payload_bytes, |size| size.0);
    let max_queue_bytes = match settings.max_queue {
        Some(size) => size.0,
        None => default_max_queue_bytes(max_payload_bytes),
    };
    if max_queue_bytes <= max_payload_bytes {
        warnings.push(format!(
            "one event of --max-payload ({max_payload_bytes} bytes) fills a queue of --max-queue \
             ({max_queue_bytes} bytes): until it is read its emitters wait, and what comes from \
             other machines meanwhile is lost; set --max-queue higher"
        ));
    }
    if let Some(Size(memory_bytes)) = settings.max_memory.filter(|size| size.0 < max_queue_bytes) {
        warnings.push(format!(
            "--max-memory ({memory_bytes} bytes) is less than one client's queue may hold \
             (--max-queue, {max_queue_bytes} bytes): clients are refused and events lost before \
             any queue is full; set --max-memory higher"
        ));
    }
    let shard = ShardConfig {
        node: settings.node_id.map_or_else(random_node, |node| node.0),
        run: random(),
        seed: random(),
        max_payload_bytes,
        max_queue_bytes,
        max_patterns: settings.max_patterns.unwrap_or(default.max_patterns),
        max_clients: settings.max_clients.unwrap_or(default.max_clients),
        stall_timeout: period(settings.stall_timeout, default.stall_timeout),
        hello_timeout: period(settings.hello_timeout, default.hello_timeout),
        drain_timeout: period(settings.drain_timeout, default.drain_timeout),
        spin: settings.spin_us.map_or(default.spin, Duration::from_micros),
        ..default
    };
    let link = link_options(&settings, shard.max_payload_bytes, warnings)?;
    // A path that somebody chose may be a typing error: its directory is not made.
    let chosen = settings.socket.or_else(|| named_by(SOCKET_VARIABLE));
    let create_parent = chosen.is_none();
    let socket = chosen.unwrap_or_else(|| default_socket(named_by(RUNTIME_DIRECTORY)));
    let bind = BindOptions::default();
    Ok(BrokerOptions {
        bind: BindOptions {
            mode: settings.socket_mode.map_or(bind.mode, |mode| mode.0),
            group: settings.socket_group.map(|group| group.0),
            create_parent,
        },
        shards: settings.shards,
        pin: settings.pin.unwrap_or(false),
        backend: settings.backend.map_or(BackendChoice::Auto, |backend| backend.choice()),
        max_memory_bytes: settings.max_memory.map(|size| size.0),
        shard,
        link,
        ..BrokerOptions::new(socket)
    })
}

/// The path that a variable of the environment names. An empty one is none.
fn named_by(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Socket of a broker that nobody told a path: in the directory that the service
/// manager made for it, the first one if it made several; else where clients of this
/// user look.
fn default_socket(runtime_directory: Option<PathBuf>) -> PathBuf {
    let directories = runtime_directory.unwrap_or_default().into_os_string().into_string();
    match directories.unwrap_or_default().split(':').next() {
        None | Some("") => netcluster_client::default_socket_path(),
        Some(first) => Path::new(first).join("default.sock"),
    }
}

/// Says that this broker is a second one beside the system's, where that is not what
/// somebody asked for.
fn warn_of_two_buses(socket: &Path) {
    let mut others = default_socket_paths();
    if !others.iter().any(|path| path == socket) {
        return;
    }
    others.retain(|path| path != socket);
    for other in others {
        if let Some(pid) = listening_pid(&other) {
            tracing::warn!(
                "a broker of the system runs as pid {pid} at {}: clients of this user will no \
                 longer use that one, and hear nothing of those who do",
                other.display()
            );
        }
    }
}

/// A number that the system chose. Each state has keys of its own.
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// A random node id; 0 means nobody.
pub fn random_node() -> u32 {
    (random() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_settings_are_the_brokers_defaults() {
        let mut warnings = Vec::new();
        let options = meaning(Settings::default(), &mut warnings).unwrap();
        assert_eq!(warnings, [""; 0]);
        assert!(options.link.is_none(), "a broker is alone unless it is told otherwise");
        let default = ShardConfig::default();
        assert_eq!(options.shard.max_queue_bytes, default.max_queue_bytes);
        assert_eq!(options.shard.stall_timeout, default.stall_timeout);
        assert_eq!(options.bind.mode, 0o660);
        assert!(options.bind.create_parent);
        assert_eq!((options.shards, options.max_memory_bytes), (None, None));
        assert_eq!(options.shard.check(), Ok(()));
    }

    /// 16 MiB above 8 MiB were the defaults: one large event lost small ones.
    #[test]
    fn a_queue_holds_several_of_the_largest_events_unless_it_is_told_otherwise() {
        let size = |bytes| Some(Size(bytes));
        let queue = |max_payload, max_queue| {
            let mut warnings = Vec::new();
            let settings = Settings { max_payload, max_queue, ..Settings::default() };
            (meaning(settings, &mut warnings).unwrap().shard.max_queue_bytes, warnings.len())
        };
        let default = ShardConfig::default();
        assert!(default.max_queue_bytes >= 4 * default.max_payload_bytes);
        assert_eq!(queue(None, None), (default.max_queue_bytes, 0));
        assert_eq!(queue(size(1 << 10), None), (default.max_queue_bytes, 0));
        assert_eq!(queue(size(16 << 20), None), (64 << 20, 0));
        assert_eq!(queue(size(16 << 20), size(16 << 20)), (16 << 20, 1));
    }

    #[test]
    fn memory_for_less_than_one_queue_is_warned_of() {
        let warnings = |bytes| {
            let mut warnings = Vec::new();
            let max_memory = Some(Size(bytes));
            meaning(Settings { max_memory, ..Settings::default() }, &mut warnings).unwrap();
            warnings.join("\n")
        };
        assert!(warnings(1).contains("--max-memory (1 bytes) is less than"));
        assert_eq!(warnings(ShardConfig::default().max_queue_bytes), "");
    }

    #[test]
    fn a_service_managers_directory_is_used() {
        let socket = |directory: Option<&str>| default_socket(directory.map(PathBuf::from));
        assert_eq!(socket(Some("/run/a:/run/b")), Path::new("/run/a/default.sock"));
        assert_eq!(socket(Some("/run/a")), Path::new("/run/a/default.sock"));
        assert_eq!(socket(Some("")), netcluster_client::default_socket_path());
        assert_eq!(socket(None), netcluster_client::default_socket_path());
    }

    #[test]
    fn there_are_no_more_clients_than_descriptors() {
        for (asked, limit, expected) in
            [(65_536, 1 << 20, 65_536), (65_536, 4096, 3712), (100, 4096, 100), (100, 40, 20)]
        {
            let mut clients = asked;
            fit_clients(&mut clients, limit, false);
            assert_eq!(clients, expected);
        }
    }

    #[test]
    fn runs_differ() {
        assert_ne!(random(), random());
        assert_ne!(random_node(), 0);
    }
}
