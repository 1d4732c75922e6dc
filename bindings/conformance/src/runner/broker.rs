//! A real broker, that is killed, stopped and started anew.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Longest time that a broker takes to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker's program on a socket. Dropping it kills the process.
pub struct Broker {
    program: PathBuf,
    socket: PathBuf,
    arguments: Vec<OsString>,
    child: Option<Child>,
}

impl Broker {
    /// Starts it on this socket.
    ///
    /// # Errors
    /// It cannot be started, or does not listen.
    pub fn start(program: &Path, socket: &Path, arguments: &[&str]) -> Result<Broker> {
        let mut broker = Broker {
            program: program.to_owned(),
            socket: socket.to_owned(),
            arguments: arguments.iter().map(Into::into).collect(),
            child: None,
        };
        broker.restart()?;
        Ok(broker)
    }

    /// Starts it again after its end.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let child = Command::new(&self.program)
            .arg("serve")
            .arg("--socket")
            .arg(&self.socket)
            .args(&self.arguments)
            .env_remove("NETCLUSTER_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let child = self.child.insert(child);
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&self.socket).is_err() {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                bail!("the broker ended with {status}: {}", self.log());
            }
            ensure!(Instant::now() < deadline, "the broker does not listen: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The path of its socket.
    ///
    /// # Panics
    /// It is no text; the stage's are.
    #[must_use]
    pub fn socket(&self) -> &str {
        self.socket.to_str().expect("a text")
    }

    /// Kills it: no goodbye to anybody.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Tells it to end, in order, and waits for that.
    ///
    /// # Errors
    /// It does not, or with another code than 0.
    pub fn stop(&mut self) -> Result<()> {
        let child = self.child.as_mut().context("it runs")?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a pid")?;
        kill_process(pid, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                ensure!(status.success(), "the broker ended with {status}: {}", self.log());
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the broker does not end: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.socket.with_extension("log")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.child.is_some() {
            let _ = self.kill();
        }
    }
}
