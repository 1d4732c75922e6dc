//! Summary: what the link tells the brokers of other machines of this one.

use netcluster_platform::Io;
use netcluster_wire::link::Summary;

use crate::status::Totals;

use super::Shard;
use super::survey::Part;

impl<I: Io> Shard<I> {
    /// Tells the other brokers what all shards have counted.
    pub(super) fn tell_summary(&mut self, parts: Vec<Part>) {
        let mut totals = Totals::default();
        for part in parts {
            if let Part::Counted(part) = part {
                totals.add(&part.totals);
            }
        }
        let is_draining = self.is_draining();
        let uptime_ms = self.now.since(self.started) / 1_000_000;
        let Some(driver) = self.link.as_deref_mut() else { return };
        driver.link.tell_summary(&Summary {
            uptime_ms,
            in_per_s: totals.events_in_per_s as u64,
            out_per_s: totals.events_out_per_s as u64,
            lost: totals.dropped + driver.link.events_lost(),
            queued_bytes: totals.queued_bytes,
            clients: u32::try_from(totals.clients).unwrap_or(u32::MAX),
            is_draining,
            version: &self.shared.about.version,
        });
        self.transmit();
    }
}
