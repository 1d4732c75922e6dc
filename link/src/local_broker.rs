//! This broker itself: what it was told, its session, and what its interface takes.

use netcluster_platform::Instant;
use netcluster_wire::link::Hello;
use netcluster_wire::link::limits::CONTROL_HEADER_BYTES;

use core::net::SocketAddr;

use crate::config::{Entropy, LinkConfig, StreamMap};
use crate::membership::greeting::CHALLENGE_BYTES;
use crate::membership::unreachable_peers::is_answer;
use crate::peer_id::{Session, session_tag};

/// The broker that this end of the link belongs to.
pub(crate) struct LocalBroker {
    pub config: LinkConfig,
    pub stream_map: StreamMap,
    pub session: Session,
    /// First half of the session, by which datagrams of data name it.
    pub tag: u64,
    pub entropy: Box<dyn Entropy + Send>,
    /// Time at which the session began.
    pub started_at: Instant,
    /// Age that the session had then: another broker began it.
    pub older_ns: u64,
    /// The largest datagram that the interface takes, of those that are wanted.
    pub interface_bytes: usize,
    /// The largest datagram that is sent, if the way takes it.
    pub datagram_bytes: usize,
}

impl LocalBroker {
    pub fn new(
        now: Instant,
        config: LinkConfig,
        session: Session,
        entropy: Box<dyn Entropy + Send>,
    ) -> LocalBroker {
        LocalBroker {
            stream_map: StreamMap::new(&config),
            session,
            tag: session_tag(&session),
            entropy,
            started_at: now,
            older_ns: 0,
            interface_bytes: config.datagram_bytes,
            datagram_bytes: config.datagram_bytes,
            config,
        }
    }

    /// Begins another session.
    pub fn renew(&mut self, now: Instant) {
        self.session = self.secret();
        self.tag = session_tag(&self.session);
        self.started_at = now;
        self.older_ns = 0;
    }

    /// Time for which the session has lasted.
    pub fn age_ns(&self, now: Instant) -> u64 {
        now.since(self.started_at).saturating_add(self.older_ns)
    }

    /// Sixteen random bytes.
    pub fn secret(&mut self) -> [u8; 16] {
        let mut secret = [0; 16];
        self.entropy.fill(&mut secret);
        secret
    }

    /// Whether somebody was told that a broker is at this address.
    pub fn is_configured(&self, address: SocketAddr) -> bool {
        self.config.peers.iter().any(|&peer| is_answer(&self.config, peer, address))
    }

    /// Bytes of a challenge or an answer.
    pub fn challenge_bytes(&self) -> usize {
        CHALLENGE_BYTES + self.config.keys.tag_bytes()
    }

    /// Bytes of a hello that answers: at least those of a challenge, which may be
    /// the answer to it.
    pub fn answer_bytes(&self) -> usize {
        let bytes = CONTROL_HEADER_BYTES + self.hello_body_bytes();
        bytes.max(CHALLENGE_BYTES) + self.config.keys.tag_bytes()
    }

    /// The hello of this broker, in a datagram of so many bytes at least.
    pub fn hello(&self, answer: bool, bytes: usize) -> Hello<'_> {
        let bytes = bytes.max(self.answer_bytes());
        let padded_bytes = bytes - CONTROL_HEADER_BYTES - self.config.keys.tag_bytes();
        Hello {
            node: self.config.node,
            groups: u16::from(self.stream_map.groups),
            datagram_bytes: self.datagram_bytes as u16,
            settings: self.stream_map.hash,
            answer,
            cluster: &self.config.cluster,
            name: &self.config.name,
            padding_bytes: padded_bytes - self.hello_body_bytes(),
        }
    }

    /// Difference between the settings in a hello and those here, in words; none if they
    /// are the same.
    pub fn settings_differ(&self, hello: &Hello<'_>) -> Option<String> {
        let groups = self.stream_map.groups;
        if hello.groups != u16::from(groups) {
            return Some(format!("{} groups, here there are {groups}", hello.groups));
        }
        let is_other = hello.settings != self.stream_map.hash;
        is_other.then(|| "other channels with pressure than here".to_owned())
    }

    fn hello_body_bytes(&self) -> usize {
        Hello::body_bytes(self.config.cluster.len() + self.config.name.len())
    }
}
