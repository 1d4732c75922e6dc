//! Measurement from client to client: a broker on each host, an emitter or a listener at
//! it.
//!
//! The channel is pressured (`--cluster-pressure`), so that nothing is lost when a
//! listener is slower than the link.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::broker::Broker;
use crate::child_processes::ChildProcesses;
use crate::interrupt;
use crate::link::plan::{CHANNEL, EVENT, GROUP, LinkScenario};
use crate::link::run::{Run, wait_ready};
use crate::plan::{EmitterPlan, ListenerPlan, Role, emitter_name};
use crate::scratch::Scratch;
use crate::transport::Transport;
use netcluster_testkit::netns::Network;

/// Time that brokers get to find each other and to tell who listens.
const SETTLE: Duration = Duration::from_secs(1);
/// Key that is no secret.
const KEY_TEXT: [u8; 32] = [7; 32];

/// Brokers, one on each host.
pub struct Brokers {
    brokers: Vec<(Broker, Scratch)>,
}

impl Brokers {
    /// Starts everything and waits until it is ready.
    pub fn set_up(scenario: &LinkScenario, network: &Network, program: &Path) -> Result<Run> {
        let mut brokers = Brokers { brokers: Vec::new() };
        for host in network.hosts() {
            let scratch = Scratch::new()?;
            let mut arguments = vec![
                "--link".to_owned(),
                GROUP.to_string(),
                "--cluster-pressure".into(),
                CHANNEL.into(),
                "--shards".into(),
                "1".into(),
            ];
            if let Some(backend) = &scenario.backend {
                arguments.extend(["--backend".into(), backend.clone()]);
            }
            if scenario.has_key {
                let path = scratch.log().with_file_name("key");
                fs::write(&path, KEY_TEXT).context("cannot write a key")?;
                arguments.extend(["--key-file".into(), path.display().to_string()]);
            }
            let broker = Broker::start_on(host, program, &arguments, &scratch)?;
            brokers.brokers.push((broker, scratch));
        }
        let mut children = ChildProcesses::new();
        let mut receivers = Vec::new();
        for index in scenario.senders..scenario.hosts() {
            let role = Role::Listener(brokers.listener(scenario, index));
            let name = format!("listener on host {index}");
            receivers.push(children.start_on(network.host(index), &name, &role)?);
        }
        wait_ready(&mut children, &receivers)?;
        let mut senders = Vec::new();
        for index in 0..scenario.senders {
            let role = Role::Emitter(brokers.emitter(scenario, index));
            let name = format!("emitter on host {index}");
            senders.push(children.start_on(network.host(index), &name, &role)?);
        }
        wait_ready(&mut children, &senders)?;
        interrupt::sleep(SETTLE);
        Ok(Run { children, senders, receivers, brokers: Some(brokers) })
    }

    fn listener(&self, scenario: &LinkScenario, index: usize) -> ListenerPlan {
        ListenerPlan {
            socket: self.brokers[index].1.socket(),
            name: format!("listener-{index}"),
            transport: Transport::default(),
            event: (0, EVENT.into()),
            emitters: scenario.senders,
            size: scenario.size,
            verify_full: false,
            timed: scenario.rate.is_some(),
            reply: None,
        }
    }

    fn emitter(&self, scenario: &LinkScenario, index: usize) -> EmitterPlan {
        EmitterPlan {
            socket: self.brokers[index].1.socket(),
            name: emitter_name(index),
            transport: Transport::default(),
            index: index as u16,
            events: vec![(0, EVENT.into())],
            size: scenario.size,
            rate: scenario.rate,
            count: None,
            reply: None,
            inject: None,
        }
    }

    /// Returns the brokers' process ids.
    pub fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.brokers.iter().map(|(broker, _)| broker.pid())
    }

    /// Returns what the brokers have logged, for an error.
    pub fn logs(&self) -> String {
        let logs = self.brokers.iter().enumerate().map(|(index, (_, scratch))| {
            let log = fs::read_to_string(scratch.log()).unwrap_or_default();
            format!("the broker on host {index} said:\n{log}")
        });
        logs.collect()
    }

    /// Ends the brokers.
    pub fn stop(self) {
        self.brokers.into_iter().for_each(|(broker, _)| broker.stop());
    }
}
