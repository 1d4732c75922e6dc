//! Addresses that are not known to be their sender's: what is sent there.

use core::net::SocketAddr;

use netcluster_wire::link::limits::{ASKING_HELLO_BYTES, CONTROL_HEADER_BYTES};
use netcluster_wire::link::{
    Answer, Challenge, Control, ControlHeader, ControlKind, Datagram, Hello, Probe, Range, parse,
};

use super::mesh::*;
use crate::Session;
use crate::crypto::{ControlOpener, ControlSealer, Keys};
use crate::membership::peers::MAX_PEERS_PER_ADDRESS;

fn victim() -> SocketAddr {
    SocketAddr::from(([10, 9, 9, 9], 999))
}

/// A control datagram of any session, sealed if there is a key.
pub(super) fn sealed(
    sealer: &mut ControlSealer,
    session: &Session,
    kind: ControlKind,
    encode: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    ControlHeader::new(kind, sealer.key_id(), session, sealer.counter()).write(&mut bytes);
    encode(&mut bytes);
    let end = bytes.len();
    bytes.resize(end + sealer.tag_bytes(), 0);
    let (header, rest) = bytes.split_at_mut(CONTROL_HEADER_BYTES);
    let (body, tag) = rest.split_at_mut(end - CONTROL_HEADER_BYTES);
    sealer.seal(header, body, tag);
    bytes
}

fn hello(sealer: &mut ControlSealer, session: &Session, node: u32, bytes: usize) -> Vec<u8> {
    let least = CONTROL_HEADER_BYTES + Hello::body_bytes(5) + sealer.tag_bytes();
    let hello = Hello {
        node,
        groups: 4,
        datagram_bytes: 1372,
        settings: 0,
        answer: true,
        cluster: "test",
        name: "x",
        padding_bytes: bytes.saturating_sub(least),
    };
    sealed(sealer, session, ControlKind::Hello, |out| hello.encode(out))
}

/// The challenge that a broker sent to an address, if it is one.
fn challenge(keys: &Keys, bytes: &[u8]) -> Option<(Challenge, Session)> {
    let Ok(Datagram::Control { kind, header, body, tag }) = parse(bytes) else { return None };
    let mut body = body.to_vec();
    let (key_id, counter) = (header.key_id.get(), header.counter.get());
    let mut opener = ControlOpener::new(keys, &header.session);
    opener.open(key_id, counter, header.bytes(), &mut body, tag).ok()?;
    match Control::decode(kind, &body) {
        Ok(Control::Challenge(challenge)) => Some((challenge, header.session)),
        _ => None,
    }
}

fn kinds(strayed: &[(SocketAddr, Vec<u8>)]) -> Vec<u8> {
    strayed.iter().map(|(_, bytes)| bytes[2]).collect()
}

/// Two brokers that reach each other by unicast alone; the second one listens.
fn unicast_pair(keys: &Keys) -> Mesh {
    let mut mesh = Mesh::new(1);
    mesh.reaches = |_, _, multicast| !multicast;
    for index in 0..2 {
        let mut config = config(index);
        config.keys = keys.clone();
        config.peers = vec![address(1 - index)];
        mesh.start(config);
    }
    mesh.listen(1, CHANNEL);
    mesh.run_ms(500);
    assert_eq!(mesh.nodes[0].ups, 1);
    mesh
}

#[test]
fn a_peer_that_says_it_moved_gets_a_challenge_there_and_nothing_else() {
    let mut mesh = unicast_pair(&Keys::open_link());
    let (to, session) = (mesh.nodes[0].link.local.session, mesh.nodes[1].link.local.session);
    let mut sealer = ControlSealer::new(&Keys::open_link(), &session);
    let mut bytes_in = 0;
    let stream = mesh.nodes[0].link.local.stream_map.stream_of(CHANNEL).0;
    for round in 0..200 {
        mesh.emit(0, CHANNEL, 20);
        // Everything that it could say, from where it is not.
        let ranges = [Range { first: 0, count: u32::MAX }];
        let kind = ControlKind::ALL[round % ControlKind::ALL.len()];
        let said = match kind {
            ControlKind::Hello => hello(&mut sealer, &session, 2, ASKING_HELLO_BYTES),
            ControlKind::Challenge => sealed(&mut sealer, &session, kind, |out| {
                Challenge { nonce: [1; 16], to }.encode(out);
            }),
            ControlKind::Answer => sealed(&mut sealer, &session, kind, |out| {
                Answer { nonce: [1; 16], to }.encode(out);
            }),
            _ => sealed(&mut sealer, &session, ControlKind::Nak, |out| {
                netcluster_wire::link::Nak::encode(&to, stream, 0, &ranges, out);
            }),
        };
        bytes_in += said.len();
        mesh.inject(0, victim(), round % 3 == 0, &said);
        mesh.run_ms(5);
    }
    mesh.run_ms(500);
    mesh.assert_seen(1, 0, CHANNEL, 1..=4000);
    let bytes_out: usize = mesh.strayed.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(mesh.strayed.iter().all(|(to, _)| *to == victim()));
    assert!((1..=bytes_in / 2).contains(&bytes_out), "{bytes_out} bytes for {bytes_in}");
    let handshake = [ControlKind::Challenge as u8, ControlKind::Answer as u8];
    assert!(kinds(&mesh.strayed).iter().all(|kind| handshake.contains(kind)));
    assert_eq!(mesh.nodes[0].peers()[0].address, address(1).to_string());
    // Nor is what it has sent to it again, since somebody says so.
    assert_eq!(mesh.nodes[0].link.counters().repaired, 0);
    assert!(mesh.nodes[0].drops().unproved > 0);
}

/// A challenge came besides the reply: more than the probe had.
#[test]
fn a_probe_in_a_peers_name_is_answered_by_no_more_bytes_than_it_has() {
    let mut mesh = unicast_pair(&Keys::open_link());
    let (to, session) = (mesh.nodes[0].link.local.session, mesh.nodes[1].link.local.session);
    let mut sealer = ControlSealer::new(&Keys::open_link(), &session);
    let probe = Probe { nonce: [1; 16], to, padding_bytes: 72 };
    let said = sealed(&mut sealer, &session, ControlKind::Probe, |out| probe.encode(out));
    mesh.inject(0, victim(), false, &said);
    mesh.run_ms(500);
    assert_eq!(kinds(&mesh.strayed), [ControlKind::ProbeReply as u8]);
    assert!(mesh.strayed[0].1.len() <= said.len());
}

#[test]
fn a_peer_that_moved_is_reached_there_once_it_has_answered() {
    for keys in [Keys::open_link(), key(1)] {
        let mut mesh = unicast_pair(&keys);
        mesh.emit(0, CHANNEL, 50);
        mesh.run_ms(100);
        mesh.nodes[1].address.set_port(6000);
        mesh.emit(0, CHANNEL, 50);
        mesh.run_ms(2500);
        assert_eq!(mesh.nodes[0].peers()[0].address, mesh.nodes[1].address.to_string());
        assert_eq!((mesh.nodes[0].ups, mesh.nodes[0].link.counters().moved), (1, 1));
        mesh.emit(0, CHANNEL, 50);
        mesh.run_ms(100);
        mesh.assert_seen(1, 0, CHANNEL, 1..=150);
    }
}

#[test]
fn both_may_move_at_once_where_multicast_goes_on() {
    let mut mesh = Mesh::of(1, 2);
    mesh.listen(1, CHANNEL);
    mesh.run_ms(500);
    for index in 0..2 {
        mesh.nodes[index].address.set_port(6000);
    }
    mesh.run_ms(2000);
    for index in 0..2 {
        let other = mesh.nodes[1 - index].address.to_string();
        assert_eq!(mesh.nodes[index].peers()[0].address, other);
        assert_eq!(mesh.nodes[index].ups, 1);
    }
    mesh.emit(0, CHANNEL, 50);
    mesh.run_ms(100);
    mesh.assert_seen(1, 0, CHANNEL, 1..=50);
}

#[test]
fn an_answer_from_elsewhere_makes_nobody_a_peer_there() {
    let keys = Keys::open_link();
    let mut mesh = Mesh::of(1, 1);
    mesh.run_ms(500);
    let session = [7; 16];
    let mut sealer = ControlSealer::new(&keys, &session);
    let stranger = SocketAddr::from(([10, 6, 6, 6], 666));
    let said = hello(&mut sealer, &session, 9, ASKING_HELLO_BYTES);
    mesh.inject(0, stranger, false, &said);
    mesh.run_ms(1);
    let (asked, to) =
        mesh.strayed.drain(..).find_map(|(_, bytes)| challenge(&keys, &bytes)).unwrap();
    assert_eq!(asked.to, session);
    let mut answer = |nonce| {
        sealed(&mut sealer, &session, ControlKind::Answer, |out| Answer { nonce, to }.encode(out))
    };
    mesh.inject(0, victim(), false, &answer(asked.nonce));
    mesh.run_ms(1);
    assert_eq!(mesh.nodes[0].ups, 0);
    // Who really sends from there is asked there.
    let (again, _) = challenge(&keys, &mesh.strayed[0].1).expect("a challenge");
    assert_eq!((mesh.strayed.len(), mesh.strayed[0].0), (1, victim()));
    assert_ne!(again.nonce, asked.nonce);
    mesh.inject(0, victim(), false, &answer(again.nonce));
    mesh.run_ms(1);
    assert_eq!(mesh.nodes[0].ups, 1);
    assert_eq!(mesh.nodes[0].peers()[0].address, victim().to_string());
}

#[test]
fn a_hello_is_answered_by_no_more_bytes_than_it_has_and_once() {
    for keys in [Keys::open_link(), key(1)] {
        for bytes in [0, 80, 100, 200, ASKING_HELLO_BYTES] {
            let mut mesh = Mesh::new(1);
            mesh.start(crate::LinkConfig {
                keys: keys.clone(),
                name: "n".repeat(255),
                ..config(0)
            });
            mesh.run_ms(500);
            let session = [bytes as u8; 16];
            let mut sealer = ControlSealer::new(&keys, &session);
            let said = hello(&mut sealer, &session, 9, bytes);
            mesh.inject(0, victim(), false, &said);
            // The same once more, as a recording.
            mesh.inject(0, victim(), false, &said);
            mesh.run_ms(5000);
            let bytes_out: usize = mesh.strayed.iter().map(|(_, bytes)| bytes.len()).sum();
            let arrived = if keys.is_open() { 2 * said.len() } else { said.len() };
            assert!(bytes_out <= arrived, "{bytes_out} bytes for {arrived}");
            assert!(mesh.strayed.len() <= 5, "{:?}", kinds(&mesh.strayed));
            // A challenge always fits: so who is there becomes a peer at last.
            let asked = mesh.strayed.iter().any(|(_, bytes)| challenge(&keys, bytes).is_some());
            assert!(asked || bytes == 0);
        }
    }
}

#[test]
fn the_longest_names_still_meet() {
    for keys in [Keys::open_link(), key(1)] {
        let mut mesh = Mesh::new(1);
        mesh.reaches = |_, _, multicast| !multicast;
        for index in 0..2 {
            let mut config = config(index);
            config.keys = keys.clone();
            config.cluster = "c".repeat(255);
            config.name = ["n", "m"][index].repeat(255);
            if index == 0 {
                config.peers = vec![address(1)];
            }
            mesh.start(config);
        }
        mesh.run_ms(100);
        assert_eq!((mesh.nodes[0].ups, mesh.nodes[1].ups), (1, 1));
    }
}

#[test]
fn brokers_of_one_address_are_few_on_an_open_link() {
    for keys in [Keys::open_link(), key(1)] {
        let mut mesh = Mesh::new(1);
        mesh.start(crate::LinkConfig { keys: keys.clone(), ..config(0) });
        mesh.run_ms(500);
        let total = MAX_PEERS_PER_ADDRESS + 8;
        for index in 0..total {
            let session = [index as u8 + 1; 16];
            let mut sealer = ControlSealer::new(&keys, &session);
            let from = SocketAddr::new(victim().ip(), 1000 + index as u16);
            let said = hello(&mut sealer, &session, 100 + index as u32, ASKING_HELLO_BYTES);
            mesh.inject(0, from, false, &said);
            mesh.run_ms(25);
            let sent = mesh.strayed.drain(..).filter(|(to, _)| *to == from);
            let asked = sent.into_iter().find_map(|(_, bytes)| challenge(&keys, &bytes));
            let Some((Challenge { nonce, .. }, to)) = asked else { continue };
            let answer = sealed(&mut sealer, &session, ControlKind::Answer, |out| {
                Answer { nonce, to }.encode(out);
            });
            mesh.inject(0, from, false, &answer);
        }
        mesh.run_ms(1);
        let expected = if keys.is_open() { MAX_PEERS_PER_ADDRESS } else { total };
        assert_eq!(mesh.nodes[0].ups, expected);
        let told = mesh.nodes[0].warnings.iter().any(|text| text.contains("one too many"));
        assert_eq!(told, keys.is_open());
    }
}

#[test]
fn after_silence_a_session_keeps_its_replay_window() {
    let mut mesh = Mesh::new(1);
    for index in 0..2 {
        mesh.start(crate::LinkConfig { keys: key(1), ..config(index) });
    }
    mesh.listen(1, CHANNEL);
    mesh.recorded = Some(Vec::new());
    mesh.run_ms(500);
    mesh.emit(0, CHANNEL, 100);
    mesh.run_ms(500);
    let recorded = mesh.recorded.take().unwrap();
    mesh.reaches = |_, _, _| false;
    mesh.run_ms(4000);
    mesh.reaches = |_, _, _| true;
    mesh.run_ms(2000);
    assert_eq!((mesh.nodes[0].ups, mesh.nodes[1].ups), (2, 2), "silent, and back");
    let before = mesh.nodes[0].link.counters();
    for (from, multicast, bytes) in recorded.iter().filter(|(from, ..)| *from == address(1)) {
        mesh.inject(0, *from, *multicast, bytes);
    }
    let after = mesh.nodes[0].link.counters();
    assert_eq!(after.received, before.received, "nothing of them counts");
    assert!(after.drops.replayed > before.drops.replayed);
}

#[test]
fn a_way_that_is_whole_again_is_used_at_once() {
    for more_ms in (0..1000).step_by(70) {
        let mut mesh = Mesh::of(1 + more_ms, 2);
        mesh.run_ms(500);
        mesh.reaches = |_, _, _| false;
        mesh.run_ms(4000 + more_ms);
        mesh.reaches = |_, _, _| true;
        mesh.run_ms(350);
        assert_eq!((mesh.nodes[0].ups, mesh.nodes[1].ups), (2, 2), "after {more_ms} ms more");
    }
}
