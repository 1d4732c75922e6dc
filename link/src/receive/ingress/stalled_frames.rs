//! Large frames that do not go on.
//!
//! Such a frame holds memory that frames of other peers may wait for. It is looked
//! at now and then, and given up if it has not grown for too long.

use netcluster_platform::Instant;

use super::Ingress;

/// Time after which a large frame that has not grown is given up: others may wait for its
/// memory. Far more than any healthy sender waits for any receiver.
pub const STALLED_FRAME_NS: u64 = 10_000_000_000;

/// Bytes by which a large frame must grow in that time while others wait. A sender is never
/// slower than 1 MB/s, all its streams together.
pub const STALLED_FRAME_BYTES: usize = 256 << 10;

/// Growth of one stream's large frame.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// Frame that was seen last, how far it was, and since when it is no further.
    seen: Option<(u64, usize, Instant)>,
}

impl Stall {
    /// Forgets the frame: there is none, or the time so far does not count.
    pub fn forget(&mut self) {
        self.seen = None;
    }

    /// Whether the frame that is filling (which one it is, how far) is to be given
    /// up now. `is_scarce`: others wait.
    pub fn is_over(
        &mut self,
        now: Instant,
        (frame, filled): (u64, usize),
        is_scarce: bool,
        patience_ns: u64,
    ) -> bool {
        let enough = if is_scarce { STALLED_FRAME_BYTES } else { 1 };
        match self.seen {
            Some((before, then, since)) if before == frame && filled < then + enough => {
                let limit_ns = STALLED_FRAME_NS.saturating_add(patience_ns);
                let is_over = now.since(since) >= limit_ns;
                if is_over {
                    self.seen = None;
                }
                is_over
            }
            _ => {
                self.seen = Some((frame, filled, now));
                false
            }
        }
    }
}

impl Ingress {
    /// Whether a large frame waits for memory that other streams have.
    pub fn waits_for_memory(&self) -> bool {
        self.assembler.waits_for_memory()
    }

    /// Whether a large frame is filling, or waits for memory.
    pub fn has_large_frame(&self) -> bool {
        self.assembler.filling().is_some() || self.waits_for_memory()
    }

    /// Gives up the large frame that is filling if it has not grown for
    /// [`STALLED_FRAME_NS`] and this; whether it did. The event is then lost, as is
    /// told at the next boundary or heartbeat. To be called every second or so, and
    /// when all that came has been delivered.
    pub fn give_up_stalled(&mut self, now: Instant, patience_ns: u64) -> bool {
        // While it is held it is we who do not go on.
        let filling = self.assembler.filling().filter(|_| self.held.is_none());
        let Some(filling) = filling else {
            self.stall.forget();
            return false;
        };
        let is_over =
            self.stall.is_over(now, filling, self.assembler.is_memory_scarce(), patience_ns);
        if is_over {
            self.assembler.cut();
        }
        is_over
    }
}
