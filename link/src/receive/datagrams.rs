//! Datagrams in: what is data goes to its stream, what is control is dispatched.
//!
//! A train of datagrams is looked through as a whole: frames are searched for,
//! statuses and requests made once per stream in it, not once per datagram.

use core::net::SocketAddr;

use netcluster_platform::Instant;
use netcluster_wire::control::LossReason;
use netcluster_wire::link::{ControlKind, DataHeader, Datagram, DatagramError, parse};

use crate::Link;
use crate::control::dispatch::Origin;
use crate::receive::ingress::Verdict;
use crate::stream::StreamId;
use crate::warnings::WarningKind;

const HELLO: u8 = ControlKind::Hello as u8;

/// Datagrams that arrived together from one sender.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams<'a> {
    /// Datagrams one behind the other.
    pub bytes: &'a [u8],
    /// Bytes of each but the last, which may be shorter.
    pub segment: usize,
    /// Address of the sender.
    pub from: SocketAddr,
    /// Whether they were sent to a group, not to this machine alone.
    pub multicast: bool,
}

/// Rest of the datagrams, which begins with data.
struct Train<'a> {
    header: &'a DataHeader,
    bytes: &'a [u8],
    segment: usize,
}

impl Link {
    /// Takes datagrams that came.
    pub fn handle_datagrams(&mut self, now: Instant, datagrams: &Datagrams<'_>) {
        self.note_pause(now);
        if self.is_paused {
            return self.receive_answers(now, datagrams);
        }
        let segment = datagrams.segment.max(1);
        let mut rest = datagrams.bytes;
        while !rest.is_empty() {
            let datagram = &rest[..segment.min(rest.len())];
            let mut taken_bytes = datagram.len();
            match parse(datagram) {
                Ok(Datagram::Data { header, .. }) => {
                    let train = Train { header, bytes: rest, segment };
                    taken_bytes = self.receive_data(now, &train, datagrams.multicast);
                }
                Ok(Datagram::Control { kind, header, body, tag }) => {
                    self.finish_train(now);
                    let Datagrams { from: address, multicast, .. } = *datagrams;
                    let from = Origin { address, multicast };
                    self.receive_control(now, kind, header, (body, tag), from);
                }
                Err(error) => self.refuse(now, error, datagram, datagrams.from),
            }
            rest = &rest[taken_bytes..];
        }
        self.finish_train(now);
        self.pay_statuses(now);
    }

    /// Takes only what says how far peers are in the own streams, and answers how far this
    /// broker is in theirs.
    #[cold]
    fn receive_answers(&mut self, now: Instant, datagrams: &Datagrams<'_>) {
        let Datagrams { from: address, multicast, .. } = *datagrams;
        for datagram in datagrams.bytes.chunks(datagrams.segment.max(1)) {
            let Ok(Datagram::Control { kind, header, body, tag }) = parse(datagram) else {
                continue;
            };
            if matches!(kind, ControlKind::Status | ControlKind::Nak | ControlKind::Heartbeat) {
                self.receive_control(now, kind, header, (body, tag), Origin { address, multicast });
            }
        }
        self.pay_statuses(now);
    }

    /// Takes the data that a train begins with; returns how many bytes, at least
    /// one datagram.
    #[inline]
    fn receive_data(&mut self, now: Instant, train: &Train<'_>, multicast: bool) -> usize {
        let datagram = &train.bytes[..train.segment.min(train.bytes.len())];
        let one = datagram.len();
        let tag = train.header.session.get();
        if tag == self.local.tag {
            self.counters.drops.own += 1;
            return one;
        }
        let stream = StreamId(train.header.stream.get());
        let Some(slot) = self.peers.slot_of_tag(tag) else {
            self.counters.drops.unknown_session += 1;
            return one;
        };
        if self.inbound.touched != Some((slot, stream)) {
            self.finish_train(now);
            self.inbound.touched = Some((slot, stream));
        }
        let Some(peer) = self.peers.at_mut(slot) else { return one };
        let Some(inbound) = peer.inbound_mut(stream) else {
            self.counters.drops.unjoined += 1;
            return one;
        };
        let ingress = &mut inbound.ingress;
        let bytes = match ingress.handle_train(now, train.bytes, train.segment) {
            0 => {
                let drops = &mut self.counters.drops;
                match ingress.handle(now, train.header, datagram) {
                    Verdict::Taken => one,
                    verdict => {
                        if verdict.has_arrived() {
                            inbound.came(now, multicast);
                        }
                        *match verdict {
                            Verdict::Duplicate => &mut drops.duplicate,
                            Verdict::TooFar | Verdict::NoMemory => &mut drops.too_far,
                            Verdict::Forged => &mut drops.forged,
                            Verdict::WrongKey(_) => &mut drops.wrong_key,
                            Verdict::Malformed => &mut drops.malformed,
                            Verdict::Taken | Verdict::Ended => &mut drops.unknown_session,
                        } += 1;
                        return one;
                    }
                }
            }
            bytes => bytes,
        };
        inbound.came(now, multicast);
        if multicast {
            peer.liveness.deaf_groups &= !(1 << stream.group());
        }
        let count = bytes.div_ceil(train.segment) as u64;
        peer.heard(now, multicast);
        for counters in [&mut peer.counters.received, &mut self.counters.received] {
            *counters += count;
        }
        for counters in [&mut peer.counters.received_bytes, &mut self.counters.received_bytes] {
            *counters += bytes as u64;
        }
        bytes
    }

    /// Looks through the stream whose data came last, if that was not done.
    #[inline]
    fn finish_train(&mut self, now: Instant) {
        let Some((slot, stream)) = self.inbound.touched.take() else { return };
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let id = peer.id;
        let Some(inbound) = peer.inbound_mut(stream) else { return };
        let position = inbound.ingress.position();
        if self.inbound.window.received(now, id, stream, position) {
            self.inbound.owe_status(peer);
        }
        self.look_through(now, slot, stream);
    }

    /// Hands out what a stream has by now, and notes what it owes and asks.
    pub(crate) fn look_through(&mut self, now: Instant, slot: usize, stream: StreamId) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let at = peer.inbound.binary_search_by_key(&stream, |inbound| inbound.stream);
        let Ok(at) = at else { return };
        let channels = &self.interest.channels;
        peer.drain(at, LossReason::Link, channels, &mut self.output, &mut self.counters);
        let inbound = &mut peer.inbound[at];
        let large_bytes = inbound.large_bytes.take();
        if let Some(sample_ns) = inbound.ingress.retransmit_sample() {
            peer.round_trip.retransmitted_in(sample_ns);
        }
        if self.inbound.window.is_due(peer.id, stream, inbound.ingress.position()) {
            self.inbound.owe_status(peer);
        }
        let nak_at = peer.inbound[at].next_nak_at();
        if nak_at <= now {
            self.send_nak(now, slot, at);
        }
        if let Some(peer) = self.peers.at(slot) {
            self.timer.due(peer.inbound[at].next_nak_at());
        }
        if let Some(bytes) = large_bytes {
            self.warn_of_large(now, slot, bytes);
        }
    }

    #[cold]
    fn warn_of_large(&mut self, now: Instant, slot: usize, bytes: usize) {
        let Some(peer) = self.peers.at(slot) else { return };
        let (name, from) = (peer.identity.name.clone(), peer.address);
        let limit = self.inbound.config.max_payload_bytes;
        self.output.warn(now, WarningKind::LargeEvent, from, || {
            format!(
                "an event of {bytes} bytes from broker {name} at {from} is not delivered here, where \
                 --max-payload is {limit} bytes: set the same on all brokers"
            )
        });
    }

    #[cold]
    fn refuse(&mut self, now: Instant, error: DatagramError, datagram: &[u8], from: SocketAddr) {
        let drops = &mut self.counters.drops;
        match error {
            DatagramError::TooShort(_) => drops.short += 1,
            DatagramError::Magic => drops.magic += 1,
            DatagramError::Kind(_) => drops.kind += 1,
            DatagramError::Version(version) => {
                drops.version += 1;
                // Data of another version is not worth a word: its hellos are.
                if datagram.get(2).is_some_and(|&kind| kind == HELLO) {
                    self.output.warn(now, WarningKind::OtherVersion, from, || {
                        format!("{from} speaks version {version} of the link: {error}")
                    });
                }
            }
        }
    }
}
