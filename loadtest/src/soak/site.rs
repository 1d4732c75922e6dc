//! Machines of an endurance run, and what is between them: network namespaces of this machine
//! with a link, or, where there can be none, brokers of one machine without.
//!
//! The first machine's broker is the one that is killed, restarted and succeeded; that of the
//! last one lives from start to end, and must not grow.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use netcluster_testkit::netns::{self, Network, NetworkOptions, Packets};

use super::machine::{Machine, PATIENCE};
use crate::interrupt;

/// Machines of a run.
pub const MACHINES: usize = 2;
/// Bytes of the memory that clients may make a broker keep.
pub const MAX_MEMORY: u64 = 64 << 20;
/// Room of the file system of the first broker's directory.
const DIRECTORY_SIZE: &str = "64k";
const POLL: Duration = Duration::from_millis(50);

/// Machines and their network.
#[derive(Debug)]
pub struct Site {
    /// Machines in order; they end before what they stand on.
    pub machines: Vec<Machine>,
    /// Network between them, if there is one.
    pub network: Option<Network>,
    /// Reason why there is none.
    pub without_network: Option<String>,
    /// File system of the first broker's directory, if it has one of its own.
    pub directory: Option<Mounted>,
    /// Directory of everything.
    pub root: PathBuf,
    settings: Settings,
}

/// Settings of the brokers that disturbances change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `stall-timeout`
    pub stall_timeout_ms: u64,
    /// `max-queue`
    pub max_queue_mib: u64,
    /// `log`
    pub log: String,
    /// `max-event-rate` of the channel of noise.
    pub noise_rate: u32,
}

impl Site {
    /// Makes the machines and starts their brokers.
    pub fn set_up(root: &Path, program: &Path, settings: Settings) -> Result<Site> {
        let without_network = netns::missing();
        let network = match without_network {
            Some(_) => None,
            None => {
                let options = NetworkOptions {
                    hosts: MACHINES,
                    packets: Packets::Cut,
                    ..NetworkOptions::default()
                };
                Some(Network::new(options)?)
            }
        };
        let machines: Result<Vec<_>> =
            (0..MACHINES).map(|index| Machine::new(index, root, program)).collect();
        let machines = machines?;
        let directory = Mounted::new(&machines[0].directory, DIRECTORY_SIZE);
        let mut site = Site {
            machines,
            network,
            without_network,
            directory: directory.ok(),
            root: root.to_owned(),
            settings,
        };
        if site.network.is_some() {
            let mut keygen = Command::new(program);
            keygen.args(["link", "keygen"]).arg(site.key()).stdin(Stdio::null());
            let made = keygen.output().context("cannot make a key")?;
            ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        for index in 0..MACHINES {
            site.configure(index, "")?;
            site.start(index)?;
        }
        site.wait_until_linked()?;
        Ok(site)
    }

    fn key(&self) -> PathBuf {
        self.root.join("key")
    }

    /// Changes the settings that the next configuration has.
    pub fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Writes the configuration of a machine's broker, with more behind it.
    pub fn configure(&self, index: usize, more: &str) -> Result<()> {
        let Settings { stall_timeout_ms, max_queue_mib, log, noise_rate } = &self.settings;
        let machine = &self.machines[index];
        let link = match self.network {
            Some(_) => format!(
                "[link]\ncluster = \"soak\"\nnode-name = \"{}\"\nkey-file = \"{}\"\n",
                machine.name,
                self.key().display()
            ),
            None => String::new(),
        };
        let text = format!(
            "shards = 1\nmax-payload = \"256KiB\"\nmax-queue = \"{max_queue_mib}MiB\"\n\
             max-memory = \"{}MiB\"\nstall-timeout = \"{stall_timeout_ms}ms\"\nlog = \"{log}\"\n\
             {more}\n{link}[channels.noise]\nnetwork = false\nmax-event-rate = {noise_rate}\n",
            MAX_MEMORY >> 20
        );
        fs::write(&machine.config, text).context("cannot write a configuration")
    }

    /// Starts a machine's broker.
    pub fn start(&mut self, index: usize) -> Result<()> {
        self.machines[index].start(self.network.as_ref())
    }

    /// Has a machine's broker succeeded by another one.
    pub fn take_over(&mut self, index: usize) -> Result<()> {
        self.machines[index].take_over(self.network.as_ref())
    }

    /// Returns the network.
    pub fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("there is no network to disturb")
    }

    /// Waits until the brokers are linked, if they are to be.
    pub fn wait_until_linked(&self) -> Result<()> {
        if self.network.is_none() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.machines.iter().all(|machine| machine.is_linked(MACHINES - 1)) {
            interrupt::check()?;
            if Instant::now() > deadline {
                bail!("the brokers did not find each other within {PATIENCE:?}");
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// Small file system in memory, gone when this is dropped.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts one at a directory.
    fn new(directory: &Path, size: &str) -> Result<Mounted> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "netcluster"]);
        let done = mount.arg(directory).output().context("cannot run mount")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr).trim());
        Ok(Mounted(directory.to_owned()))
    }

    /// Takes all room that is left; returns the file that has it.
    pub fn fill(&self) -> Result<PathBuf> {
        let filler = self.0.join("filler");
        let written = fs::write(&filler, vec![1; 1 << 20]);
        ensure!(written.is_err(), "a full file system has room for a megabyte");
        Ok(filler)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Whatever still has a file of it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
