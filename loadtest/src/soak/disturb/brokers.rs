//! Fate of a broker: killed, restarted, succeeded, stopped.

use anyhow::Result;
use rustix::process::Signal;

use super::super::machine::signal;
use super::{Stage, sleep};

impl Stage<'_> {
    /// Kills the broker with whatever it has, and starts it again after a while.
    pub(super) fn kill_broker(&mut self) -> Result<()> {
        let down = self.drawn(0.02, 0.5);
        self.site.machines[self.machine].kill()?;
        sleep(down);
        self.change_memory();
        self.site.start(self.machine)?;
        self.healed();
        self.note(format!("{} ms without one", down.as_millis()));
        self.site.wait_until_linked()
    }

    pub(super) fn restart_broker(&mut self) -> Result<()> {
        self.site.machines[self.machine].stop()?;
        let shares = self.change_memory();
        self.site.start(self.machine)?;
        self.healed();
        self.note(format!("shared memory {}", if shares { "auto" } else { "off" }));
        self.site.wait_until_linked()
    }

    pub(super) fn take_over(&mut self) -> Result<()> {
        let shares = self.change_memory();
        self.site.take_over(self.machine)?;
        self.healed();
        self.note(format!("shared memory {}", if shares { "auto" } else { "off" }));
        self.site.wait_until_linked()
    }

    pub(super) fn stop_broker(&mut self) -> Result<()> {
        let still = self.drawn(0.2, 2.0);
        let pid = self.broker()?;
        signal(pid, Signal::STOP)?;
        sleep(still);
        signal(pid, Signal::CONT)?;
        self.healed();
        self.note(format!("{} ms", still.as_millis()));
        self.site.wait_until_linked()
    }

    pub(super) fn broker(&self) -> Result<u32> {
        let pid = self.site.machines[self.machine].pid();
        pid.ok_or_else(|| anyhow::anyhow!("there is no broker"))
    }

    /// Has the next broker share memory in half of the cases.
    fn change_memory(&mut self) -> bool {
        let shares = self.drawn_below(2) == 0;
        self.site.machines[self.machine].share_memory(shares);
        shares
    }
}
