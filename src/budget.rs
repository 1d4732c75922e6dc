//! The memory that queues may pin beyond the receive pools: `--max-memory`.
//!
//! Pools have a fixed size. What else an event can pin is copies (of what
//! laggards hold, of heads that straddle two chunks) and the own buffers of
//! large frames. Each is charged while it lives, whichever queues share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

/// The budget of the whole broker. Cloning gives another handle to it.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
}

/// Bytes that are charged until this is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit_bytes: usize) -> Budget {
        Budget { shared: Arc::new(Shared { limit_bytes, used_bytes: AtomicUsize::new(0) }) }
    }

    /// Charges `bytes`. Never refuses: what is already received must go
    /// somewhere; the caller asks [`Budget::is_exhausted`] and pauses emitters.
    pub fn charge(&self, bytes: usize) -> Charge {
        self.shared.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        Charge { budget: self.clone(), bytes }
    }

    /// Whether the limit is reached.
    pub fn is_exhausted(&self) -> bool {
        self.used_bytes() >= self.shared.limit_bytes
    }

    /// Whether `bytes` more would be over the limit.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.used_bytes().saturating_add(bytes) <= self.shared.limit_bytes
    }

    /// Bytes charged now.
    pub fn used_bytes(&self) -> usize {
        self.shared.used_bytes.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.shared.limit_bytes
    }

    /// A chunk of its own, charged while any slice of it lives.
    pub fn own(&self, buffer: BytesMut) -> Bytes {
        let charge = self.charge(buffer.capacity());
        charge.own(buffer)
    }
}

impl Charge {
    /// Turns a buffer that this charge was taken for into a chunk that carries it.
    pub fn own(self, buffer: BytesMut) -> Bytes {
        struct Owned {
            buffer: BytesMut,
            _charge: Charge,
        }
        impl AsRef<[u8]> for Owned {
            fn as_ref(&self) -> &[u8] {
                &self.buffer
            }
        }
        Bytes::from_owner(Owned { buffer, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.shared.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_charged_while_any_slice_of_it_lives() {
        let budget = Budget::new(100);
        let chunk = budget.own(BytesMut::zeroed(60));
        let slice = chunk.slice(10..20);
        drop(chunk);
        assert_eq!(budget.used_bytes(), 60);
        assert!(budget.has_room_for(40));
        assert!(!budget.has_room_for(41));
        drop(slice);
        assert_eq!(budget.used_bytes(), 0);
    }
}
