//! Cables that are pulled, packets that are lost.

use std::time::Duration;

use anyhow::Result;

use super::{Stage, sleep};

/// Thousandths of packets that are lost, at the most.
const MAX_LOSS: f64 = 50.0;
/// Time that packets are lost.
const LOSSY: (f64, f64) = (0.5, 3.0);

impl Stage<'_> {
    /// Pulls a cable, for as long as the other machine takes to give this one up, or not.
    pub(super) fn pull_cable(&mut self, most: f64, until_given_up: bool) -> Result<()> {
        let down =
            if until_given_up { self.drawn(most / 3.0, most) } else { self.drawn(0.02, most) };
        self.site.network()?.set_cable(self.machine, false)?;
        sleep(down);
        self.site.network()?.set_cable(self.machine, true)?;
        self.healed();
        self.note(format!("{} ms", down.as_millis()));
        self.site.wait_until_linked()
    }

    pub(super) fn lose_packets(&mut self) -> Result<()> {
        let thousandths = 1 + (self.random.unit() * MAX_LOSS) as u32;
        let lossy: Duration = self.drawn(LOSSY.0, LOSSY.1);
        let host = self.site.network()?.host(self.machine);
        host.set_loss(thousandths)?;
        sleep(lossy);
        let lost = host.packets_lost()?;
        host.set_loss(0)?;
        self.healed();
        self.note(format!("{} %: {lost} packets", f64::from(thousandths) / 10.0));
        Ok(())
    }
}
