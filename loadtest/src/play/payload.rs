//! Stamped payloads of any size up to a largest one, written one after the other into the
//! same bytes.
//!
//! Invariant: but for those that the last stamp wrote, the bytes are the pattern that
//! readers compare with.

use crate::stamp::{MIN_TIMED_BYTES, Stamp, Template, write_into};

/// Bytes at the end of a payload that depend on its stamp.
const SEAL_BYTES: usize = 8;

/// Writer of payloads.
#[derive(Debug)]
pub struct Payload {
    bytes: Vec<u8>,
    /// Bytes that the last seal covered, and their place.
    covered: Option<(usize, [u8; SEAL_BYTES])>,
}

impl Payload {
    /// Makes a writer of payloads of at most so many bytes.
    pub fn new(max_size: usize) -> Payload {
        let mut template = Template::new(max_size.max(MIN_TIMED_BYTES));
        let mut bytes = template.write(Stamp::default(), 0).to_vec();
        // The template has sealed itself; its pattern depends on the position alone.
        let mut longer = Template::new(bytes.len() + SEAL_BYTES);
        let pristine = longer.write(Stamp::default(), 0);
        let end = bytes.len();
        bytes[MIN_TIMED_BYTES..].copy_from_slice(&pristine[MIN_TIMED_BYTES..end]);
        Payload { bytes, covered: None }
    }

    /// Writes the payload of an event.
    pub fn write(&mut self, size: usize, stamp: Stamp, due_ns: u64) -> &[u8] {
        if let Some((at, bytes)) = self.covered.take() {
            self.bytes[at..at + SEAL_BYTES].copy_from_slice(&bytes);
        }
        let size = size.clamp(MIN_TIMED_BYTES, self.bytes.len());
        if size >= MIN_TIMED_BYTES + SEAL_BYTES {
            let at = size - SEAL_BYTES;
            let bytes = self.bytes[at..size].try_into().expect("eight bytes");
            self.covered = Some((at, bytes));
        }
        write_into(&mut self.bytes[..size], stamp, due_ns);
        &self.bytes[..size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_reads_back_whole_after_every_other() {
        let mut payload = Payload::new(1000);
        let reader = Template::new(1000);
        let sizes = [1000, 24, 31, 32, 33, 500, 504, 999, 1000, 40];
        for (sequence, size) in sizes.into_iter().enumerate() {
            let stamp = Stamp { sequence: sequence as u64, emitter: 3, event: 2 };
            let written = payload.write(size, stamp, 7);
            assert_eq!(written.len(), size);
            assert_eq!(reader.read_any(written, true), Some(stamp), "{size}");
        }
        let mut cut = payload.write(600, Stamp::default(), 7).to_vec();
        cut.truncate(592);
        assert_eq!(reader.read_any(&cut, true), None);
    }
}
