//! Claims of a peer about its stream, and how far they are believed.
//!
//! ```text
//!   heartbeat says:   tail ............ next     data that came
//!                                                      │
//!   asked for at once │◄── missing ──────►│             │
//!   given up only if something else reaches ────────────┘ as far as `next`:
//!   data, or the heartbeat behind it
//! ```
//! Asking for what was never sent costs a request. Giving it up would cost the stream: what
//! is sent under those numbers later would be none of its business any more. So one
//! statement alone gives nothing up: without a key anybody can make one.
//!
//! What three witnesses say, the two newest statements and the data, counts by its median:
//! one that lies changes nothing, however far it is off.
//!
//! Decision: `docs/decisions/051-one-statement-gives-nothing-up.md`.
//!
//! Where the peer says again and again that it is not as far as the stream is here, and
//! brings nothing, what was believed was wrong: see [`Claims::is_contradicted`].

use netcluster_platform::Instant;

use crate::stream::Position;

/// Time for which a peer must say that it is not as far as its stream is here.
pub const CONTRADICTED_NS: u64 = 1_000_000_000;

/// Statement of a heartbeat.
#[derive(Clone, Copy, Debug)]
struct Statement {
    /// Position of what the peer sends next.
    end: Position,
    /// Number below which the peer cannot retransmit.
    tail: u64,
    /// The statement before it named the same end.
    is_repeated: bool,
}

/// Claims of one stream's peer.
#[derive(Debug)]
pub(super) struct Claims {
    newest: Statement,
    /// Number behind the highest one that was surely sent.
    sent_end: u64,
    /// Number below which nothing will be retransmitted.
    tail: u64,
    /// Time since which the peer says that it is not as far, and datagrams taken until then.
    contradicted: Option<(Instant, u64)>,
}

impl Claims {
    /// Begins with a stream that was sent up to `join`.
    pub fn new(join: Position) -> Claims {
        Claims {
            newest: Statement { end: join, tail: join.number, is_repeated: false },
            sent_end: join.number,
            tail: join.number,
            contradicted: None,
        }
    }

    /// End of the stream, as the peer told it last.
    #[inline]
    pub fn end(&self) -> Position {
        self.newest.end
    }

    /// Whether the peer told that end twice in a row.
    pub fn is_end_repeated(&self) -> bool {
        self.newest.is_repeated
    }

    /// Number below which nothing will be retransmitted.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Number behind the highest one that was surely sent, beside what lies in order.
    pub fn sent_end(&self) -> u64 {
        self.sent_end
    }

    /// Takes in a heartbeat.
    pub fn state(&mut self, end: Position, tail: u64) {
        let (one, other) = (self.newest.end.number, end.number);
        // The median of the three.
        self.sent_end = self.sent_end.clamp(one.min(other), one.max(other));
        self.settle();
        let is_repeated = end == self.newest.end;
        self.newest = Statement { end, tail, is_repeated };
        self.settle();
    }

    /// Notes that data came: all numbers below `end` were sent.
    #[inline]
    pub fn came(&mut self, end: u64) {
        if end > self.sent_end {
            self.sent_end = end;
            self.settle();
        }
    }

    /// Gives up everything below this number.
    pub fn give_up_below(&mut self, number: u64) {
        self.tail = self.tail.max(number);
    }

    /// Notes whether the peer has said that it is not as far as the stream is here, which
    /// has taken so many datagrams.
    pub fn compare(&mut self, now: Instant, next: u64, taken: u64) {
        self.contradicted = match self.contradicted {
            _ if self.newest.end.number >= next => None,
            Some((since, before)) if before == taken => Some((since, before)),
            _ => Some((now, taken)),
        };
    }

    /// Notes that the peer speaks of a stream that it has ended.
    pub fn note_alive(&mut self, now: Instant) {
        self.contradicted.get_or_insert((now, u64::MAX));
    }

    /// Whether the peer has said for a while that it is not as far as its stream is here,
    /// and nothing of it was taken meanwhile: what made the stream go so far was not sent by
    /// this peer, or the peer began anew without a word.
    pub fn is_contradicted(&self, now: Instant) -> bool {
        self.contradicted.is_some_and(|(since, _)| now.since(since) >= CONTRADICTED_NS)
    }

    /// Believes the newest statement if something else reaches as far.
    #[inline]
    fn settle(&mut self) {
        if self.newest.end.number <= self.sent_end {
            self.tail = self.tail.max(self.newest.tail);
        }
    }
}
