//! Faults of a simulated run, and how often they happen.
//!
//! All chances are per thousand unless the name says otherwise. Everything is off
//! in [`Faults::default`]: then each operation is carried out whole and at once.

/// The faults of one [`SimNet`](super::SimNet).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A receive brings a random part of what is there, down to one byte.
    pub short_read_permille: u32,
    /// A client's write takes a random part of what it is given.
    pub short_client_write_permille: u32,
    /// A send takes a random part, though there was room for all.
    pub short_send_permille: u32,
    /// A send takes nothing, though there was room.
    pub blocked_send_permille: u32,
    /// A send takes all and blocks nevertheless, as one does that copies: what it took
    /// is lost if the connection is closed before `Writable`.
    pub held_send_permille: u32,
    /// A send is carried out at the next `wait`, not at once.
    pub lazy_send_permille: u32,
    /// A multishot receive ends and is armed anew before it brings bytes.
    pub multishot_end_permille: u32,
    /// Number of chunks that may still arrive after a `stop_receive`, if there are bytes.
    pub late_chunks: u32,
    /// A completion is late, by up to [`Faults::max_delay_ns`].
    pub delay_permille: u32,
    /// The longest delay of a completion.
    pub max_delay_ns: u64,
    /// Accepting fails with "too many open files" and pauses.
    pub accept_failure_permille: u32,
    /// The client dies in the middle of a write: chance per million receives.
    pub reset_per_million: u32,
    /// Number of pool buffers of each shard; each chunk takes one.
    pub pool_buffers: u32,
    /// Bytes of one pool buffer: the longest chunk.
    pub buffer_bytes: usize,
    /// Bytes that a socket holds, each way.
    pub socket_bytes: usize,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            short_read_permille: 0,
            short_client_write_permille: 0,
            short_send_permille: 0,
            blocked_send_permille: 0,
            held_send_permille: 0,
            lazy_send_permille: 0,
            multishot_end_permille: 0,
            late_chunks: 0,
            delay_permille: 0,
            max_delay_ns: 0,
            accept_failure_permille: 0,
            reset_per_million: 0,
            pool_buffers: 4096,
            buffer_bytes: 64 * 1024,
            socket_bytes: 256 * 1024,
        }
    }
}

impl Faults {
    /// Makes every fault happen, moderately.
    pub fn rough() -> Faults {
        Faults {
            short_read_permille: 300,
            short_client_write_permille: 200,
            short_send_permille: 150,
            blocked_send_permille: 50,
            held_send_permille: 0,
            lazy_send_permille: 500,
            multishot_end_permille: 100,
            late_chunks: 3,
            delay_permille: 400,
            max_delay_ns: 300_000,
            accept_failure_permille: 100,
            reset_per_million: 200,
            pool_buffers: 16,
            buffer_bytes: 4 * 1024,
            socket_bytes: 32 * 1024,
        }
    }

    /// [`Faults::rough`] as named pipes are: sends are copied.
    pub fn rough_pipes() -> Faults {
        Faults { held_send_permille: 300, ..Faults::rough() }
    }

    /// [`Faults::rough`] without clients that die by themselves.
    pub fn rough_without_resets() -> Faults {
        Faults { reset_per_million: 0, ..Faults::rough() }
    }
}
