//! Environment of runs, the same for all of a search: this machine, those of agents, or
//! namespaces of this one.

use anyhow::{Result, ensure};

use super::agents::Agents;
use super::args::RunArgs;
#[cfg(target_os = "linux")]
use super::network::Netns;
use crate::agent::args::MachineArgs;
use crate::agent::hello::Token;
use crate::broker;
use crate::scenario::{FaultSpec, Scenario};

/// Machines on which runs take place.
pub struct Environment {
    addresses: Vec<String>,
    token: Option<Token>,
    local: MachineArgs,
    #[cfg(target_os = "linux")]
    netns: Option<Netns>,
}

impl Environment {
    /// Prepares the machines that the arguments name; makes namespaces if they say so.
    ///
    /// # Errors
    /// If the token cannot be read, or a namespace cannot be made.
    pub fn prepare(args: &RunArgs, scenario: &Scenario) -> Result<Environment> {
        let token = args.token_file.as_deref().map(Token::read).transpose()?;
        let machines = scenario.machines.0.len();
        ensure!(
            args.netns.is_some() || args.agents.len() == machines || machines == 1,
            "the scenario needs {machines} machines: give {machines} --agent, or --netns {machines}"
        );
        if args.agents.is_empty() && scenario.broker.start {
            // Said before anything is made.
            broker::find(args.machine.broker.as_deref())?;
        }
        #[cfg(target_os = "linux")]
        let netns = match args.netns {
            Some(_) => Some(Netns::make(scenario, &args.machine)?),
            None => None,
        };
        Ok(Environment {
            addresses: args.agents.clone(),
            token,
            local: args.machine.clone(),
            #[cfg(target_os = "linux")]
            netns,
        })
    }

    /// Connects to the session of each machine.
    ///
    /// # Errors
    /// If a machine is not reached, or refuses.
    pub fn connect(&self, scenario: &Scenario) -> Result<Agents> {
        let names = &scenario.machines.0;
        let mut agents = Agents::new();
        #[cfg(target_os = "linux")]
        if let Some(netns) = &self.netns {
            netns.connect(names, &mut agents)?;
            return Ok(agents);
        }
        if self.addresses.is_empty() {
            agents.add_local(&names[0], &self.local);
            return Ok(agents);
        }
        for (name, address) in names.iter().zip(&self.addresses) {
            agents.add(name, address, self.token.as_ref())?;
        }
        Ok(agents)
    }

    /// Lets a fault begin between the machines, or mends it.
    ///
    /// # Errors
    /// If there can be no such fault here.
    pub fn set_fault(&self, machine: usize, fault: &FaultSpec, is_on: bool) -> Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(netns) = &self.netns {
            return netns.set_fault(machine, fault, is_on);
        }
        let (_, _) = (machine, is_on);
        anyhow::bail!("{:?} needs --netns", fault.kind)
    }
}
