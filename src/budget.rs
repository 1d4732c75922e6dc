//! The memory that clients make the broker keep: `--max-memory`.
//!
//! Receive pools have a fixed size. What else a client can make the broker hold is
//! charged here while it lives, by what it is for: what queues hold in memory of their
//! own (copies, large frames, replies, their own lists), connections, patterns, and
//! what the route caches remember.
//!
//! Events that are there must go somewhere, so a charge is never refused: who takes
//! part in events is paused when [`Budget::is_exhausted`]. What clients ask to be kept
//! for them, connections and patterns, may be refused instead, and must leave half of
//! the limit to events: [`Budget::has_room_to_keep`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

/// Bytes that a chunk of its own takes besides its content: its owner, and a reference
/// count.
const OWN_BYTES: usize = 96;

/// Bytes of connections that may be kept however small the limit is and whatever else is
/// kept: enough for some hundred, among them one that asks what the memory is used for.
/// Patterns have a part of as much, together with connections.
const MIN_KEPT_BYTES: usize = 1 << 20;

/// Use that memory is charged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Events and replies that are queued.
    Queues,
    /// Connections.
    Connections,
    /// Large events that have come in part.
    Incoming,
    /// Channels and the patterns of their listeners.
    Patterns,
    /// Results of look-ups that the route caches remember.
    Routes,
    /// Memory that is shared with clients.
    Shared,
}

/// The budget of the whole broker. Cloning gives another handle to it.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit_bytes: AtomicUsize,
    used_bytes: AtomicUsize,
    /// Bytes used for each purpose.
    used_for: [AtomicUsize; 6],
}

/// Bytes charged to a budget until the charge is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    purpose: Purpose,
    bytes: usize,
}

impl Budget {
    /// Returns a budget of so many bytes.
    pub fn new(limit_bytes: usize) -> Budget {
        let shared = Shared {
            limit_bytes: AtomicUsize::new(limit_bytes),
            used_bytes: AtomicUsize::new(0),
            used_for: Default::default(),
        };
        Budget { shared: Arc::new(shared) }
    }

    /// Charges `bytes` of a queue. A charge is never refused, as events already
    /// received must go somewhere; the caller asks [`Budget::is_exhausted`] and pauses
    /// emitters.
    pub fn charge(&self, bytes: usize) -> Charge {
        self.charge_for(Purpose::Queues, bytes)
    }

    /// Charges `bytes` for some purpose. A charge is never refused.
    pub fn charge_for(&self, purpose: Purpose, bytes: usize) -> Charge {
        let mut charge = Charge { budget: self.clone(), purpose, bytes: 0 };
        charge.set(bytes);
        charge
    }

    /// Returns whether the limit is reached.
    pub fn is_exhausted(&self) -> bool {
        self.used_bytes() >= self.limit_bytes()
    }

    /// Returns whether `bytes` more fit the limit.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.used_bytes().saturating_add(bytes) <= self.limit_bytes()
    }

    /// Returns whether a client may have `bytes` more kept for it: connections and
    /// patterns take half of the limit at the most, of which patterns leave a quarter
    /// to connections; and while queues have used the limit up, an eighth more. Some
    /// connections can always be made. Shared memory takes a quarter, and only what
    /// nobody else uses.
    pub fn has_room_to_keep(&self, purpose: Purpose, bytes: usize) -> bool {
        let limit_bytes = self.limit_bytes();
        if purpose == Purpose::Shared {
            let shared = self.used_for(Purpose::Shared).saturating_add(bytes);
            return shared <= limit_bytes / 4 && self.has_room_for(bytes);
        }
        let quarters = if purpose == Purpose::Connections { 4 } else { 3 };
        let connections = self.used_for(Purpose::Connections);
        if purpose == Purpose::Connections && connections.saturating_add(bytes) <= MIN_KEPT_BYTES {
            return true;
        }
        let kept = (connections + self.used_for(Purpose::Patterns)).saturating_add(bytes);
        let most = limit_bytes.saturating_add(limit_bytes / 8);
        kept <= MIN_KEPT_BYTES / 4 * quarters
            || kept <= limit_bytes / 8 * quarters && self.used_bytes().saturating_add(bytes) <= most
    }

    /// Returns the bytes charged now.
    pub fn used_bytes(&self) -> usize {
        self.shared.used_bytes.load(Ordering::Relaxed)
    }

    /// Returns the bytes charged now for one purpose.
    pub fn used_for(&self, purpose: Purpose) -> usize {
        self.shared.used_for[purpose as usize].load(Ordering::Relaxed)
    }

    /// Returns the limit in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.shared.limit_bytes.load(Ordering::Relaxed)
    }

    /// Sets another limit. What is kept beyond a lower one goes as its users let go of it.
    pub fn set_limit_bytes(&self, limit_bytes: usize) {
        self.shared.limit_bytes.store(limit_bytes, Ordering::Relaxed);
    }

    /// Turns a buffer into a chunk that is charged while any slice of it lives.
    pub fn own(&self, buffer: BytesMut) -> Bytes {
        let charge = self.charge(buffer.capacity() + OWN_BYTES);
        charge.own(buffer)
    }
}

impl Charge {
    /// Returns the bytes that are charged.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns an empty charge for the same purpose.
    pub fn another(&self) -> Charge {
        self.budget.charge_for(self.purpose, 0)
    }

    /// Changes the charge to so many bytes.
    pub fn set(&mut self, bytes: usize) {
        let shared = &self.budget.shared;
        for counter in [&shared.used_bytes, &shared.used_for[self.purpose as usize]] {
            if bytes >= self.bytes {
                counter.fetch_add(bytes - self.bytes, Ordering::Relaxed)
            } else {
                counter.fetch_sub(self.bytes - bytes, Ordering::Relaxed)
            };
        }
        self.bytes = bytes;
    }

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
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_charged_while_any_slice_of_it_lives() {
        let budget = Budget::new(1000);
        let chunk = budget.own(BytesMut::zeroed(600));
        let slice = chunk.slice(10..20);
        drop(chunk);
        assert_eq!(budget.used_bytes(), 600 + OWN_BYTES);
        assert!(budget.has_room_for(400 - OWN_BYTES));
        assert!(!budget.has_room_for(401 - OWN_BYTES));
        drop(slice);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn what_is_kept_for_clients_leaves_half_to_events() {
        const MIB: usize = 1 << 20;
        let budget = Budget::new(100 * MIB);
        let mut patterns = budget.charge_for(Purpose::Patterns, 30 * MIB);
        let _connections = budget.charge_for(Purpose::Connections, 10 * MIB);
        let has_room = |bytes| budget.has_room_to_keep(Purpose::Connections, bytes);
        assert!(has_room(10 * MIB) && !has_room(10 * MIB + 1));
        assert!(!budget.has_room_to_keep(Purpose::Patterns, 1), "they leave a quarter");
        patterns.set(5 * MIB);
        assert_eq!(budget.used_for(Purpose::Patterns), 5 * MIB);
        assert!(has_room(35 * MIB));
        assert!(budget.has_room_to_keep(Purpose::Patterns, 20 * MIB));
        let _queues = budget.charge(200 * MIB);
        assert!(budget.is_exhausted() && !has_room(1));
    }

    /// Events that fill the memory must not keep out who wants to know why.
    #[test]
    fn queues_at_the_limit_leave_some_room_to_connect() {
        let budget = Budget::new(80 << 20);
        let _queues = budget.charge(80 << 20);
        let has_room = |bytes| budget.has_room_to_keep(Purpose::Connections, bytes);
        assert!(has_room(10 << 20) && !has_room((10 << 20) + 1));
        let tiny = Budget::new(1);
        let _queues = tiny.charge(1 << 30);
        let _patterns = tiny.charge_for(Purpose::Patterns, 1 << 30);
        let _incoming = tiny.charge_for(Purpose::Incoming, 1 << 30);
        assert!(tiny.has_room_to_keep(Purpose::Connections, MIN_KEPT_BYTES));
    }
}
