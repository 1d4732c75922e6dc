//! What a supervisor is told of a broker, and asks of it: that it is ready, that it turns,
//! that it stops, that it ends with its parent, that it listens on a socket that is there.
//!
//! ```text
//!   --print-ready       one line of JSON on standard output
//!   $NOTIFY_SOCKET      READY=1, RELOADING=1, STOPPING=1, and MAINPID=… by one that takes over:
//!                       systemd, and whoever does the same
//!   $WATCHDOG_USEC      WATCHDOG=1 in half of that time, while all shards turn
//!   $LISTEN_FDS         the socket, which systemd has made: socket activation
//!   --die-with-parent   an end in order when the parent is gone
//! ```

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use netcluster::{Broker, BrokerOptions, Shutdown};
use netcluster_platform::{InheritedListener, Parent};
use serde::Serialize;

use super::failure::Failure;

/// Time in which a broker that has taken another one's place says that it is alive.
const WATCHDOG_OF_SUCCESSOR: Duration = Duration::from_secs(30);

/// Whether this process has taken the place of another one as the service.
static HAS_TAKEN_OVER: AtomicBool = AtomicBool::new(false);

/// The end of a broker, which several may ask for.
#[derive(Clone)]
pub struct Ending(Arc<Mutex<State>>);

struct State {
    shutdown: Shutdown,
    is_asked: bool,
}

impl Ending {
    /// The end of this broker.
    pub fn of(shutdown: Shutdown) -> Ending {
        Ending(Arc::new(Mutex::new(State { shutdown, is_asked: false })))
    }

    /// Has the broker that this one ends from now on be another one; returns whether it may
    /// go on, as nobody has asked for the end.
    pub fn go_on(&self, shutdown: Shutdown) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.shutdown = shutdown;
        !state.is_asked
    }

    /// Begins it, and tells the supervisor.
    pub fn begin(&self) {
        notify("STOPPING=1");
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_asked = true;
        state.shutdown.request();
    }
}

/// The process that started this one, under watch.
pub struct Watch(Option<Parent>);

impl Watch {
    /// Begins to watch; `parent` is that process's number, if it is known.
    pub fn begin(parent: Option<u32>) -> Watch {
        Watch(Parent::watch(parent))
    }

    /// Has the broker end when that process does, or has.
    pub fn end_with(self, ending: &Ending) -> Result<(), Failure> {
        let ending = ending.clone();
        let ended = move || {
            tracing::info!("the process that started this broker has ended: shutting down");
            ending.begin();
        };
        let Some(parent) = self.0 else {
            ended();
            return Ok(());
        };
        parent.on_end(ended).map_err(|error| {
            Failure::other(format_args!("cannot watch the process that started this one: {error}"))
        })
    }
}

#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    pid: u32,
    socket: &'a str,
    node: String,
    version: &'a str,
}

/// Tells that clients can connect: the service manager, and with `prints` whoever reads
/// standard output.
pub fn tell_ready(broker: &Broker, prints: bool) {
    if prints {
        let line = Ready {
            ready: true,
            pid: std::process::id(),
            socket: &broker.socket().to_string_lossy(),
            node: format!("{:08x}", broker.node()),
            version: env!("CARGO_PKG_VERSION"),
        };
        let line = serde_json::to_string(&line).unwrap_or_default();
        let mut output = io::stdout().lock();
        if let Err(error) = writeln!(output, "{line}").and_then(|()| output.flush()) {
            tracing::warn!(%error, "nobody reads that the broker is ready");
        }
    }
    notify("READY=1");
}

/// Tells the service manager that the configuration is read again.
pub fn tell_reloading() {
    match netcluster_platform::monotonic_micros() {
        Some(micros) => notify(&format!("RELOADING=1\nMONOTONIC_USEC={micros}")),
        None => notify("RELOADING=1"),
    }
}

/// Tells the service manager that the broker is ready again.
pub fn tell_reloaded() {
    notify("READY=1");
}

/// Tells the service manager that this process is the service from now on, and how often it
/// will say that it is alive: nobody told it what is asked for.
pub fn tell_main_process() {
    HAS_TAKEN_OVER.store(true, Ordering::Relaxed);
    let usec = WATCHDOG_OF_SUCCESSOR.as_micros();
    notify(&format!("MAINPID={}\nWATCHDOG_USEC={usec}", std::process::id()));
}

/// Has the broker use the socket that the service manager passed, if it did.
pub fn take_socket(options: &mut BrokerOptions) -> Result<(), Failure> {
    let Some(socket) = InheritedListener::take().map_err(Failure::usage)? else { return Ok(()) };
    if options.socket != socket.path() {
        tracing::warn!(
            "listening at {}, which the service manager passed, not at {}",
            socket.path().display(),
            options.socket.display()
        );
        options.socket = socket.path().to_owned();
    }
    options.bind.inherited = Some(socket);
    Ok(())
}

/// Thread that tells the service manager that a broker turns; dropping this ends it.
pub struct Watchdog {
    _over: mpsc::Sender<()>,
}

/// Tells the service manager that all shards turn, as often as it asks for that, from a
/// thread of its own. While one does not, it is told nothing, and does what it is set up for.
pub fn watch(broker: &Broker) -> Result<Option<Watchdog>, Failure> {
    let variable = |name| std::env::var(name).ok();
    let own = std::process::id();
    let asked =
        watchdog(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), own);
    let is_successor =
        HAS_TAKEN_OVER.load(Ordering::Relaxed) && variable("NOTIFY_SOCKET").is_some();
    let asked = if is_successor { Some(WATCHDOG_OF_SUCCESSOR) } else { asked };
    let Some(period) = asked.map(|period| period / 2) else { return Ok(None) };
    let watch = broker.watch();
    let (sender, over) = mpsc::channel::<()>();
    let tell = move || {
        let mut was_silent = false;
        loop {
            watch.ask();
            // A broker that has ended is silent, and another one may serve.
            if over.recv_timeout(period) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let silent = watch.silent();
            if silent.is_empty() {
                notify("WATCHDOG=1");
            } else if !was_silent {
                tracing::error!(
                    "shards {silent:?} have not ended a turn for {period:?}: the service manager \
                     is not told that the broker is alive"
                );
            }
            was_silent = !silent.is_empty();
        }
    };
    let started = thread::Builder::new().name("watchdog".into()).spawn(tell);
    started.map(|_| Some(Watchdog { _over: sender })).map_err(|error| {
        Failure::other(format_args!("cannot start the thread of the watchdog: {error}"))
    })
}

/// Returns the time in which the service manager wants to hear from process `own`.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec))
}

/// Tells the service manager, if there is one: a datagram to the socket that the environment
/// names, as `sd_notify(3)` describes it.
#[cfg(unix)]
fn notify(state: &str) {
    use std::os::unix::net::UnixDatagram;

    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return;
    };
    let told = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to_addr(state.as_bytes(), &address(&name)?)
    });
    if let Err(error) = told {
        tracing::warn!(%error, socket = %name.display(), "the service manager is not told `{state}`");
    }
}

/// The address of a socket by its name: a path, or behind `@` one without a file.
#[cfg(unix)]
fn address(name: &std::ffi::OsStr) -> io::Result<std::os::unix::net::SocketAddr> {
    use std::os::unix::net::SocketAddr;

    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;

        if let Some(name) = name.as_bytes().strip_prefix(b"@") {
            return SocketAddr::from_abstract_name(name);
        }
    }
    SocketAddr::from_pathname(name)
}

#[cfg(not(unix))]
fn notify(_state: &str) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_for_the_process_that_is_named() {
        assert_eq!(watchdog(Some("2000000"), None, 7), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(Some("2000000"), Some("7"), 7), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(Some("2000000"), Some("8"), 7), None);
        for bad in [None, Some(""), Some("0"), Some("-1"), Some("x")] {
            assert_eq!(watchdog(bad, None, 7), None);
        }
    }
}
