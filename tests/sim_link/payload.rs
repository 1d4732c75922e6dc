//! Payloads that name their event, and whose every byte can be checked.
//!
//! ```text
//!   emitter u32 | sequence u64 | byte `at` is 31 * sequence + 7 * at, and so on
//! ```
//! So an event is known whatever its source, also after a restart. The bytes behind the
//! name repeat themselves after 256: they are copied from one pattern, and compared with
//! it, without being computed for each event and each of its listeners.

/// Length of the smallest payload, which names the event.
pub const MIN_PAYLOAD_BYTES: usize = 12;

/// Number of bytes after which a payload repeats itself.
const PERIOD_BYTES: usize = 256;

/// Bytes of a payload that are copied or compared at once: a multiple of the period.
const PART_BYTES: usize = 16 * PERIOD_BYTES;

/// Inverse of 7 modulo the period: 7 * 183 is 1.
const INVERSE_OF_7: usize = 183;

/// Pattern whose byte `at` is 7 * `at`: parts of it begin anywhere in the first period.
static PATTERN: [u8; PERIOD_BYTES + PART_BYTES] = {
    let mut pattern = [0; PERIOD_BYTES + PART_BYTES];
    let mut at = 0;
    while at < pattern.len() {
        pattern[at] = (at * 7) as u8;
        at += 1;
    }
    pattern
};

/// Makes the payload of an event.
pub fn make(emitter: usize, sequence: u64, bytes: usize) -> Vec<u8> {
    let mut payload = Vec::with_capacity(bytes);
    payload.extend_from_slice(&(emitter as u32).to_le_bytes());
    payload.extend_from_slice(&sequence.to_le_bytes());
    parts(sequence, bytes).for_each(|part| payload.extend_from_slice(part));
    payload
}

/// Reads the emitter and the sequence that a payload names.
pub fn names(payload: &[u8]) -> (usize, u64) {
    let emitter = u32::from_le_bytes(payload[..4].try_into().expect("four bytes"));
    let sequence = u64::from_le_bytes(payload[4..12].try_into().expect("eight bytes"));
    (emitter as usize, sequence)
}

/// Returns whether a payload is, behind the name, that of an event of so many bytes.
pub fn is_of(payload: &[u8], sequence: u64, bytes: usize) -> bool {
    let mut rest = &payload[MIN_PAYLOAD_BYTES..];
    let is_same = parts(sequence, bytes).all(|part| {
        let Some(behind) = rest.strip_prefix(part) else { return false };
        rest = behind;
        true
    });
    is_same && rest.is_empty()
}

/// Returns the bytes behind the name, in pieces.
fn parts(sequence: u64, bytes: usize) -> impl Iterator<Item = &'static [u8]> {
    let turned = (sequence as usize).wrapping_mul(31 * INVERSE_OF_7);
    let start = turned.wrapping_add(MIN_PAYLOAD_BYTES) % PERIOD_BYTES;
    let rest = bytes.saturating_sub(MIN_PAYLOAD_BYTES);
    (0..rest).step_by(PART_BYTES).map(move |at| {
        let part = PART_BYTES.min(rest - at);
        &PATTERN[start..start + part]
    })
}

#[test]
fn a_payload_is_known_and_any_other_byte_seen() {
    for (sequence, bytes) in [(1, 12), (2, 13), (77, 300), (1 << 40, 4107), (9, 4109), (3, 70_000)]
    {
        let mut payload = make(5, sequence, bytes);
        assert_eq!(payload.len(), bytes);
        assert_eq!(names(&payload), (5, sequence));
        let rest = payload.iter().enumerate().skip(MIN_PAYLOAD_BYTES);
        for (at, &byte) in rest {
            assert_eq!(byte, (sequence.wrapping_mul(31) as usize).wrapping_add(at * 7) as u8);
        }
        assert!(is_of(&payload, sequence, bytes));
        assert!(!is_of(&payload, sequence, bytes + 1));
        if bytes > MIN_PAYLOAD_BYTES {
            assert!(!is_of(&payload, sequence, bytes - 1));
            assert!(!is_of(&payload, sequence + 1, bytes));
            payload[bytes - 1] ^= 1;
            assert!(!is_of(&payload, sequence, bytes));
        }
    }
}
