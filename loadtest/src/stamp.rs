//! Payload of a measured event, written by emitters, checked by listeners.
//!
//! ```text
//!  0          8         10      12      16              24            size-8
//!  +----------+---------+-------+-------+---------------+--------------+------+
//!  | sequence | emitter | event | check | intended send | pattern …    | seal |
//!  +----------+---------+-------+-------+---------------+--------------+------+
//! ```
//! `sequence` counts from 0 per emitter and event. `check` is a hash of the words before
//! it, `seal` one of the sequence. The intended send time (ns) is there from 24 bytes on,
//! the seal from 32, the pattern between them depends on its position alone, so that an
//! emitter writes it once.
//!
//! Header and seal are checked on every event, the pattern on every 64th (or on all, on
//! demand), since comparing 64 KiB costs more than delivering it.

/// Smallest payload that can be told apart.
pub const MIN_BYTES: usize = 16;
/// Smallest payload that holds the intended send time.
pub const MIN_TIMED_BYTES: usize = 24;
const SEAL_BYTES: usize = 8;
const MIN_SEALED_BYTES: usize = MIN_TIMED_BYTES + SEAL_BYTES;
/// Number of payloads of which one is compared whole.
const FULL_CHECK_EVERY: u64 = 64;

/// Stamp: what a payload says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Sequence per emitter and event, from 0.
    pub sequence: u64,
    /// Number of the emitter.
    pub emitter: u16,
    /// Number of the event.
    pub event: u16,
}

/// Payload of one size, to write stamps into and to compare with.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
}

impl Template {
    /// Makes a payload of `size` bytes with its pattern; at least [`MIN_BYTES`].
    pub fn new(size: usize) -> Template {
        let mut bytes = vec![0; size.max(MIN_BYTES)];
        for (index, word) in bytes.chunks_mut(8).enumerate().skip(MIN_TIMED_BYTES / 8) {
            let pattern = mix(index as u64).to_le_bytes();
            word.copy_from_slice(&pattern[..word.len()]);
        }
        Template { bytes }
    }

    /// Writes the payload of this event.
    #[inline]
    pub fn write(&mut self, stamp: Stamp, intended_ns: u64) -> &[u8] {
        write_into(&mut self.bytes, stamp, intended_ns);
        &self.bytes
    }

    /// Reads a payload's stamp; `None` if the payload was changed.
    #[inline]
    pub fn read(&self, payload: &[u8], full: bool) -> Option<Stamp> {
        if payload.len() != self.bytes.len() {
            return None;
        }
        self.read_any(payload, full)
    }

    /// Reads the stamp of a payload of any size up to the template's, as
    /// [`Template::read`] does.
    #[inline]
    pub fn read_any(&self, payload: &[u8], full: bool) -> Option<Stamp> {
        if !(MIN_BYTES..=self.bytes.len()).contains(&payload.len()) {
            return None;
        }
        let identity = word(payload, 8);
        let stamp = Stamp {
            sequence: word(payload, 0),
            emitter: identity as u16,
            event: (identity >> 16) as u16,
        };
        if stamp.word() != identity {
            return None;
        }
        if payload.len() >= MIN_SEALED_BYTES {
            let end = payload.len() - SEAL_BYTES;
            if word(payload, end) != mix(stamp.sequence) {
                return None;
            }
            let whole = full || stamp.sequence.is_multiple_of(FULL_CHECK_EVERY);
            if whole && payload[MIN_TIMED_BYTES..end] != self.bytes[MIN_TIMED_BYTES..end] {
                return None;
            }
        }
        Some(stamp)
    }
}

/// Makes a payload that a template once wrote that of another event.
#[inline]
pub fn write_into(payload: &mut [u8], stamp: Stamp, intended_ns: u64) {
    let size = payload.len();
    payload[..8].copy_from_slice(&stamp.sequence.to_le_bytes());
    payload[8..16].copy_from_slice(&stamp.word().to_le_bytes());
    if size >= MIN_TIMED_BYTES {
        payload[16..24].copy_from_slice(&intended_ns.to_le_bytes());
    }
    if size >= MIN_SEALED_BYTES {
        payload[size - SEAL_BYTES..].copy_from_slice(&mix(stamp.sequence).to_le_bytes());
    }
}

/// Reads the intended send time of a payload of at least [`MIN_TIMED_BYTES`].
#[inline]
pub fn intended_ns(payload: &[u8]) -> Option<u64> {
    (payload.len() >= MIN_TIMED_BYTES).then(|| word(payload, 16))
}

impl Stamp {
    /// Returns the word of emitter, event and the check over all.
    #[inline]
    fn word(&self) -> u64 {
        let identity = self.emitter as u64 | (self.event as u64) << 16;
        let check = mix(self.sequence ^ identity.rotate_left(40)) >> 32;
        identity | check << 32
    }
}

/// Spreads a number over 64 bits; one multiplication, since this runs per event.
#[inline]
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x5851_f42d_4c95_7f2d).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value ^ value >> 29
}

/// Reads the little-endian word at `offset`.
#[inline]
fn word(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { sequence: 1 << 40 | 77, emitter: 513, event: 9 };

    #[test]
    fn a_stamp_reads_back_in_every_size() {
        for size in [16, 17, 24, 31, 32, 33, 64, 1000, 65536] {
            let mut template = Template::new(size);
            let payload = template.write(STAMP, 5).to_vec();
            assert_eq!(payload.len(), size);
            assert_eq!(Template::new(size).read(&payload, true), Some(STAMP));
            assert_eq!(intended_ns(&payload), (size >= 24).then_some(5));
        }
    }

    #[test]
    fn any_flipped_byte_but_the_time_is_seen() {
        for size in [16, 64, 67] {
            let mut template = Template::new(size);
            let payload = template.write(STAMP, 5).to_vec();
            let checked = |at: &usize| *at < 16 || (size >= 32 && *at >= 24);
            for at in (0..size).filter(checked) {
                let mut broken = payload.clone();
                broken[at] ^= 0x10;
                assert_eq!(Template::new(size).read(&broken, true), None, "byte {at} of {size}");
            }
            assert_eq!(Template::new(size).read(&payload[1..], true), None);
        }
    }

    #[test]
    fn the_pattern_is_compared_on_every_64th_event_alone() {
        let mut template = Template::new(100);
        let read = |sequence| {
            let mut payload = template.clone().write(Stamp { sequence, ..STAMP }, 0).to_vec();
            payload[50] ^= 1;
            template.read(&payload, false)
        };
        assert_eq!(read(128), None);
        assert!(read(129).is_some());
        template.write(STAMP, 0);
    }
}
