//! Sessions that are not peers yet.
//!
//! ```text
//!   stranger           this broker
//!     hello ────────────▶ pending: a nonce for this address
//!     ◀──────────── hello, challenge(nonce)        challenge again at 20, 60, 140 ms
//!     answer(nonce) ────▶ peer                     from the same address
//! ```
//! Nothing is known of the address that a hello comes from, it may be a victim's:
//! all that is sent there has no more bytes than what came from there, and ends
//! after [`MAX_RETRIES`] unless another hello comes. Configured peers alone are
//! asked until the end.
//!
//! Both sides do the same, each for itself: a session is a peer here once it
//! answered our challenge, so that recordings of its hellos are none.
//!
//! One whose node id a peer has already is that peer after a restart, or another
//! broker with the same id by mistake. The peer is asked for a sign of life: if
//! one comes, it is asked again, as that one may be late, from before its end; if
//! it answers [`SIGNS`] times in a row the newcomer is refused.
//!
//! Invariant: at most [`MAX_PENDING`] sessions, of which at most
//! [`MAX_PENDING_PER_ADDRESS`] at one, none longer than [`PENDING_LIFETIME_NS`].

use core::net::SocketAddr;

use netcluster_platform::Instant;
use netcluster_wire::link::limits::ASKING_HELLO_BYTES;

use crate::crypto::{ControlOpener, Keys};
use crate::membership::address_proof::AddressProof;
use crate::membership::peer::Peer;
use crate::peer_id::{PeerId, Session};

/// Sessions that may be pending. One more pushes the oldest out.
pub const MAX_PENDING: usize = 64;

/// Sessions that may be pending at one address. One more pushes the oldest of
/// these out.
pub const MAX_PENDING_PER_ADDRESS: usize = 16;

const MS_NS: u64 = 1_000_000;

/// Longest time that a session may take to become a peer.
pub const PENDING_LIFETIME_NS: u64 = 2000 * MS_NS;

/// The first repetition of a challenge; the next ones wait twice as long each.
const CHALLENGE_RETRY_NS: u64 = 20 * MS_NS;

/// Longest time between two challenges.
const MAX_CHALLENGE_RETRY_NS: u64 = 320 * MS_NS;

/// Time that the peer that has the newcomer's node id gets to show that it is alive. Far
/// less than events are held back after a start.
pub const RIVAL_NS: u64 = 50 * MS_NS;

/// Number of spans of [`RIVAL_NS`], one after the other, in which the rival must be heard.
pub const SIGNS: u32 = 3;

/// Time between two questions to the rival in the later spans: not every question arrives.
const ASK_RIVAL_NS: u64 = 10 * MS_NS;

/// Challenges repeated for one hello, unless the address is a configured peer's.
pub const MAX_RETRIES: u32 = 3;

/// Time in which an address gets one answer, for each session that is said to be there:
/// hellos may come by multicast and unicast at once.
pub const ANSWER_INTERVAL_NS: u64 = 10 * MS_NS;

/// Bytes that may be saved up for an address.
const MAX_CREDIT_BYTES: usize = 2 * ASKING_HELLO_BYTES;

const _: () = assert!(ANSWER_INTERVAL_NS < CHALLENGE_RETRY_NS);
const _: () = assert!(RIVAL_NS > 2 * CHALLENGE_RETRY_NS);
// A restart is known within a second, however late the last sign of the end.
const _: () = assert!(RIVAL_NS * (SIGNS as u64 + 1) < 500 * MS_NS);

/// Facts about a broker, as its hello said them.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub node: u32,
    pub name: Box<str>,
    pub datagram_bytes: u16,
}

pub(crate) struct Pending {
    pub session: Session,
    pub identity: Identity,
    pub opener: ControlOpener,
    /// Address that its hello came from.
    pub address: SocketAddr,
    pub since: Instant,
    pub proof: AddressProof,
    /// The address that was answered last, and when.
    greeted: Option<(SocketAddr, Instant)>,
    /// Bytes that may be sent to the address: what came from there.
    credit_bytes: usize,
    /// The address is a configured peer's.
    is_configured: bool,
    retries: u32,
    /// Time at which multicast of it was heard last.
    pub multicast_at: Option<Instant>,
    /// The peer that has its node id, and since when that is known.
    pub rival: Option<(PeerId, Instant)>,
    /// Number of spans in which that peer has been heard.
    pub signs: u32,
    /// Address from which it answered; decided when the rival's time is over.
    pub answered: Option<SocketAddr>,
    /// The session is not to become a peer.
    pub is_refused: bool,
    next_at: Instant,
    retry_ns: u64,
}

impl Pending {
    pub fn new(
        now: Instant,
        session: &Session,
        identity: Identity,
        opener: ControlOpener,
        address: SocketAddr,
        proof: AddressProof,
    ) -> Pending {
        Pending {
            session: *session,
            identity,
            opener,
            address,
            since: now,
            proof,
            greeted: None,
            credit_bytes: 0,
            is_configured: false,
            retries: 0,
            multicast_at: None,
            rival: None,
            signs: 0,
            answered: None,
            is_refused: false,
            next_at: now + CHALLENGE_RETRY_NS,
            retry_ns: CHALLENGE_RETRY_NS,
        }
    }

    /// Notes that a hello came from this address, in so many bytes.
    pub fn heard_from(&mut self, address: SocketAddr, bytes: usize, is_configured: bool) {
        if self.address != address {
            self.address = address;
            self.credit_bytes = 0;
        }
        self.is_configured = is_configured;
        self.credit_bytes = (self.credit_bytes + bytes).min(MAX_CREDIT_BYTES);
    }

    /// Whether so many bytes may be sent to the address; then they count as sent.
    pub fn may_send(&mut self, bytes: usize) -> bool {
        let may = self.is_configured || bytes <= self.credit_bytes;
        if may {
            self.credit_bytes = self.credit_bytes.saturating_sub(bytes);
        }
        may
    }

    /// Notes that the address is answered now: what gets lost of it is repeated.
    pub fn greeted(&mut self, now: Instant) {
        self.retries = 0;
        self.retry_ns = CHALLENGE_RETRY_NS;
        self.next_at = now + CHALLENGE_RETRY_NS;
    }

    /// Whether an address may be answered now; then it counts as answered.
    pub fn may_greet(&mut self, now: Instant, address: SocketAddr) -> bool {
        let is_early = |&(other, at): &(SocketAddr, Instant)| {
            other == address && now < at + ANSWER_INTERVAL_NS
        };
        let may = !self.is_refused && self.greeted.as_ref().is_none_or(|last| !is_early(last));
        if may {
            self.greeted = Some((address, now));
        }
        may
    }

    /// Decides whether the session may be a peer, as it answered. `rival` is the peer
    /// that has its node id now.
    pub fn judge(&mut self, now: Instant, rival: Option<&Peer>) -> Verdict {
        let Some(rival) = rival else { return Verdict::Peer };
        let Some((_, since)) = self.rival.filter(|(known, _)| *known == rival.id) else {
            // It became a peer just now: it gets its time too.
            self.ask_rival_again(now, rival.id);
            return Verdict::Later;
        };
        if rival.liveness.heard_at <= since {
            return Verdict::Peer;
        }
        self.signs += 1;
        if self.signs < SIGNS {
            self.ask_rival_again(now, rival.id);
            return Verdict::Later;
        }
        self.is_refused = true;
        Verdict::Refused
    }

    /// Gives the rival one more span to be heard in, and asks it in that.
    fn ask_rival_again(&mut self, now: Instant, rival: PeerId) {
        self.rival = Some((rival, now));
        self.next_at = now + ASK_RIVAL_NS;
    }

    /// Time at which the rival's span is over.
    fn rival_over_at(&self) -> Instant {
        self.rival.map_or(Instant::START, |(_, since)| since + RIVAL_NS)
    }

    /// Time at which there is something to do.
    fn next_at(&self) -> Instant {
        let end_at = self.since + PENDING_LIFETIME_NS;
        match self.answered {
            _ if self.is_refused => end_at,
            Some(_) if self.signs > 0 => end_at.min(self.rival_over_at()).min(self.next_at),
            Some(_) => end_at.min(self.rival_over_at()),
            None if self.retries == MAX_RETRIES && !self.is_configured => end_at,
            None => end_at.min(self.next_at),
        }
    }
}

/// Action that is due for a pending session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Challenge the session again.
    Challenge,
    /// Ask the session's rival again.
    AskRival,
    /// Make it a peer: its rival gave no sign.
    Establish,
}

/// Whether a pending session that answered becomes a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The session becomes a peer.
    Peer,
    /// The rival is asked for a sign of life first.
    Later,
    /// The session is refused: another broker has its node id.
    Refused,
}

#[derive(Default)]
pub(crate) struct Handshakes {
    /// Pending sessions, oldest first.
    pending: Vec<Pending>,
    /// Sessions that were pushed out by others.
    pub evicted: u64,
    /// Sessions that did not answer in time.
    pub expired: u64,
    /// Brokers that did not answer, and their addresses, for whoever takes them.
    pub silent: Vec<(Identity, SocketAddr)>,
}

impl Handshakes {
    pub fn find(&mut self, session: &Session) -> Option<&mut Pending> {
        self.pending.iter_mut().find(|pending| pending.session == *session)
    }

    /// Opens what pending sessions send by these keys from now on.
    pub fn set_keys(&mut self, keys: &Keys) {
        self.pending.iter_mut().for_each(|pending| pending.opener.set_keys(keys));
    }

    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether one of them may become a peer yet.
    pub fn is_busy(&self) -> bool {
        self.pending.iter().any(|pending| !pending.is_refused)
    }

    pub fn push(&mut self, pending: Pending) {
        let ip = pending.address.ip();
        let is_there = |other: &Pending| other.address.ip() == ip;
        let there = self.pending.iter().filter(|other| is_there(other)).count();
        let oldest = if there >= MAX_PENDING_PER_ADDRESS {
            self.pending.iter().position(is_there)
        } else {
            (self.pending.len() == MAX_PENDING).then_some(0)
        };
        if let Some(at) = oldest {
            self.pending.remove(at);
            self.evicted += 1;
        }
        self.pending.push(pending);
    }

    pub fn take(&mut self, session: &Session) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.session == *session)?;
        Some(self.pending.remove(at))
    }

    pub fn next_at(&self) -> Instant {
        self.pending.iter().map(Pending::next_at).min().unwrap_or(Instant::NEVER)
    }

    /// Forgets sessions that took too long, and tells what is due of one of the others.
    pub fn poll(&mut self, now: Instant) -> Option<(Session, Due)> {
        let before = self.pending.len();
        let silent = &mut self.silent;
        self.pending.retain(|pending| {
            let is_over = now >= pending.since + PENDING_LIFETIME_NS;
            if is_over && pending.answered.is_none() && !pending.is_refused {
                silent.push((pending.identity.clone(), pending.address));
            }
            !is_over
        });
        self.expired += (before - self.pending.len()) as u64;
        let pending = self.pending.iter_mut().find(|pending| pending.next_at() <= now)?;
        if pending.answered.is_some() {
            if now >= pending.rival_over_at() {
                return Some((pending.session, Due::Establish));
            }
            pending.next_at = now + ASK_RIVAL_NS;
            return Some((pending.session, Due::AskRival));
        }
        pending.retry_ns = (pending.retry_ns * 2).min(MAX_CHALLENGE_RETRY_NS);
        pending.next_at = now + pending.retry_ns;
        pending.retries = (pending.retries + 1).min(MAX_RETRIES);
        Some((pending.session, Due::Challenge))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Keys;
    use crate::tests::time::ns;

    fn pending(now: Instant, index: u8) -> Pending {
        let session = [index; 16];
        let identity = Identity { node: 1, name: "a".into(), datagram_bytes: 1372 };
        let opener = ControlOpener::new(&Keys::open_link(), &session);
        let address = SocketAddr::from(([10, 0, 0, index], 1));
        Pending::new(now, &session, identity, opener, address, AddressProof::new([0; 16]))
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut handshakes = Handshakes::default();
        (0..MAX_PENDING as u8 + 3).for_each(|index| handshakes.push(pending(ns(0), index)));
        assert_eq!((handshakes.len(), handshakes.evicted), (MAX_PENDING, 3));
        assert!(handshakes.find(&[2; 16]).is_none());
        assert!(handshakes.find(&[3; 16]).is_some());
    }

    #[test]
    fn who_makes_up_sessions_at_one_address_pushes_out_his_own() {
        let mut handshakes = Handshakes::default();
        handshakes.push(pending(ns(0), 1));
        for index in 2..200 {
            let mut other = pending(ns(0), index);
            other.address = SocketAddr::from(([10, 9, 9, 9], u16::from(index)));
            handshakes.push(other);
        }
        assert_eq!(handshakes.len(), 1 + MAX_PENDING_PER_ADDRESS);
        assert!(handshakes.find(&[1; 16]).is_some());
        assert!(handshakes.find(&[199; 16]).is_some());
    }

    #[test]
    fn an_address_is_answered_once_in_a_while() {
        let mut pending = pending(ns(0), 1);
        let (here, there) = (pending.address, SocketAddr::from(([10, 0, 0, 99], 1)));
        assert!(
            pending.may_greet(ns(0), here) && !pending.may_greet(ns(ANSWER_INTERVAL_NS - 1), here)
        );
        assert!(pending.may_greet(ns(ANSWER_INTERVAL_NS), here));
        assert!(pending.may_greet(ns(ANSWER_INTERVAL_NS), there));
    }

    #[test]
    fn challenges_are_repeated_ever_more_slowly_and_to_configured_peers_until_the_end() {
        for is_configured in [false, true] {
            let mut handshakes = Handshakes::default();
            let mut pending = pending(ns(0), 1);
            pending.heard_from(pending.address, 664, is_configured);
            handshakes.push(pending);
            let mut at_ms = Vec::new();
            while handshakes.next_at() < Instant::NEVER {
                let now = handshakes.next_at();
                if let Some((_, due)) = handshakes.poll(now) {
                    assert_eq!(due, Due::Challenge);
                    at_ms.push(now.as_nanos() / MS_NS);
                }
            }
            let all = [20, 60, 140, 300, 620, 940, 1260, 1580, 1900];
            let expected = if is_configured { &all[..] } else { &all[..MAX_RETRIES as usize] };
            assert_eq!(at_ms, expected);
            assert_eq!((handshakes.len(), handshakes.expired), (0, 1));
        }
    }

    #[test]
    fn one_that_answered_waits_for_its_rivals_time_alone() {
        let mut handshakes = Handshakes::default();
        handshakes.push(pending(ns(0), 1));
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        let newcomer = handshakes.find(&[1; 16]).unwrap();
        newcomer.answered = Some(address);
        newcomer.rival = Some((PeerId(7), ns(0)));
        assert_eq!(handshakes.next_at(), ns(RIVAL_NS));
        assert_eq!(handshakes.poll(ns(RIVAL_NS - 1)), None);
        assert_eq!(handshakes.poll(ns(RIVAL_NS)), Some(([1; 16], Due::Establish)));
    }
}
