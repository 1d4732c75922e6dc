//! Answers to probes: a way to see who is there and which sizes get through,
//! without becoming a peer.
//!
//! Whoever reaches the port may ask, under an address that is not his. So the
//! answer never has more bytes than the question, and there is a limit to how
//! many are given: nobody gains by having them sent elsewhere.

use netcluster_wire::link::limits::CONTROL_HEADER_BYTES;
use netcluster_wire::link::{ControlKind, Probe, ProbeReply};

use crate::Link;
use crate::control::dispatch::Origin;
use crate::local_broker::LocalBroker;
use crate::peer_id::Session;

/// Bytes of an answer apart from the texts' own, see the wire format.
const REPLY_BYTES: usize = CONTROL_HEADER_BYTES + 56 + 2;

/// Reason why a probe gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The probe is for another session.
    OtherReceiver,
    /// The answer would be longer than the question.
    TooShort,
}

impl LocalBroker {
    /// The answer to a probe of so many bytes from this session.
    pub fn probe_reply(
        &self,
        session: &Session,
        probe: &Probe,
        bytes: u64,
        multicast: bool,
    ) -> Result<ProbeReply<'_>, Unanswered> {
        if probe.to != Session::default() && probe.to != self.session {
            return Err(Unanswered::OtherReceiver);
        }
        let (cluster, name) = (&self.config.cluster, &self.config.name);
        let answer_bytes = REPLY_BYTES + cluster.len() + name.len() + self.config.keys.tag_bytes();
        if bytes < answer_bytes as u64 {
            return Err(Unanswered::TooShort);
        }
        Ok(ProbeReply {
            nonce: probe.nonce,
            to: *session,
            received: u32::try_from(bytes).unwrap_or(u32::MAX),
            multicast,
            node: self.config.node,
            groups: u16::from(self.stream_map.groups),
            datagram_bytes: self.datagram_bytes as u16,
            settings: self.stream_map.hash,
            cluster,
            name,
        })
    }
}

impl Link {
    /// Answers a probe of so many bytes, whoever sent it.
    pub(crate) fn on_probe(&mut self, session: &Session, probe: &Probe, bytes: u64, from: Origin) {
        match self.local.probe_reply(session, probe, bytes, from.multicast) {
            Ok(reply) => {
                self.control
                    .send_to(ControlKind::ProbeReply, from.address, |out| reply.encode(out));
            }
            Err(Unanswered::OtherReceiver) => self.counters.drops.other_receiver += 1,
            Err(Unanswered::TooShort) => self.counters.drops.malformed += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;
    use std::time::Duration;

    use netcluster_wire::link::{Control, ControlHeader, Datagram, parse};

    use super::*;
    use crate::crypto::{ControlOpener, ControlSealer, Key, Keys};
    use crate::membership::hello_rate::MAX_HELLOS_PER_SOURCE_PER_S;
    use crate::tests::time::ns;
    use crate::{Datagrams, Entropy, LinkConfig, To};

    struct Zeros;

    impl Entropy for Zeros {
        fn fill(&mut self, out: &mut [u8; 16]) {
            *out = [0; 16];
        }
    }

    const BROKER: Session = [1; 16];
    const ASKER: Session = [2; 16];

    fn link(keys: &Keys) -> Link {
        let config = LinkConfig {
            cluster: "office".into(),
            name: "db1".into(),
            node: 7,
            group: SocketAddr::from(([239, 255, 44, 54], 4454)),
            groups: 4,
            datagram_bytes: 1372,
            history_bytes: 1 << 20,
            rate: None,
            receive_buffer_bytes: 4 << 20,
            keys: keys.clone(),
            peers: Vec::new(),
            unresolved: 0,
            pressured: Vec::new(),
            stall_timeout: Duration::from_secs(5),
            max_payload_bytes: 1 << 20,
            reassembly_bytes: 64 << 20,
            local_addresses: Vec::new(),
            discovery: Duration::ZERO,
        };
        let mut link = Link::new(config, BROKER, Box::new(Zeros), ns(0));
        link.handle_timeout(ns(1));
        answers(&mut link);
        link
    }

    fn probe(sealer: &mut ControlSealer, bytes: usize) -> Vec<u8> {
        let (key_id, counter) = (sealer.key_id(), sealer.counter());
        let mut datagram = Vec::new();
        ControlHeader::new(ControlKind::Probe, key_id, &ASKER, counter).write(&mut datagram);
        let padding_bytes = bytes - datagram.len() - 32 - sealer.tag_bytes();
        Probe { nonce: [9; 16], to: Session::default(), padding_bytes }.encode(&mut datagram);
        let end = datagram.len();
        datagram.resize(bytes, 0);
        let (header, rest) = datagram.split_at_mut(CONTROL_HEADER_BYTES);
        let (body, tag) = rest.split_at_mut(end - CONTROL_HEADER_BYTES);
        sealer.seal(header, body, tag);
        datagram
    }

    fn ask(link: &mut Link, bytes: &[u8], multicast: bool) -> Vec<Vec<u8>> {
        let from = SocketAddr::from(([10, 0, 0, 2], 5000));
        link.handle_datagrams(ns(2), &Datagrams { bytes, segment: bytes.len(), from, multicast });
        answers(link).into_iter().filter(|(to, _)| *to == To::Addr(from)).map(|it| it.1).collect()
    }

    fn answers(link: &mut Link) -> Vec<(To, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(transmit) = link.poll_transmit(ns(2)) {
            all.push((transmit.to, transmit.bytes.to_vec()));
        }
        all
    }

    #[test]
    fn a_stranger_is_told_who_is_here_what_came_and_how() {
        for keys in [Keys::open_link(), Keys::new(vec![Key::new([3; 32])])] {
            let mut link = link(&keys);
            let mut sealer = ControlSealer::new(&keys, &ASKER);
            for (bytes, multicast) in [(616, true), (8952, false)] {
                let answer = ask(&mut link, &probe(&mut sealer, bytes), multicast);
                let [answer] = &answer[..] else { panic!("{answer:?}") };
                let Ok(Datagram::Control { kind, header, body, tag }) = parse(answer) else {
                    panic!("{answer:?}")
                };
                let mut body = body.to_vec();
                let (key_id, counter) = (header.key_id.get(), header.counter.get());
                ControlOpener::new(&keys, &BROKER)
                    .open(key_id, counter, header.bytes(), &mut body, tag)
                    .unwrap();
                let Ok(Control::ProbeReply(reply)) = Control::decode(kind, &body) else {
                    panic!("{kind:?}")
                };
                assert_eq!((reply.nonce, reply.to), ([9; 16], ASKER));
                assert_eq!((reply.received, reply.multicast), (bytes as u32, multicast));
                assert_eq!((reply.cluster, reply.name, reply.node), ("office", "db1", 7));
                assert_eq!((reply.groups, reply.datagram_bytes), (4, 1372));
            }
            assert!(link.peers.iter().next().is_none(), "asking makes nobody a peer");
        }
    }

    #[test]
    fn no_answer_is_longer_than_its_question() {
        for keys in [Keys::open_link(), Keys::new(vec![Key::new([3; 32])])] {
            let mut link = link(&keys);
            let mut sealer = ControlSealer::new(&keys, &ASKER);
            let length = ask(&mut link, &probe(&mut sealer, 616), false)[0].len();
            assert_eq!(ask(&mut link, &probe(&mut sealer, length), false)[0].len(), length);
            assert_eq!(ask(&mut link, &probe(&mut sealer, length - 1), false).len(), 0);
            assert_eq!(link.counters.drops.malformed, 1);
        }
    }

    #[test]
    fn a_flood_of_questions_gets_few_answers() {
        let keys = Keys::open_link();
        let mut link = link(&keys);
        let mut sealer = ControlSealer::new(&keys, &ASKER);
        let given: usize =
            (0..1000).map(|_| ask(&mut link, &probe(&mut sealer, 616), false).len()).sum();
        assert_eq!(given as u64, MAX_HELLOS_PER_SOURCE_PER_S);
    }
}
