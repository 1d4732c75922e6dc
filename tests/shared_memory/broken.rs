//! Clients that break the rules of their memory: they are told why, and the others go on.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use netcluster_client::Client;
use netcluster_shm::{ClientRegion, Region, RingWriter};
use netcluster_wire::frame::encode;
use netcluster_wire::limits::HARD_MAX_PAYLOAD_BYTES;
use netcluster_wire::shared::OFFERED_DESCRIPTORS;
use netcluster_wire::{ErrorCode, Frame, Hello, Kind, SharedStep, Source};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::common::on_sharing;
use crate::common::process::RemoteBus;
use crate::common::{Bed, PATIENCE, Raw, connect, patterned, status_at, take, wait_until};

/// Words that a client writes, by their numbers for [`Region::set_word`].
const RING_TAIL: usize = 3;
const DESCRIPTOR_HEAD: usize = 4;

/// A client that writes its own frames, and its own words.
struct Breaker {
    stream: UnixStream,
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    source: Source,
}

impl Breaker {
    /// Connects and goes over to memory.
    fn share(path: &Path) -> (Breaker, ClientRegion) {
        let stream = UnixStream::connect(path).expect("the broker accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let (bytes, descriptors, source) = (Vec::new(), Vec::new(), Source::NONE);
        let mut client = Breaker { stream, bytes, descriptors, source };
        let hello = Hello { shared: true, ..Hello::default() };
        client.send(Kind::Hello, 0, b"default", &hello.encode());
        client.source = client.wait_for(Kind::Welcome);
        client.send(Kind::Subscribe, 1, b"n", b"");
        client.wait_for(Kind::Shared);
        let [_, given @ ..]: [OwnedFd; OFFERED_DESCRIPTORS] =
            client.descriptors.split_off(0).try_into().expect("an offer's descriptors");
        let region = ClientRegion::new(given).expect("the broker's memory");
        client.send(Kind::Shared, 0, b"", &SharedStep::Accept.encode());
        client.wait_for(Kind::Shared);
        (client, region)
    }

    fn send(&self, kind: Kind, sequence: u64, name: &[u8], payload: &[u8]) {
        let frame = encode(kind, self.source, sequence, name, payload);
        assert_eq!(rustix::io::write(&self.stream, &frame), Ok(frame.len()));
    }

    /// Reads on to the next frame of a kind; returns whose it is.
    fn wait_for(&mut self, kind: Kind) -> Source {
        loop {
            let frame = Frame::read(&self.bytes, HARD_MAX_PAYLOAD_BYTES).expect("good frames");
            if let Some(frame) = frame {
                let (found, source) = (frame.kind(), frame.source());
                self.bytes.drain(..frame.as_bytes().len());
                if found == kind {
                    return source;
                }
                continue;
            }
            let mut room =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(OFFERED_DESCRIPTORS))];
            let mut beside = RecvAncillaryBuffer::new(&mut room);
            let mut part = [0; 4096];
            let parts = &mut [IoSliceMut::new(&mut part)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = rustix::net::recvmsg(&self.stream, parts, &mut beside, flags);
            let bytes = received.expect("a frame comes").bytes;
            assert!(bytes > 0, "the broker ended the connection");
            for message in beside.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    self.descriptors.extend(rights);
                }
            }
            self.bytes.extend_from_slice(&part[..bytes]);
        }
    }
}

/// Way of breaking the rules.
type Breaks = fn(ClientRegion, Source);

fn go_back(region: ClientRegion, source: Source) {
    let (words, bells) = (region.region().clone(), region.bells().clone());
    let mut ring = RingWriter::new(region).expect("a ring");
    ring.copy(&encode(Kind::Event, source, 1, b"n", b"a good one"));
    if ring.put() {
        bells.broker.ring();
    }
    wait_until("the broker has taken it", || ring.untaken() == 0);
    words.set_word(RING_TAIL, 1);
    bells.broker.ring();
}

fn release_more(region: &ClientRegion) {
    let words: &Region = region.region();
    words.set_word(DESCRIPTOR_HEAD, 1_000_000);
    region.bells().broker.ring();
}

fn exchange(emitter: &Client, listener: &netcluster_client::Subscription, rounds: u64) {
    for number in 0..rounds {
        emitter.emit("healthy", patterned(number, 3000)).unwrap();
        assert!(take(listener).payload() == patterned(number, 3000));
    }
}

on_sharing! {
    fn who_breaks_the_rules_is_told_and_the_others_go_on(bed) {
        let bus = RemoteBus::start(bed);
        let (emitter, listener) = (connect(&bus.path, |it| it), connect(&bus.path, |it| it));
        let events = listener.subscribe("healthy").unwrap();
        exchange(&emitter, &events, 50);
        let ways: [(Breaks, &str); 2] = [
            (go_back, "the client's ring says it holds more than fits, or less than it did"),
            (|region, _| release_more(&region), "the client released what it was not given"),
        ];
        for (round, (breaks, reason)) in ways.into_iter().enumerate() {
            let (client, region) = Breaker::share(&bus.path);
            let number = client.source.client;
            breaks(region, client.source);
            wait_until("it is disconnected", || {
                exchange(&emitter, &events, 5);
                let closed = status_at(&bus.path).closed_by_broker;
                closed.iter().any(|it| it.client == number && it.reason == reason)
            });
            assert_eq!(status_at(&bus.path).totals.protocol_errors, round as u64 + 1);
            let log = bus.logged();
            let told = |line: &&str| line.contains(" WARN ") && line.contains(reason);
            assert_eq!(log.lines().filter(told).count(), 1, "{log}");
            let hello = Hello { previous: client.source, ..Hello::default() };
            let (_successor, welcome) = Raw::welcomed(&bus.path, &hello);
            assert_eq!(welcome.reason, Some((ErrorCode::Protocol, reason.to_owned())));
            exchange(&emitter, &events, 50);
        }
    }
}
