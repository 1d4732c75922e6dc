//! `netcluster serve`: from settings to a running broker, until it is told to end. The
//! service does the same with another log and another way to be told.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use netcluster::internals::{LogCounts, MAX_TOLD};
use netcluster::{Broker, BrokerOptions, Operator, Shutdown, StartError};
use netcluster_client::{SOCKET_VARIABLE, default_socket_paths};
use netcluster_platform::{BindError, listening_pid, raise_descriptor_limit};

use super::args::ServeArgs;
use super::config::sources::{self, Loaded};
use super::config::tell_good;
use super::failure::{Code, Failure};
use super::link::{channel_options, link_options};
use super::log;
use super::metrics;
use super::program::Program;
use super::reload::Reloading;
use super::settings::Settings;
use super::signals;
use super::supervision::{self, Ending, Watch};
use super::takeover;

/// The variable in which a service manager names the directory that it made.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// Descriptors that are not for clients: what the shards and the link use, and who is told
/// that there are too many.
const OWN_DESCRIPTORS: usize = 128 + MAX_TOLD;

/// Whether metrics have been started: that happens once in the life of the process.
static HAS_METRICS: AtomicBool = AtomicBool::new(false);

/// Time between two tries to have the metrics' address, and the number of tries.
const METRICS_AGAIN: Duration = Duration::from_millis(50);
const METRICS_TRIES: u32 = 600;

/// Runs a broker until it is asked to end.
pub fn run(args: Box<ServeArgs>) -> Result<(), Failure> {
    let ServeArgs { config, check, takeover, background, print_ready, die_with_parent, settings } =
        *args;
    if background {
        return takeover::in_background();
    }
    // First of all: what happens from now on is noticed.
    let parent = die_with_parent.map(Watch::begin);
    let loaded = sources::load(settings.clone(), config.as_deref())?;
    if check {
        return tell_good(&loaded);
    }
    let counts = log::start(Some(&loaded.settings), None)?;
    let sources = Sources { typed: settings, config };
    let mut serving = if takeover {
        Serving::take_over(&sources, &loaded, Arc::clone(&counts))?
    } else {
        Serving::start(&sources, &loaded, Arc::clone(&counts))?
    };
    // That of the broker that serves at the time.
    let reloading = Arc::new(Mutex::new(serving.reloading.clone()));
    let ending = Ending::of(serving.shutdown());
    if let Some(parent) = parent {
        parent.end_with(&ending)?;
    }
    let signalled = ending.clone();
    let end = move |_| {
        tracing::info!("shutting down; another signal ends at once");
        signalled.begin();
    };
    let current = Arc::clone(&reloading);
    let reload = move || {
        let reloading = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The log has what came of it.
        drop(reloading.reload());
    };
    signals::on_first_or_reload(end, Box::new(reload))?;
    let mut prints = print_ready;
    loop {
        let in_force = serving.reloading.clone();
        let Some(socket) = serving.join(prints)? else { return Ok(()) };
        if takeover::is_served(&socket) {
            tracing::info!("another broker has taken this one's place");
            return Ok(());
        }
        tracing::error!("the broker that was to take this one's place is gone: serving again");
        // With what reloads have brought.
        let loaded = in_force.in_force();
        serving = match Serving::start(&sources, &loaded, Arc::clone(&counts)) {
            Err(failure) if failure.code() == Code::AlreadyRunning => return Ok(()),
            serving => serving?,
        };
        *reloading.lock().unwrap_or_else(PoisonError::into_inner) = serving.reloading.clone();
        if !ending.go_on(serving.shutdown()) {
            serving.shutdown().request();
        }
        prints = false;
    }
}

/// Sources of a broker's settings: what was typed, and a file.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Settings that were typed.
    pub typed: Settings,
    /// File that was named.
    pub config: Option<PathBuf>,
}

/// A broker that clients can connect to.
pub struct Serving {
    broker: Broker,
    reloading: Reloading,
}

impl Serving {
    /// Starts it with the settings that were loaded from these sources, which are read again
    /// when somebody asks for it; `counts` are those of the log.
    pub fn start(
        sources: &Sources,
        loaded: &Loaded,
        counts: Arc<LogCounts>,
    ) -> Result<Serving, Failure> {
        let (options, program) = options_of(loaded, counts)?;
        let prepared = Broker::prepare(options.clone()).map_err(start_failure)?;
        let ready = prepared.bind().map_err(start_failure)?;
        let broker = ready.start().map_err(start_failure)?;
        if let Some(address) = &loaded.settings.metrics
            && !HAS_METRICS.swap(true, Ordering::Relaxed)
        {
            metrics::start(address, broker.socket())?;
        }
        Ok(Serving::of(broker, sources, loaded, &options, &program))
    }

    /// Starts it in the place of another one.
    pub fn take_over(
        sources: &Sources,
        loaded: &Loaded,
        counts: Arc<LogCounts>,
    ) -> Result<Serving, Failure> {
        let (options, program) = options_of(loaded, counts)?;
        let socket = options.socket.clone();
        let prepared = Broker::prepare(options.clone()).map_err(start_failure)?;
        let ready = takeover::take_over(prepared, &socket)?;
        // Before the other one can be gone: its end is not the service's.
        supervision::tell_main_process();
        let broker = ready.start().map_err(start_failure)?;
        if let Some(address) = loaded.settings.metrics.clone() {
            HAS_METRICS.store(true, Ordering::Relaxed);
            metrics_later(move || metrics::start(&address, &socket))?;
        }
        Ok(Serving::of(broker, sources, loaded, &options, &program))
    }

    fn of(
        broker: Broker,
        sources: &Sources,
        loaded: &Loaded,
        options: &BrokerOptions,
        program: &Program,
    ) -> Serving {
        let Sources { typed, config } = sources.clone();
        let reloading = Reloading::new(broker.reloader(), typed, config, loaded, options);
        program.can_reload(reloading.clone());
        Serving { broker, reloading }
    }

    /// Asks it to end, from any thread.
    pub fn shutdown(&self) -> Shutdown {
        self.broker.shutdown()
    }

    /// Says that it is ready, with `prints` also on standard output, and waits for its end.
    /// Returns its socket if another broker has taken its place there.
    pub fn join(self, prints: bool) -> Result<Option<PathBuf>, Failure> {
        let Serving { broker, .. } = self;
        tracing::info!(
            socket = %broker.socket().display(),
            backend = %broker.backend(),
            shards = broker.shards(),
            node = format_args!("{:08x}", broker.node()),
            "ready",
        );
        supervision::tell_ready(&broker, prints);
        let (socket, heir) = (broker.socket().to_owned(), broker.heir());
        let watchdog = supervision::watch(&broker)?;
        let ended = broker.join();
        drop(watchdog);
        ended.map_err(|error| Failure::other(format_args!("the broker broke: {error}")))?;
        tracing::info!("ended");
        Ok(heir.is_there().then_some(socket))
    }
}

/// Starts the metrics, on a thread of its own, once the broker whose place was taken has let
/// their address go.
fn metrics_later(start: impl Fn() -> Result<(), Failure> + Send + 'static) -> Result<(), Failure> {
    let run = move || {
        for _ in 0..METRICS_TRIES {
            if start().is_ok() {
                return;
            }
            thread::sleep(METRICS_AGAIN);
        }
        if let Err(failure) = start() {
            tracing::error!("there are no metrics: {}", failure.message());
        }
    };
    let started = thread::Builder::new().name("metrics-later".into()).spawn(run);
    started
        .map(drop)
        .map_err(|error| Failure::other(format_args!("cannot start a thread: {error}")))
}

/// The failure of a broker that does not start.
pub fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Option(_) => Failure::usage(error),
        StartError::Bind(BindError::InUse { .. }) => Failure::new(Code::AlreadyRunning, error),
        _ => Failure::other(error),
    }
}

/// A broker's options by these settings, and the program that it runs in; what is worth
/// saying about them is logged.
fn options_of(
    loaded: &Loaded,
    counts: Arc<LogCounts>,
) -> Result<(BrokerOptions, Arc<Program>), Failure> {
    let (mut options, warnings) = options(loaded)?;
    options.log = counts;
    let program = Arc::new(Program::default());
    options.operator = Some(Arc::clone(&program) as Arc<dyn Operator>);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    fit_to_descriptors(&mut options, loaded);
    supervision::take_socket(&mut options)?;
    warn_of_two_buses(&options.socket);
    Ok((options, program))
}

/// Lowers the number of clients to what the system lets the process have.
pub fn fit_to_descriptors(options: &mut BrokerOptions, loaded: &Loaded) {
    match raise_descriptor_limit() {
        Ok(limit) => {
            let kept = options.descriptors_of_shared_memory(limit);
            let is_default = loaded.settings.max_clients.is_none();
            fit_clients(&mut options.max_clients, limit - kept, is_default);
        }
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open descriptors"),
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

/// Turns the settings into a broker's options, checked, and what is worth saying of them.
///
/// # Errors
/// Which setting is wrong, where it was set, and what is allowed.
pub fn options(loaded: &Loaded) -> Result<(BrokerOptions, Vec<String>), Failure> {
    let mut warnings = Vec::new();
    let options = meaning(&loaded.settings, &mut warnings)
        .and_then(|options| options.check().map_err(Failure::usage).map(|()| options))
        .map_err(|failure| loaded.locate(failure))?;
    Ok((options, warnings))
}

/// Turns the settings into a broker's options; what is worth saying is added to the
/// warnings.
fn meaning(settings: &Settings, warnings: &mut Vec<String>) -> Result<BrokerOptions, Failure> {
    // Named one by one, so that a setting that is forgotten here does not compile.
    let Settings {
        socket,
        socket_mode,
        socket_group,
        shards,
        pin,
        backend,
        shared_memory,
        spin_us,
        max_payload,
        max_queue,
        max_memory,
        max_clients,
        max_clients_per_user,
        max_patterns,
        stall_timeout,
        hello_timeout,
        drain_timeout,
        node_id,
        log: _,
        log_format: _,
        metrics: _,
        link: _,
        channels: _,
    } = settings;
    let chosen = socket.clone().or_else(|| named_by(SOCKET_VARIABLE));
    // A path that somebody chose may be a typing error: its directory is not made.
    let create_parent = chosen.is_none();
    let socket = chosen.unwrap_or_else(|| default_socket(named_by(RUNTIME_DIRECTORY)));
    let mut options = BrokerOptions::new(socket);
    options.bind.create_parent = create_parent;
    set(&mut options.bind.mode, socket_mode.as_ref().map(|mode| mode.0));
    options.bind.group = socket_group.as_ref().map(|group| group.0.clone());
    options.shards = *shards;
    set(&mut options.pin, *pin);
    set(&mut options.backend, backend.map(|backend| backend.choice()));
    set(&mut options.shared_memory, shared_memory.map(|it| it.choice()));
    set(&mut options.spin, spin_us.map(Duration::from_micros));
    set(&mut options.max_payload_bytes, max_payload.map(|size| size.0));
    options.max_queue_bytes = max_queue.map(|size| size.0);
    options.max_memory_bytes = max_memory.map(|size| size.0);
    set(&mut options.max_clients, *max_clients);
    options.max_clients_per_user = *max_clients_per_user;
    set(&mut options.max_patterns, *max_patterns);
    set(&mut options.stall_timeout, stall_timeout.map(|period| period.0));
    set(&mut options.hello_timeout, hello_timeout.map(|period| period.0));
    set(&mut options.drain_timeout, drain_timeout.map(|period| period.0));
    options.node = node_id.map(|node| node.0);
    warn_of_sizes(&options, warnings);
    options.channels = channel_options(settings);
    options.link = link_options(settings, options.max_payload_bytes, warnings)?;
    Ok(options)
}

/// Takes a setting, if there is one.
fn set<T>(option: &mut T, setting: Option<T>) {
    if let Some(value) = setting {
        *option = value;
    }
}

/// Says which sizes are allowed and do not go together.
fn warn_of_sizes(options: &BrokerOptions, warnings: &mut Vec<String>) {
    let payload_bytes = options.max_payload_bytes;
    let queue_bytes = options.queue_bytes();
    if queue_bytes <= payload_bytes {
        warnings.push(format!(
            "one event of --max-payload ({payload_bytes} bytes) fills a queue of --max-queue \
             ({queue_bytes} bytes): until it is read its emitters wait, and what comes from \
             other machines meanwhile is lost; set --max-queue higher"
        ));
    }
    if let Some(memory_bytes) = options.max_memory_bytes.filter(|bytes| *bytes < queue_bytes) {
        warnings.push(format!(
            "--max-memory ({memory_bytes} bytes) is less than one client's queue may hold \
             (--max-queue, {queue_bytes} bytes): clients are refused and events lost before \
             any queue is full; set --max-memory higher"
        ));
    }
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

#[cfg(test)]
mod tests {
    use netcluster_platform::{BackendChoice, Group};

    use super::super::settings::EVERY_SETTING;
    use super::super::values::Size;
    use super::*;

    #[test]
    fn unset_settings_are_the_brokers_defaults() {
        let mut warnings = Vec::new();
        let options = meaning(&Settings::default(), &mut warnings).unwrap();
        assert_eq!(warnings, [""; 0]);
        assert!(options.bind.create_parent);
        let mut default = BrokerOptions::new(options.socket.clone());
        default.bind.create_parent = true;
        assert_eq!(format!("{options:?}"), format!("{default:?}"));
        assert!(options.link.is_none(), "a broker is alone unless it is told otherwise");
        assert_eq!(options.bind.mode, 0o660);
    }

    /// `--max-clients-per-user` was read, and forgotten.
    #[test]
    fn every_setting_arrives() {
        let text = format!("{EVERY_SETTING}\n[link]\ncluster = 'office'");
        let options = meaning(&toml::from_str(&text).unwrap(), &mut Vec::new()).unwrap();
        assert_eq!((options.bind.mode, options.bind.group), (0o600, Some(Group::Id(7))));
        assert_eq!((options.socket.to_str(), options.shards), (Some("/run/x.sock"), Some(2)));
        assert_eq!((options.pin, options.backend), (true, BackendChoice::Poll));
        assert_eq!((options.spin.as_micros(), options.max_payload_bytes), (20, 1 << 20));
        assert_eq!(options.max_queue_bytes, Some(3 << 20));
        assert_eq!(options.max_memory_bytes, Some(1 << 30));
        assert_eq!((options.max_clients, options.max_clients_per_user), (10, Some(5)));
        let timeouts = [options.stall_timeout, options.hello_timeout, options.drain_timeout];
        assert_eq!((options.max_patterns, timeouts.map(|it| it.as_secs())), (20, [1, 2, 3]));
        assert_eq!((options.node, options.link.unwrap().cluster.as_str()), (Some(255), "office"));
    }

    #[test]
    fn a_queue_for_less_than_two_of_the_largest_events_is_warned_of() {
        let size = |bytes| Some(Size(bytes));
        let warnings = |max_payload, max_queue| {
            let mut warnings = Vec::new();
            let settings = Settings { max_payload, max_queue, ..Settings::default() };
            meaning(&settings, &mut warnings).unwrap();
            warnings.join("\n")
        };
        assert_eq!(warnings(size(16 << 20), None), "");
        assert!(warnings(size(16 << 20), size(16 << 20)).contains("fills a queue"));
    }

    #[test]
    fn memory_for_less_than_one_queue_is_warned_of() {
        let warnings = |bytes| {
            let mut warnings = Vec::new();
            let max_memory = Some(Size(bytes));
            meaning(&Settings { max_memory, ..Settings::default() }, &mut warnings).unwrap();
            warnings.join("\n")
        };
        assert!(warnings(1).contains("--max-memory (1 bytes) is less than"));
        assert_eq!(warnings(BrokerOptions::new("").queue_bytes()), "");
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
}
