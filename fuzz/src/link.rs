//! Whole links against a hostile network.
//!
//! Two links talk. Meanwhile datagrams of theirs come again: late, changed, cut,
//! glued to others, from elsewhere; bytes of the input come as datagrams; and a
//! broker that has the key (or needs none) says what it likes. Nothing may panic,
//! loop or grow; and when it is over, a newcomer is found and hears events.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use netcluster_link::Datagrams;
use netcluster_link::config::StreamMap;
use netcluster_link::crypto::{Key, Keys};
use netcluster_wire::link::{ControlKind, DataHeader};

use super::choices::Choices;
use super::links::{Links, Sent, address, config};
use super::mallory::{Mallory, NODE};

/// Address of somebody who has nothing to do with the link, in whose name much is said.
const VICTIM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9)), 999);

/// Most steps of an input: more only take long.
const MAX_STEPS: usize = 300;

/// Number of datagrams that are kept to be played back.
const MAX_RECORD: usize = 4096;

/// Timeouts that an idle link may need in a second: hellos, heartbeats, pings, statuses.
const MAX_IDLE_TIMEOUTS_PER_S: u64 = 300;

const MS: Duration = Duration::from_millis(1);

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let keys =
        if choices.chance(128) { Keys::new(vec![Key::new([7; 32])]) } else { Keys::open_link() };
    let mut links = Links::new();
    links.record = Some(Vec::new());
    links.start(config(0, &keys));
    links.start(config(1, &keys));
    for at in 0..2 {
        links.listen(at, "news", true);
        links.listen(at, "slow", true);
    }
    let stream_map = StreamMap::new(&config(0, &keys));
    let mut mallories =
        [Mallory::new(&keys, stream_map.hash, 1), Mallory::new(&keys, stream_map.hash, 2)];
    if choices.chance(200) {
        links.run_for(200 * MS);
        for mallory in &mut mallories {
            become_peer(&mut links, mallory, &stream_map, &mut choices);
        }
    }
    let mut victim_bytes = 0;
    for _ in 0..MAX_STEPS {
        if choices.is_empty() {
            break;
        }
        let who = choices.below(2);
        step(&mut links, &mut mallories[who], &stream_map, &mut choices);
        victim_bytes += listen_in(&mut links, &mut mallories);
        // It gets no more than what came in its name.
        assert!(victim_bytes <= links.handed.get(&VICTIM).copied().unwrap_or(0));
        if let Some(record) = &mut links.record {
            record.truncate(MAX_RECORD);
        }
    }
    links.check();
    if keys.is_open() {
        // Who forges in the name of a true peer can do anything to it there, but
        // not for longer than he does it.
        links.record = None;
    } else {
        assert_eq!(links.nodes[1].twice(), Default::default());
    }
    recovers(links, &keys);
}

/// Lets a mallory become a peer: most of what can be said is heard of peers alone.
fn become_peer(
    links: &mut Links,
    mallory: &mut Mallory,
    stream_map: &StreamMap,
    choices: &mut Choices<'_>,
) {
    let hello = mallory.hello(mallory.node);
    links.inject(0, mallory.address, false, &hello);
    for _ in 0..2 {
        links.run_for(MS);
        listen_in(links, std::slice::from_mut(mallory));
    }
    let streams: Vec<_> = stream_map.streams_in(u64::MAX).collect();
    let joined = mallory.joined(choices, &streams);
    links.inject(0, mallory.address, false, &joined);
    let interest = mallory.interest(choices.chance(128));
    links.inject(0, mallory.address, false, &interest);
}

fn step(
    links: &mut Links,
    mallory: &mut Mallory,
    stream_map: &StreamMap,
    choices: &mut Choices<'_>,
) {
    let at = choices.below(2);
    match choices.below(12) {
        0 => links.run_for(Duration::from_micros(choices.below(3000) as u64)),
        1 => links.run_for(Duration::from_millis(choices.of(&[1, 5, 20, 60, 200, 1600, 3600]))),
        2 => {
            let payload = vec![7; choices.of(&[0, 10, 100, 1300, 9000])];
            links.emit(at, choices.of(&["news", "slow", "other"]), choices.below(40), &payload);
        }
        3 => {
            let channel = choices.of(&["news", "slow", "other", "fourth"]);
            links.listen(at, channel, choices.chance(180));
        }
        4 => links.drop_next = choices.below(8),
        5 | 6 => replay(links, at, choices),
        7 => {
            let bytes = choices.bytes(200).to_vec();
            let segment = choices.below(100);
            let datagrams =
                Datagrams { bytes: &bytes, segment, from: address(1 - at), multicast: true };
            links.inject_train(at, datagrams);
        }
        8 => {
            let hello = mallory.hello(choices.of(&[mallory.node, mallory.node, NODE, 2]));
            links.inject(at, mallory.address, choices.chance(128), &hello);
        }
        9 => {
            let streams: Vec<_> = stream_map.streams_in(u64::MAX).take(9).collect();
            let count = choices.of(&[1, 0, 2, 9]).min(streams.len());
            let bytes = mallory.joined(choices, &streams[..count]);
            links.inject(at, mallory.address, false, &bytes);
        }
        10 => {
            let bytes = mallory.control(choices);
            let from = if choices.chance(64) { VICTIM } else { mallory.address };
            links.inject(at, from, choices.chance(100), &bytes);
        }
        _ => {
            let bytes = mallory.data(choices);
            links.inject(at, mallory.address, true, &bytes);
        }
    }
}

/// Sends a datagram again, perhaps changed.
fn replay(links: &mut Links, at: usize, choices: &mut Choices<'_>) {
    let Some(record) = &links.record else { return };
    if record.is_empty() {
        return;
    }
    let Sent { from, mut bytes, .. } = record[choices.below(record.len())].clone();
    match choices.below(6) {
        0 => {}
        1 => bytes.truncate(choices.below(bytes.len() + 1)),
        2 => {
            for _ in 0..1 + choices.below(4) {
                let place = choices.below(bytes.len());
                bytes[place] = choices.byte();
            }
        }
        3 => {
            // The head of one and the rest of another.
            let other = &record[choices.below(record.len())].bytes;
            let cut = choices.below(bytes.len().min(other.len()));
            bytes.truncate(cut);
            bytes.extend_from_slice(&other[cut..]);
        }
        4 => bytes[2] = choices.of(&ControlKind::ALL) as u8,
        _ => {
            if let Some((header, _)) = DataHeader::split(&bytes) {
                let mut header = *header;
                header.number = header.number.get().wrapping_add(choices.below(9) as u64).into();
                header.ordinal = choices.of(&[0, 1, u64::MAX]).into();
                bytes[..header.bytes().len()].copy_from_slice(header.bytes());
            }
        }
    }
    let from = match choices.below(3) {
        0 => VICTIM,
        _ => from,
    };
    links.inject(at, from, choices.chance(128), &bytes);
}

/// Gives the mallories what was sent to them; returns how many bytes were sent to the
/// victim.
fn listen_in(links: &mut Links, mallories: &mut [Mallory]) -> usize {
    let mut victim_bytes = 0;
    for sent in std::mem::take(&mut links.strayed) {
        if sent.to == VICTIM {
            let kinds = [ControlKind::Hello, ControlKind::Challenge, ControlKind::Answer];
            let kinds = kinds.into_iter().chain([ControlKind::ProbeReply]);
            assert!(kinds.into_iter().any(|kind| sent.bytes[2] == kind as u8));
            victim_bytes += sent.bytes.len();
        }
        let Some(mallory) = mallories.iter_mut().find(|one| one.address == sent.to) else {
            continue;
        };
        let Some(answer) = mallory.hear(&sent.bytes) else { continue };
        if let Some(at) = links.nodes.iter().position(|node| node.address == sent.from) {
            links.inject(at, mallory.address, false, &answer);
        }
    }
    victim_bytes
}

/// Checks that a silent enemy is forgotten, and that all is as it should be.
fn recovers(mut links: Links, keys: &Keys) {
    links.record = None;
    links.drop_next = 0;
    links.run_for(10_000 * MS);
    let newcomer = links.start(config(2, keys));
    links.listen(newcomer, "news", true);
    links.run_for(1000 * MS);
    assert_eq!(links.nodes[newcomer].ups, 2, "the newcomer finds both");
    links.emit(0, "news", 1, b"welcome");
    links.run_for(1000 * MS);
    assert_eq!(links.nodes[newcomer].got.len(), 1);
    assert_eq!(links.nodes[newcomer].lost, 0);
    // Nobody has anything to do.
    links.run_for(3000 * MS);
    let before: Vec<u64> = links.nodes.iter().map(|node| node.timeouts).collect();
    links.run_for(1000 * MS);
    for (node, before) in links.nodes.iter().zip(before) {
        let timeouts = node.timeouts - before;
        assert!(timeouts <= MAX_IDLE_TIMEOUTS_PER_S, "{timeouts} timeouts in an idle second");
    }
    links.check();
}
