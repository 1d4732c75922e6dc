//! `netcluster serve --takeover`: a broker in the place of one that runs.
//!
//! ```text
//!   new: all that can fail ─▶ listens beside ─▶ asks ──────▶ old: gives the name away
//!   new: serves, once the old one has let go ◀────────────── ends in order
//!   old: looks whether somebody serves; if not, it serves again
//! ```
//! Whoever of the two is killed, at whatever moment, the other one serves.
//!
//! Decision: `docs/decisions/090-succession.md`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use netcluster::{Prepared, Ready};
use netcluster_client::{Client, ClientBuilder, Error, Lifecycle, Reconnect, SharedMemory};

use netcluster_platform::listening_pid;

use super::failure::{Code, Failure};
use super::serve::start_failure;

/// Longest wait for the other broker's end, once it has given its name away: longer than it
/// waits for its clients.
const OWN_WITHIN: Duration = Duration::from_secs(120);

/// Longest wait for the end of a broker that was killed and whose socket is there still.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Argument that has a broker go on in the background.
const BACKGROUND: &str = "--background";

/// Takes the place of the broker at this socket; binds it as usual if there is none.
pub fn take_over(prepared: Prepared, socket: &Path) -> Result<Ready, Failure> {
    let (client, gone) = match connect(socket) {
        Ok(connected) => connected,
        Err(Error::BrokerNotRunning { .. }) => {
            tracing::info!("no broker runs there whose place could be taken: an ordinary start");
            return prepared.bind().map_err(start_failure);
        }
        Err(error) => return Err(Failure::other(format_args!("cannot take over: {error}"))),
    };
    let claimant = prepared.bind_beside().map_err(start_failure)?;
    let name = claimant.name().to_string_lossy().into_owned();
    let request =
        serde_json::json!({ "do": "take-over", "socket": name, "link": claimant.terms() });
    match client.control(&request.to_string()) {
        Ok(_) => {}
        Err(Error::Refused(text)) => {
            return Err(Failure::other(format_args!(
                "the broker that runs does not hand over: {text}"
            )));
        }
        // It ends, by whatever cause. Whether the place is free the lock says.
        Err(error) => tracing::warn!(%error, "the broker that runs did not answer"),
    }
    let gone = move || {
        let _ = gone.recv();
        drop(client);
    };
    // The connection ends when that broker has left the link, or is gone.
    claimant.own(OWN_WITHIN, gone).map_err(start_failure)
}

/// Connects; returns what is told once the connection has ended. Where a broker was killed
/// that is still on its way to be gone, waits for that.
fn connect(socket: &Path) -> Result<(Client, mpsc::Receiver<()>), Error> {
    let start = Instant::now();
    loop {
        let (tell, gone) = mpsc::channel();
        let client = builder().on_lifecycle(move |event| {
            if let Lifecycle::Closed(_) = event {
                let _ = tell.send(());
            }
        });
        match client.connect(socket) {
            Err(Error::BrokerNotRunning { .. })
                if start.elapsed() < GONE_WITHIN && listening_pid(socket).is_some() =>
            {
                thread::sleep(LOOK_AGAIN);
            }
            done => return done.map(|client| (client, gone)),
        }
    }
}

/// Whether somebody serves clients at this socket, or may be about to.
pub fn is_served(socket: &Path) -> bool {
    loop {
        match builder().connect(socket) {
            Ok(_) => return true,
            Err(Error::Timeout { .. }) => {}
            Err(error) => return !matches!(error, Error::BrokerNotRunning { .. }),
        }
    }
}

fn builder() -> ClientBuilder {
    let builder = Client::builder().name("netcluster serve --takeover");
    builder.reconnect(Reconnect::Never).shared_memory(SharedMemory::Off)
}

/// Has a process of its own do what this one was told, and returns once it serves.
pub fn in_background() -> Result<(), Failure> {
    let cannot = |error| Failure::other(format_args!("cannot go on in the background: {error}"));
    let program = std::env::current_exe().map_err(cannot)?;
    let mut command = Command::new(program);
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != BACKGROUND);
    command.args(arguments).arg("--print-ready").stdin(Stdio::null()).stdout(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(cannot)?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line).map_err(cannot)?;
    }
    if line.is_empty() {
        return Err(failure_of(&mut child));
    }
    // Nobody need read it.
    let _ = std::io::stdout().write_all(line.as_bytes());
    Ok(())
}

/// The failure of a process that has told by itself what is wrong.
fn failure_of(child: &mut Child) -> Failure {
    let code = child.wait().ok().and_then(|status| status.code());
    let codes = [Code::Usage, Code::NoBroker, Code::Timeout, Code::AlreadyRunning];
    let code = codes.into_iter().find(|it| code == Some(*it as i32));
    Failure::new(code.unwrap_or(Code::Failure), "")
}
