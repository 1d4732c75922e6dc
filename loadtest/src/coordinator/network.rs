//! Machines that are network namespaces of this one, an agent in each, and faults between
//! them.
//!
//! The agents listen on their namespace's loopback, where nobody else is; connections are
//! made from inside, so that the cable between machines carries the link alone and may be
//! pulled.

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::agents::Agents;
use crate::agent::args::{MachineArgs, PORT};
use crate::interrupt;
use crate::scenario::{FaultKind, FaultSpec, Scenario};
use netcluster_testkit::netns::{INTERFACE, Network, NetworkOptions};

const START_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
const BITS_PER_MBIT: u64 = 1_000_000;
/// Thousandths in a percent: losses are told in thousandths.
const THOUSANDTHS_PER_PERCENT: f64 = 10.0;

/// Namespaces with agents; the agents end first.
pub struct Netns {
    agents: Vec<Agent>,
    network: Network,
    loss_percent: f64,
}

/// Process of an agent, which ends when its input does, whatever becomes of this process.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends by itself, unless it is stuck.
        let deadline = Instant::now() + Duration::from_secs(3);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

impl Netns {
    /// Makes a namespace for each machine of the scenario.
    ///
    /// # Errors
    /// If a tool fails, with the words of the tool.
    pub fn make(scenario: &Scenario, args: &MachineArgs) -> Result<Netns> {
        let hosts = scenario.machines.0.len();
        let network = Network::new(NetworkOptions { hosts, ..NetworkOptions::default() })?;
        let loss_percent = scenario.network.loss_percent;
        for host in network.hosts() {
            if loss_percent > 0.0 {
                host.set_loss(thousandths(loss_percent))?;
            }
            if let Some(rate) = scenario.network.rate_mbit {
                network.set_rate(host.index(), Some(rate.get().saturating_mul(BITS_PER_MBIT)))?;
            }
        }
        let mut netns = Netns { agents: Vec::new(), network, loss_percent };
        for index in 0..hosts {
            let child = netns.start(index, args).context("cannot start an agent")?;
            netns.agents.push(Agent(child));
        }
        Ok(netns)
    }

    fn start(&self, index: usize, args: &MachineArgs) -> Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("agent").arg("--until-eof");
        command.arg("--listen").arg(format!("127.0.0.1:{PORT}"));
        command.arg("--interface").arg(args.interface.as_deref().unwrap_or(INTERFACE));
        if let Some(broker) = &args.broker {
            command.arg("--broker").arg(broker);
        }
        if let Some(socket) = &args.socket {
            command.arg("--socket").arg(socket);
        }
        // In a group of its own: Ctrl-C is for the coordinator.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        Ok(self.network.host(index).spawn(&mut command)?)
    }

    /// Connects to each agent.
    ///
    /// # Errors
    /// If an agent does not listen in time.
    pub fn connect(&self, names: &[String], agents: &mut Agents) -> Result<()> {
        for (index, name) in names.iter().enumerate() {
            let deadline = Instant::now() + START_TIMEOUT;
            let address = (Ipv4Addr::LOCALHOST, PORT);
            let stream = loop {
                match self.network.host(index).enter(|| TcpStream::connect(address))? {
                    Ok(stream) => break stream,
                    Err(error) if Instant::now() > deadline => {
                        return Err(error).context("an agent did not start");
                    }
                    Err(_) => thread::sleep(POLL),
                }
                interrupt::check()?;
            };
            let place = self.network.host(index).v4().to_string();
            agents.add_connected(name, &place, stream, None)?;
        }
        Ok(())
    }

    /// Lets a fault begin, or mends it.
    ///
    /// # Errors
    /// If a tool fails, with the words of the tool.
    pub fn set_fault(&self, machine: usize, fault: &FaultSpec, is_on: bool) -> Result<()> {
        match fault.kind {
            FaultKind::Partition => self.network.set_cable(machine, !is_on),
            FaultKind::Loss => {
                let percent = if is_on { fault.percent } else { self.loss_percent };
                self.network.host(machine).set_loss(thousandths(percent))
            }
            FaultKind::RestartBroker => bail!("a broker is restarted by its agent"),
        }
    }
}

fn thousandths(percent: f64) -> u32 {
    (percent * THOUSANDTHS_PER_PERCENT).round() as u32
}
