//! Clients that come and go, stand still, are killed or kicked.

use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;

use super::super::crew::Victim;
use super::super::disturbance::KICK_REASON;
use super::super::machine::signal;
use super::super::plan::{CHANNEL, FLOOD_CHANNEL, Order, PATTERN, VictimPlan};
use super::{Stage, sleep};

/// Clients that come and go.
const VISITORS: (usize, usize) = (50, 300);
/// Most processes of clients that are killed, and the clients of each.
const VICTIMS: (usize, usize) = (4, 4);
/// Bytes to a listener that stands still: more than its queue takes.
const FLOOD_BYTES: u64 = 12 << 20;
const POLL: Duration = Duration::from_millis(20);
/// Time beyond the stall timeout that a broker may take to be rid of a client.
const RID: Duration = Duration::from_secs(5);

impl Stage<'_> {
    pub(super) fn churn(&mut self) -> Result<()> {
        let most = VISITORS.0 + ((VISITORS.1 - VISITORS.0) as f64 * self.scale) as usize;
        let clients = (VISITORS.0 + self.drawn_below(most - VISITORS.0 + 1)) as u32;
        let (connected, refused) = self.crew.crowd(self.machine, &Order::Churn(clients))?;
        if connected < clients {
            let why = refused.unwrap_or_default();
            self.fault(format!("{} of {clients} clients failed: {why}", clients - connected));
        }
        self.note(format!("{connected} clients"));
        Ok(())
    }

    pub(super) fn kill_clients(&mut self) -> Result<()> {
        let processes = 1 + self.drawn_below(VICTIMS.0);
        let mut victims = Vec::new();
        for number in 0..processes {
            let plan = VictimPlan {
                channel: CHANNEL.into(),
                patterns: vec![PATTERN.into(); VICTIMS.1],
                shares_memory: number % 2 == 0,
                emits: true,
                ..self.victim()
            };
            victims.push(Victim::start(self.site, self.machine, plan)?);
        }
        let alive = self.drawn(0.1, 0.5);
        sleep(alive);
        victims.iter_mut().for_each(Victim::kill);
        self.healed();
        self.note(format!("{} clients", processes * VICTIMS.1));
        Ok(())
    }

    pub(super) fn victim(&self) -> VictimPlan {
        VictimPlan {
            socket: self.site.machines[self.machine].socket.clone(),
            channel: FLOOD_CHANNEL.into(),
            patterns: Vec::new(),
            shares_memory: true,
            emits: false,
        }
    }

    /// A listener of another channel stands still: who emits to it waits until it is
    /// disconnected, and nobody else does.
    pub(super) fn stop_reader(&mut self) -> Result<()> {
        let shares_memory = self.drawn_below(2) == 0;
        let plan = VictimPlan { patterns: vec!["flood.0".into()], shares_memory, ..self.victim() };
        let victim = Victim::start(self.site, self.machine, plan)?;
        let before = self.stalled()?;
        signal(victim.pid(), Signal::STOP)?;
        let (_, refused) =
            self.crew.crowd(self.machine, &Order::Flood { clients: 1, bytes: FLOOD_BYTES })?;
        if let Some(why) = refused {
            self.fault(format!("who emitted to it failed: {why}"));
        }
        let stall = Duration::from_millis(self.site.settings().stall_timeout_ms);
        let deadline = Instant::now() + stall + RID;
        while self.stalled()? == before && Instant::now() < deadline {
            sleep(POLL);
        }
        if self.stalled()? == before {
            self.fault("a listener that stood still was not disconnected");
        }
        self.healed();
        self.note(if shares_memory { "by shared memory" } else { "by its socket" });
        Ok(())
    }

    fn stalled(&self) -> Result<u64> {
        let status = self.site.machines[self.machine].status()?;
        Ok(status["totals"]["stalled"].as_u64().unwrap_or_default())
    }

    pub(super) fn stop_listeners(&mut self) -> Result<()> {
        let most = self.site.settings().stall_timeout_ms as f64 / 1000.0 / 2.0;
        let still = self.drawn(0.1, most);
        let pid = self.crew.listeners(self.machine);
        signal(pid, Signal::STOP)?;
        sleep(still);
        signal(pid, Signal::CONT)?;
        self.healed();
        self.note(format!("{} ms", still.as_millis()));
        Ok(())
    }

    pub(super) fn kick(&mut self) -> Result<()> {
        let is_emitter = self.drawn_below(2) == 0;
        let pid = if is_emitter {
            self.crew.emitters(self.machine)
        } else {
            self.crew.listeners(self.machine)
        };
        let machine = &self.site.machines[self.machine];
        let done =
            machine.command(&["kick", "--pid", &pid.to_string(), "--reason", KICK_REASON])?;
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr).into_owned();
            self.fault(format!("kick failed: {why}"));
        }
        self.healed();
        self.note(if is_emitter { "emitters" } else { "listeners" });
        Ok(())
    }
}
