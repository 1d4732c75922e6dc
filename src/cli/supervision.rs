//! What a supervisor is told of a broker, and asks of it: that it is ready, that it stops,
//! that it ends with its parent.
//!
//! ```text
//!   --print-ready       one line of JSON on standard output
//!   $NOTIFY_SOCKET      READY=1, STOPPING=1, and MAINPID=… by one that takes over: systemd,
//!                       and whoever does the same
//!   --die-with-parent   an end in order when the parent is gone
//! ```

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use netcluster::{Broker, Shutdown};
use netcluster_platform::Parent;
use serde::Serialize;

use super::failure::Failure;

/// Value of `--die-with-parent` that names no process.
pub const ANY_PARENT: u32 = 0;

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
    /// Begins to watch; `parent` is that process's number, or [`ANY_PARENT`].
    pub fn begin(parent: u32) -> Watch {
        Watch(Parent::watch((parent != ANY_PARENT).then_some(parent)))
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

/// Tells the service manager that this process is the service from now on.
pub fn tell_main_process() {
    notify(&format!("MAINPID={}", std::process::id()));
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
