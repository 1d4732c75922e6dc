//! Membership: who is there, from the first hello of a session to its end.
//!
//! - `announce`, `greeting`, `hello_rate`: hellos out, and those of strangers.
//! - `handshake`, `address_proof`, `lifecycle`: sessions that become peers, and
//!   cease to be; `departed` what is remembered of those.
//! - `peer`, `liveness`, `round_trip`: one peer; `peers`: the table.
//! - `discovery`: the first moments after the start; `renewal`: a new own session;
//!   `leave`: the end.
//! - `summaries`: the state of each broker in short; `expected`: who should be there.
//! - `neighbours`, `unreachable_peers`, `unlinked`: brokers that do not reach
//!   each other, or this one.

pub(crate) mod address_proof;
pub(crate) mod announce;
pub(crate) mod departed;
pub(crate) mod discovery;
mod expected;
pub(crate) mod greeting;
pub(crate) mod handshake;
pub(crate) mod hello_rate;
pub(crate) mod leave;
pub(crate) mod lifecycle;
pub(crate) mod liveness;
pub mod neighbours;
pub(crate) mod peer;
pub(crate) mod peers;
pub(crate) mod renewal;
pub(crate) mod round_trip;
pub(crate) mod summaries;
pub(crate) mod unlinked;
pub(crate) mod unreachable_peers;

use core::net::IpAddr;

use netcluster_platform::Instant;

use crate::config::LinkConfig;
use crate::crypto::Keys;
use crate::peer_id::session_tag;

use self::announce::Announce;
use self::departed::DepartedSessions;
use self::discovery::Discovery;
use self::expected::ExpectedPeers;
use self::handshake::Handshakes;
use self::hello_rate::HelloRate;
use self::leave::LeaveState;
use self::neighbours::Neighbours;
use self::summaries::Summaries;
use self::unlinked::AllUnlinked;
use self::unreachable_peers::UnreachablePeers;

/// State of brokers that are no peers (yet, any more, or of each other), and how far this
/// broker has come itself.
pub(crate) struct Membership {
    pub announce: Announce,
    pub discovery: Discovery,
    pub hello_rate: HelloRate,
    pub handshakes: Handshakes,
    pub departed: DepartedSessions,
    pub neighbours: Neighbours,
    pub summaries: Summaries,
    pub expected: ExpectedPeers,
    pub unreachable: UnreachablePeers,
    pub unlinked: AllUnlinked,
    pub leave: LeaveState,
}

impl Membership {
    /// Begins to look for peers. The seed is for the rate of hellos.
    pub fn new(now: Instant, config: &LinkConfig, seed: &[u8; 16]) -> Membership {
        let mut hello_rate = HelloRate::new(session_tag(seed));
        config.peers.iter().for_each(|peer| hello_rate.know(peer.ip()));
        Membership {
            announce: Announce::new(now),
            discovery: Discovery::new(now, config.discovery.as_nanos() as u64),
            hello_rate,
            handshakes: Handshakes::default(),
            departed: DepartedSessions::default(),
            neighbours: Neighbours::new(now),
            summaries: Summaries::new(now),
            expected: ExpectedPeers::default(),
            unreachable: UnreachablePeers::new(now, &config.peers),
            unlinked: AllUnlinked::default(),
            leave: LeaveState::default(),
        }
    }

    /// Looks for peers from now on.
    pub fn begin(&mut self, now: Instant, config: &LinkConfig) {
        self.announce = Announce::new(now);
        self.discovery = Discovery::new(now, config.discovery.as_nanos() as u64);
        self.neighbours = Neighbours::new(now);
        self.summaries = Summaries::new(now);
        self.unreachable = UnreachablePeers::new(now, &config.peers);
    }

    /// Looks for peers anew, as after the start: the own session is another one.
    pub fn renew(&mut self, now: Instant, config: &LinkConfig) {
        self.handshakes = Handshakes::default();
        self.announce = Announce::new(now);
        self.discovery = Discovery::new(now, config.discovery.as_nanos() as u64);
    }

    /// Whether a datagram of a stranger is looked at. On an open link it is believed
    /// then; with a key its tag is checked first.
    pub fn may_look(&mut self, now: Instant, keys: &Keys, from: IpAddr) -> bool {
        if keys.is_open() {
            self.hello_rate.allow(now, from)
        } else {
            self.hello_rate.may_check(now, from)
        }
    }

    /// Whether a hello that asks for ours gets it. On an open link anybody can ask
    /// under an address that is not his; with a key, only who has it.
    pub fn may_answer(&mut self, now: Instant, keys: &Keys, from: IpAddr) -> bool {
        !keys.is_open() || self.hello_rate.allow(now, from)
    }
}
