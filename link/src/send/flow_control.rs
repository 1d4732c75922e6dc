//! The receivers of one outbound stream: who may be waited for.
//!
//! Every receiver states its position and a limit; the slowest **healthy** one
//! paces the stream. One that is silent while it blocks, or that loses most of
//! what the others get, is demoted: it gets what history still holds, and nobody
//! waits for it until it has done well for a while.
//!
//! ```text
//!                        silent, stuck or lossy while others are not
//!          ┌─────────┐ ────────────────────────────────────────────► ┌─────────┐
//!  join ──►│ healthy │                                               │ demoted │
//!          └─────────┘ ◄──────────────────────────────────────────── └─────────┘
//!   in limit() and needed()   1 s of little loss, within history      in neither
//! ```
//!
//! It sends nothing and keeps no data: the caller asks how far it may send, says
//! when that holds it back, and takes the events.
//!
//! Invariant: nobody is waited for forever. While the sender is blocked, each
//! healthy receiver that blocks it has a deadline at which it is polled or
//! demoted, whatever it states.

mod loss;
mod receiver;

use netcluster_platform::Instant;

pub use loss::Sample;
pub use receiver::{Path, Receiver, Report};

use std::fmt;

use crate::peer_id::PeerId;
use receiver::Verdict;

/// Numbers above its position that a receiver may be sent before its first status: half of
/// what the smallest usual socket buffer (208 KiB) holds.
pub const FIRST_WINDOW: u64 = 32;
/// Time after which a receiver that blocks and says nothing is polled, and again.
pub const POLL_NS: u64 = 50_000_000;
/// Time after which a receiver that blocks and says nothing is demoted.
pub const SILENCE_NS: u64 = 200_000_000;
/// Time after which a receiver that blocks and speaks, but neither whose position nor whose
/// limit moves, is demoted (one under pressure: after its stall timeout and this).
pub const STUCK_NS: u64 = 1_000_000_000;
/// Time that a demoted receiver must do well before it is waited for again.
pub const RECOVERY_NS: u64 = 1_000_000_000;
/// Time between two polls of a demoted receiver: without them it could not recover on a
/// quiet stream.
pub const DEMOTED_POLL_NS: u64 = 500_000_000;
/// Loss, per mille, above which a receiver is demoted if the others lose much less.
pub const BAD_LOSS_PERMILLE: u64 = 200;
/// Loss, per mille, below which a demoted receiver does well.
pub const GOOD_LOSS_PERMILLE: u64 = 50;

// At least two polls may be lost before a receiver counts as silent.
const _: () = assert!(SILENCE_NS >= 3 * POLL_NS);
const _: () = assert!(DEMOTED_POLL_NS * 2 <= RECOVERY_NS);
const _: () = assert!(GOOD_LOSS_PERMILLE < BAD_LOSS_PERMILLE);

/// Reason why a receiver is no longer waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The receiver blocked and answered no poll.
    Silent,
    /// The receiver blocked and answered, but did not move.
    Stuck,
    /// The receiver loses so much (per mille) that the others would crawl.
    Loss(u64),
    /// Datagrams that the receiver misses may be longer than what reaches it (bytes).
    Size(usize),
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Silent => formatter.write_str("it does not answer"),
            Reason::Stuck => formatter.write_str("it answers, but receives nothing"),
            Reason::Loss(per_mille) => {
                write!(formatter, "it loses {} % of what is sent", per_mille / 10)
            }
            Reason::Size(bytes) => {
                write!(formatter, "datagrams of more than {bytes} bytes do not reach it")
            }
        }
    }
}

/// Event that the caller must act on or tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEvent {
    /// Send a heartbeat now that asks for a status.
    Poll,
    /// For log and counters: this receiver is no longer waited for.
    Demoted(PeerId, Reason),
    /// For log and counters: this receiver is waited for again.
    Restored(PeerId),
}

/// The receivers of one outbound stream.
#[derive(Debug)]
pub struct FlowControl {
    /// Receivers in the order of their peer ids.
    receivers: Vec<Receiver>,
    /// Number of datagrams that can be retransmitted.
    history: u64,
    /// Time that a listener may hold its machine up; 0: not at all.
    stall_ns: u64,
    limit: u64,
    needed: u64,
    /// The number that the sender wants to send next but may not.
    waiting: Option<u64>,
    deadline: Option<Instant>,
    /// Somebody is to be polled, but another event came first.
    owes_poll: bool,
    demotions: u64,
}

impl FlowControl {
    /// Begins with nobody who receives. `history` is the number of datagrams that the
    /// stream keeps; `stall_ns` the stall timeout if it is a pressured stream, else 0.
    pub fn new(history: u64, stall_ns: u64) -> FlowControl {
        FlowControl {
            receivers: Vec::new(),
            history,
            stall_ns,
            limit: u64::MAX,
            needed: u64::MAX,
            waiting: None,
            deadline: None,
            owes_poll: false,
            demotions: 0,
        }
    }

    /// Adds a peer that is owed everything from this number on. Joining again, without
    /// [`FlowControl::remove`] between, changes nothing.
    pub fn join(&mut self, now: Instant, peer: PeerId, number: u64, path: Path) {
        if let Err(at) = self.find(peer) {
            self.receivers.insert(at, Receiver::new(now, peer, number, path));
            self.hold_up(now, at);
            self.changed(now);
        }
    }

    /// Removes a peer that does not want the stream any more, or is gone.
    pub fn remove(&mut self, now: Instant, peer: PeerId) -> bool {
        let Ok(at) = self.find(peer) else { return false };
        self.receivers.remove(at);
        self.changed(now);
        true
    }

    /// Changes how a peer is reached.
    pub fn set_path(&mut self, peer: PeerId, path: Path) {
        if let Ok(at) = self.find(peer) {
            self.receivers[at].path = path;
        }
    }

    /// Whether anybody receives, healthy or not.
    pub fn is_wanted(&self) -> bool {
        !self.receivers.is_empty()
    }

    /// All receivers, in the order of their peer ids.
    pub fn receivers(&self) -> &[Receiver] {
        &self.receivers
    }

    /// One receiver.
    pub fn receiver(&self, peer: PeerId) -> Option<&Receiver> {
        self.find(peer).ok().map(|at| &self.receivers[at])
    }

    /// Whether somebody hears the group.
    pub fn hears_group(&self) -> bool {
        self.receivers.iter().any(|receiver| receiver.path == Path::Multicast)
    }

    /// Peers that must be sent a copy each.
    pub fn unicast_peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        let unicast = self.receivers.iter().filter(|receiver| receiver.path == Path::Unicast);
        unicast.map(|receiver| receiver.peer)
    }

    /// Numbers below this may be sent: what all healthy receivers granted.
    #[inline]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Numbers below this are needed by nobody that is waited for.
    #[inline]
    pub fn needed(&self) -> u64 {
        self.needed
    }

    /// Number of receivers that were demoted so far.
    pub fn demotions(&self) -> u64 {
        self.demotions
    }

    /// Takes in a status. `next` is the number of the next datagram to be sent. The answer
    /// is what the status says about loss since the last one, for congestion control; none
    /// if nobody slows down for this peer.
    pub fn on_status(
        &mut self,
        now: Instant,
        peer: PeerId,
        next: u64,
        report: &Report,
    ) -> Option<Sample> {
        let at = self.find(peer).ok()?;
        let receiver = &mut self.receivers[at];
        let sample = receiver.on_status(now, next, report);
        let is_healthy = receiver.is_healthy();
        self.hold_up(now, at);
        self.changed(now);
        is_healthy.then_some(sample)
    }

    /// Takes in a retransmission request, which tells of loss sooner than a status. It is
    /// no status: a receiver that blocks must still state its limit.
    pub fn on_request(
        &mut self,
        now: Instant,
        peer: PeerId,
        next: u64,
        seen_lost: u64,
    ) -> Option<Sample> {
        let at = self.find(peer).ok()?;
        let receiver = &mut self.receivers[at];
        let sample = receiver.on_loss(now, next, seen_lost);
        let is_healthy = receiver.is_healthy();
        if receiver.is_ripe() {
            self.deadline = Some(now);
        }
        is_healthy.then_some(sample)
    }

    /// Demotes a receiver whom what it misses cannot reach: nobody waits for it until it
    /// does well again. Whether anybody did.
    pub fn demote(&mut self, now: Instant, peer: PeerId) -> bool {
        let Ok(at) = self.find(peer) else { return false };
        let was_healthy = self.receivers[at].is_healthy();
        if was_healthy {
            self.receivers[at].demote(now);
            self.demotions += 1;
            self.changed(now);
        }
        was_healthy
    }

    /// Notes that the sender has something to send, `next`, and may not: it is not below
    /// the limit, or the history is full.
    pub fn blocked(&mut self, now: Instant, next: u64) {
        if self.waiting == Some(next) {
            return;
        }
        self.waiting = Some(next);
        for receiver in &mut self.receivers {
            receiver.set_blocking(now, next, self.history);
        }
        self.schedule();
    }

    /// Notes that the sender is not held back: it sent something, or has nothing to send.
    #[inline]
    pub fn unblocked(&mut self) {
        if self.waiting.take().is_some() {
            for receiver in &mut self.receivers {
                receiver.unblock();
            }
            self.schedule();
        }
    }

    /// The next thing to be done by now; call until there is none. `at_floor`: the rate has
    /// been at its floor for long, slowing down more does not help.
    pub fn poll(&mut self, now: Instant, next: u64, at_floor: bool) -> Option<FlowEvent> {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return None;
        }
        let event = self.judge(now, next, at_floor);
        if matches!(event, Some(FlowEvent::Demoted(..) | FlowEvent::Restored(_))) {
            self.changed(now);
            // Others may be due as well.
            self.deadline = Some(now);
        } else {
            self.schedule();
        }
        event
    }

    /// Time to call [`FlowControl::poll`] again.
    #[inline]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn judge(&mut self, now: Instant, next: u64, at_floor: bool) -> Option<FlowEvent> {
        for at in 0..self.receivers.len() {
            let verdict = self.receivers[at].judge(now, next, self.history, self.stall_ns);
            let peer = self.receivers[at].peer;
            let reason = match verdict {
                Verdict::Fine => continue,
                Verdict::Poll => {
                    self.owes_poll = true;
                    continue;
                }
                Verdict::Restore => {
                    self.receivers[at].restore();
                    self.hold_up(now, at);
                    return Some(FlowEvent::Restored(peer));
                }
                Verdict::Demote(reason) => reason,
                Verdict::Lossy(loss) if at_floor || self.others_do_better(at, loss) => {
                    Reason::Loss(loss)
                }
                Verdict::Lossy(_) => continue,
            };
            self.receivers[at].demote(now);
            self.demotions += 1;
            return Some(FlowEvent::Demoted(peer, reason));
        }
        std::mem::take(&mut self.owes_poll).then_some(FlowEvent::Poll)
    }

    /// Whether the median of the other healthy receivers loses less than half: if
    /// they lose as much, the way there is full, and slowing down is the answer.
    fn others_do_better(&self, at: usize, loss: u64) -> bool {
        let others = self.receivers.iter().enumerate().filter(|(other, _)| *other != at);
        let healthy = others.filter(|(_, receiver)| receiver.is_healthy());
        let mut losses: Vec<u64> = healthy.filter_map(|(_, receiver)| receiver.loss()).collect();
        losses.sort_unstable();
        losses.get(losses.len() / 2).is_some_and(|median| *median < loss / 2)
    }

    /// Positions, limits or healths changed.
    fn changed(&mut self, now: Instant) {
        let healthy = || self.receivers.iter().filter(|receiver| receiver.is_healthy());
        self.limit = healthy().map(|receiver| receiver.limit).min().unwrap_or(u64::MAX);
        self.needed = healthy().map(|receiver| receiver.position).min().unwrap_or(u64::MAX);
        self.schedule();
        if self.receivers.iter().any(Receiver::is_ripe) {
            self.deadline = Some(now);
        }
    }

    /// Notes whether a receiver keeps the sender back as well, if that is blocked.
    fn hold_up(&mut self, now: Instant, at: usize) {
        if let Some(waiting) = self.waiting {
            self.receivers[at].set_blocking(now, waiting, self.history);
        }
    }

    fn schedule(&mut self) {
        let deadlines = self.receivers.iter().filter_map(|r| r.deadline(self.stall_ns));
        self.deadline = deadlines.min();
    }

    fn find(&self, peer: PeerId) -> Result<usize, usize> {
        self.receivers.binary_search_by_key(&peer, |receiver| receiver.peer)
    }
}

#[cfg(test)]
mod tests;
