//! Events that are missing in a queue, counted per source until the client is told.

use netcluster_platform::Slice;
use netcluster_wire::header::Header;
use netcluster_wire::{Kind, LossReason, Source, control, frame};

/// Sources that are told apart; beyond, they are counted together under
/// [`Source::NONE`].
const MAX_LOSS_SOURCES: usize = 64;

/// Events that a queue did not take or dropped. A count of `None` is unknown.
#[derive(Debug, Default)]
pub struct Loss {
    by_source: Vec<(Source, Option<u64>)>,
}

impl Loss {
    /// Adds a number of missing events of this source.
    pub fn add(&mut self, source: Source, count: Option<u64>) {
        let known = self.by_source.iter().position(|(other, _)| *other == source);
        let at = match known {
            Some(at) => at,
            None if self.by_source.len() < MAX_LOSS_SOURCES => {
                self.by_source.push((source, Some(0)));
                self.by_source.len() - 1
            }
            None => {
                let last = self.by_source.len() - 1;
                self.by_source[last].0 = Source::NONE;
                last
            }
        };
        let sum = &mut self.by_source[at].1;
        *sum = sum.zip(count).map(|(sum, count)| sum + count);
    }

    /// Adds these missing events: whole frames in one slice, or one frame in several.
    /// Returns their number.
    pub fn add_frames(&mut self, pieces: &[Slice]) -> u64 {
        let bytes = pieces.first().map_or(&[][..], Slice::as_bytes);
        let mut at = 0;
        let mut count = 0;
        while let Some(head) = bytes.get(at..).and_then(Header::read) {
            self.add(head.source(), Some(1));
            count += 1;
            at += head.length.get() as usize;
        }
        count
    }

    /// Returns one `lost` frame per source.
    pub fn notices(self, reason: LossReason) -> impl Iterator<Item = Vec<u8>> {
        self.by_source.into_iter().map(move |(source, count)| notice(source, count, reason))
    }
}

/// Returns a `lost` frame.
pub fn notice(source: Source, count: Option<u64>, reason: LossReason) -> Vec<u8> {
    let payload = control::encode_lost(reason);
    frame::encode(Kind::Lost, source, count.unwrap_or(0), b"", &payload)
}

/// Returns the count in a `lost` frame's sequence.
pub fn count_of(sequence: u64) -> Option<u64> {
    (sequence != 0).then_some(sequence)
}
