//! One machine of an endurance run: its broker, which is started, killed, restarted and
//! succeeded, and all that the broker needs.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use netcluster_client::Client;
use netcluster_testkit::netns::Network;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Time that a broker gets to start, to end, or to answer.
pub const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// Logs that are kept of each machine's brokers.
const KEPT_LOGS: usize = 30;

/// Machine and its broker.
#[derive(Debug)]
pub struct Machine {
    /// Place among the machines, from 0.
    pub index: usize,
    /// Name of the machine.
    pub name: String,
    /// Socket of its broker.
    pub socket: PathBuf,
    /// Directory of the socket.
    pub directory: PathBuf,
    /// Configuration of the broker.
    pub config: PathBuf,
    program: PathBuf,
    logs: PathBuf,
    /// Brokers that there were before this one.
    generation: usize,
    shares_memory: bool,
    child: Option<Child>,
}

impl Machine {
    /// Makes a machine whose broker does not run yet.
    pub fn new(index: usize, root: &Path, program: &Path) -> Result<Machine> {
        let name = format!("m{}", index + 1);
        let (directory, logs) = (root.join(&name), root.join("logs"));
        fs::create_dir_all(&directory)?;
        fs::create_dir_all(&logs)?;
        Ok(Machine {
            index,
            socket: directory.join("s"),
            config: root.join(format!("{name}.toml")),
            directory,
            name,
            program: program.to_owned(),
            logs,
            generation: 0,
            shares_memory: true,
            child: None,
        })
    }

    /// Has the next broker share memory with its clients, or not.
    pub fn share_memory(&mut self, shares: bool) {
        self.shares_memory = shares;
    }

    /// Returns whether the broker shares memory with its clients.
    pub fn shares_memory(&self) -> bool {
        self.shares_memory
    }

    /// Returns the broker's process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn serve(&mut self, network: Option<&Network>, is_takeover: bool) -> Result<(Child, PathBuf)> {
        self.generation += 1;
        if let Some(old) = self.generation.checked_sub(KEPT_LOGS) {
            // The first ones are not there.
            let _ = fs::remove_file(self.log(old));
        }
        let log = self.log(self.generation);
        let file = File::create(&log).context("cannot write the log of a broker")?;
        let mut command = Command::new(&self.program);
        command.arg("serve").args(is_takeover.then_some("--takeover"));
        command.arg("--socket").arg(&self.socket).arg("--config").arg(&self.config);
        command.args(["--shared-memory", if self.shares_memory { "auto" } else { "off" }]);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = spawn(network, self.index, &mut command);
        Ok((child.with_context(|| format!("cannot start {}", self.program.display()))?, log))
    }

    fn log(&self, generation: usize) -> PathBuf {
        self.logs.join(format!("{}-{generation:04}.log", self.name))
    }

    /// Starts the broker and returns once clients can connect.
    pub fn start(&mut self, network: Option<&Network>) -> Result<()> {
        ensure!(self.child.is_none(), "the broker of {} runs", self.name);
        let (mut child, log) = self.serve(network, false)?;
        wait_until_ready(&mut child, &log)?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills the broker, which leaves everything as it is.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("there is no broker to kill")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Has the broker end in order.
    pub fn stop(&mut self) -> Result<()> {
        let child = self.child.take().context("there is no broker to end")?;
        signal(child.id(), Signal::TERM)?;
        let status = ended(child)?;
        ensure!(status.success(), "the broker of {} ended with {status}", self.name);
        Ok(())
    }

    /// Has another broker take the place of the one that runs; returns once that has ended.
    pub fn take_over(&mut self, network: Option<&Network>) -> Result<()> {
        let (mut child, log) = self.serve(network, true)?;
        wait_until_ready(&mut child, &log)?;
        let old = self.child.replace(child).context("there is no broker to succeed")?;
        let status = ended(old)?;
        ensure!(status.success(), "the broker that was succeeded ended with {status}");
        Ok(())
    }

    /// Returns how the broker has ended, if it has by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Runs a command of the broker's program at this broker.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--socket").arg(&self.socket).stdin(Stdio::null());
        command.output().context("cannot run the broker's program")
    }

    /// Asks the broker for its status.
    pub fn status(&self) -> Result<Value> {
        let client = Client::builder().channel("status").connect_timeout(PATIENCE);
        let client = client.connect(&self.socket)?;
        let status = serde_json::from_str(&client.status()?)?;
        client.disconnect()?;
        Ok(status)
    }

    /// Returns whether the broker is linked with so many others.
    pub fn is_linked(&self, peers: usize) -> bool {
        let Ok(status) = self.status() else { return false };
        let joined = |peer: &&Value| peer["is_joined"] == true;
        status["link"]["peers"]
            .as_array()
            .is_some_and(|all| all.iter().filter(joined).count() == peers)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a process on a machine.
pub fn spawn(
    network: Option<&Network>,
    machine: usize,
    command: &mut Command,
) -> std::io::Result<Child> {
    match network {
        Some(network) => network.host(machine).spawn(command),
        None => command.spawn(),
    }
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    Ok(kill_process(pid, signal)?)
}

/// Waits for the end of a process; kills one that does not end.
pub fn ended(mut child: Child) -> Result<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            bail!("process {} did not end within {PATIENCE:?}", child.id());
        }
        thread::sleep(POLL);
    }
}

fn wait_until_ready(child: &mut Child, log: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_to_string(log)?.contains("ready socket=") {
        let ended = child.try_wait()?;
        if ended.is_some() || Instant::now() > deadline {
            let _ = child.kill();
            bail!("the broker did not start: {}", crate::broker::tail(log));
        }
        thread::sleep(POLL);
    }
    Ok(())
}
