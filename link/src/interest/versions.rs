//! Versions of this broker's own interest, and which of them all peers know.

use crate::membership::peers::Peers;

/// Counts how often the own interest changed, and how often peers were told.
#[derive(Default)]
pub(crate) struct InterestVersions {
    version: u64,
    /// Newest version that was reported as known to all.
    reported: u64,
    /// Number of the newest interest that any peer was told: each peer gets growing ones
    /// even if it was forgotten meanwhile. Behind the largest one comes 1.
    pub(crate) told: u32,
}

impl InterestVersions {
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Counts a change of the interest.
    pub fn changed(&mut self) {
        self.version += 1;
    }

    /// Reports the newest version once more when all peers know it: some peer may have
    /// forgotten it.
    pub fn unconfirmed(&mut self) {
        self.reported = self.reported.min(self.version.saturating_sub(1));
    }

    /// The newest version, if all peers know it by now and did not before.
    pub fn newly_known(&mut self, peers: &Peers) -> Option<u64> {
        let is_new = self.reported < self.version && peers.have_confirmed(self.version);
        is_new.then(|| {
            self.reported = self.version;
            self.version
        })
    }

    /// Lets the next number be newer than this one, too, which a peer has heard.
    pub fn outbid(&mut self, heard: u32) {
        if !is_newer(self.told.wrapping_add(1), heard) {
            self.told = heard;
        }
    }

    /// The number of the next interest that a peer is sent.
    pub fn next_told(&mut self) -> u32 {
        self.told = self.told.wrapping_add(1).max(1);
        self.told
    }
}

/// Whether one version of an interest is newer than another, also where counting
/// begins anew: the shorter way there leads up. 0 is none.
pub(crate) fn is_newer(version: u32, than: u32) -> bool {
    let ahead = version.wrapping_sub(than);
    than == 0 && version != 0 || (1..1 << 31).contains(&ahead)
}
