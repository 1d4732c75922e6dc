//! Others on the same network: other clusters, other keys, and forgers.

use std::net::SocketAddr;
use std::time::Duration;

use netcluster::sim::{SimCluster, SimMember};
use netcluster_link::crypto::{Key, Keys};
use netcluster_platform::sim::network::Tapped;
use netcluster_platform::sim::{Faults, NetworkFaults};

use super::seeds::{Random, for_seeds};
use super::world::World;

fn keys(numbers: &[u8]) -> Keys {
    Keys::new(numbers.iter().map(|&number| Key::new([number; 32])).collect())
}

/// Two clusters, or one cluster with two keys, on one network: each is by itself.
#[test]
fn clusters_and_keys_do_not_mix() {
    for_seeds("clusters_and_keys", 4, |seed| {
        let mut random = Random::new(seed, 60);
        let mut faults = NetworkFaults::lan();
        faults.path.loss_per_million = random.one_of(&[0, 20_000]);
        let mut world = World::empty(seed, 6, Faults::default(), faults);
        let (one, other) = match random.below(4) {
            0 => (("a", Keys::open_link()), ("b", Keys::open_link())),
            1 => (("a", keys(&[1])), ("a", keys(&[2]))),
            2 => (("a", keys(&[1])), ("a", Keys::open_link())),
            _ => (("a", keys(&[1])), ("b", keys(&[1]))),
        };
        for at in 0..6 {
            let (cluster, keys) = if at % 2 == 0 { one.clone() } else { other.clone() };
            let cluster = cluster.to_owned();
            world.cluster.start(at, &SimMember { cluster, keys, ..SimMember::default() });
        }
        world.run(Duration::from_secs(3));
        for at in 0..6 {
            assert_eq!(world.cluster.broker(at).peers(), 2, "machine {at}");
        }
        // The two halves use channels of their own here, or the check would miss
        // what may not come; the groups are the same.
        for at in 0..6 {
            world.listener(at, ["c", "d"][at % 2], &["**"]);
        }
        // Whatever comes on these would have come from the other half.
        let spies = [world.listener(0, "d", &["**"]), world.listener(1, "c", &["**"])];
        let emitters: Vec<_> = (0..6).map(|at| world.emitter(at, ["c", "d"][at % 2])).collect();
        for spy in spies {
            let log = &mut world.listeners[spy].log;
            log.owed.iter_mut().for_each(|owed| *owed = None);
        }
        for _ in 0..40 {
            for &emitter in &emitters {
                world.emit(emitter, "a", random.below(500) as usize);
            }
            world.run(Duration::from_millis(1 + random.below(4)));
        }
        world.finish();
        for spy in spies {
            assert_eq!(world.received(spy), 0, "spy {spy}");
        }
        for at in 0..6 {
            let drops = world.link(at).counters.drops;
            let noticed = drops.other_cluster + drops.wrong_key;
            assert!(noticed > 0, "machine {at}: {drops:?}");
        }
    });
}

/// Keys are replaced while the cluster runs: broker after broker restarts, first
/// with both keys, then sealing with the new one, then with it alone.
#[test]
fn keys_are_rotated_broker_by_broker() {
    for_seeds("keys_are_rotated", 3, |seed| {
        let mut random = Random::new(seed, 61);
        let member = |numbers: &[u8]| SimMember { keys: keys(numbers), ..SimMember::default() };
        let mut world = World::new(seed, 3, NetworkFaults::lan(), &member(&[1]));
        let stages: [&[u8]; 3] = [&[1, 2], &[2, 1], &[2]];
        for stage in stages {
            for at in 0..3 {
                world.excuse_all_of(at);
                if random.chance(50) {
                    world.crash(at);
                } else {
                    world.forget_clients(at);
                    world.cluster.stop(at);
                    while world.cluster.brokers[at].is_some() {
                        world.run(Duration::from_millis(5));
                    }
                }
                world.cluster.start(at, &member(stage));
                world.settle();
                world.listener(at, "c", &["**"]);
                for listener in 0..world.listeners.len() {
                    if !world.listeners[listener].is_gone {
                        world.confirm(listener);
                    }
                }
                let emitter = world.emitter(at, "c");
                for _ in 0..20 {
                    world.emit(emitter, "a", random.below(500) as usize);
                }
                world.finish();
            }
        }
    });
}

/// Forges a datagram out of one that was seen: whole, cut or changed, to anybody.
fn forge(random: &mut Random, tapped: &Tapped) -> (SocketAddr, SocketAddr, Vec<u8>) {
    let mut bytes = tapped.bytes.to_vec();
    let kind = random.below(4);
    if kind == 1 {
        bytes.truncate(1 + random.below(bytes.len() as u64) as usize);
    }
    if kind == 2 {
        for _ in 0..1 + random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
    }
    let from = match random.below(3) {
        0 => SocketAddr::new(SimCluster::address(77), 999),
        _ => tapped.from,
    };
    let to = match kind {
        // Perhaps where it never was to go.
        3 => SocketAddr::new(SimCluster::address(random.below(4) as usize), 4454),
        _ => tapped.to,
    };
    (to, from, bytes)
}

/// With a key, whatever is forged, repeated, cut or changed changes nothing but
/// counters.
#[test]
fn forged_and_repeated_datagrams_change_nothing_with_a_key() {
    for_seeds("forged_and_repeated", 4, |seed| {
        let mut random = Random::new(seed, 62);
        let member = SimMember { keys: keys(&[1]), ..SimMember::default() };
        let mut world = World::empty(seed, 4, Faults::default(), NetworkFaults::lan());
        world.cluster.network.set_tap(400);
        let mut seen = Vec::new();
        for at in 0..4 {
            world.cluster.start(at, &member);
            world.run(Duration::from_millis(10));
        }
        world.settle();
        for at in 0..4 {
            world.listener(at, "c", &["**"]);
        }
        let emitters: Vec<_> = (0..4).map(|at| world.emitter(at, "c")).collect();
        for round in 0..200 {
            for &emitter in &emitters {
                for _ in 0..random.below(4) {
                    world.emit(emitter, "a", random.below(1_500) as usize);
                }
            }
            if round == 100 {
                // The old session's datagrams are tried on the new one.
                world.excuse_all_of(3);
                world.crash(3);
                world.cluster.start(3, &member);
            }
            world.run(Duration::from_millis(1));
            seen.extend(world.cluster.network.tapped());
            if seen.len() > 3_000 {
                seen.drain(..1_000);
            }
            for _ in 0..random.below(12) {
                let at = random.below(seen.len() as u64) as usize;
                let (to, from, bytes) = forge(&mut random, &seen[at]);
                world.cluster.network.inject(to, from, &bytes);
            }
        }
        world.settle();
        world.finish();
        // Which machine gets what was changed is left to chance.
        let drops = [0, 1, 2].map(|at| world.link(at).counters.drops);
        assert!(drops.iter().any(|drops| drops.forged > 0), "{drops:?}");
        assert!(drops.iter().all(|drops| drops.replayed > 0), "{drops:?}");
        for at in 0..3 {
            let status = world.link(at);
            assert_eq!(status.counters.silent, 0, "machine {at}");
            assert_eq!(status.peers.len(), 3, "machine {at}");
            // The crash was told by the peer that is gone.
            assert!(status.peers.iter().all(|peer| peer.counters.losses_unknown == 0));
        }
    });
}

/// Places in datagrams, headers included.
mod at {
    pub const KIND: usize = 2;
    pub const NUMBER: usize = 16;
    const BODY: usize = 32;
    /// Fields of the first entry of a heartbeat.
    pub const NEXT: usize = BODY + 24;
    pub const TAIL: usize = BODY + 32;
    pub const ORDINAL: usize = BODY + 40;
    /// Fields of an interest or joined.
    pub const VERSION: usize = BODY + 16;
    pub const GROUPS: usize = BODY + 24;
    pub const PLACE: usize = BODY + 48;
    /// Count of the places in a leave.
    pub const PLACES: usize = BODY;
    pub const ENTRY: usize = BODY + 16;
}

fn add(bytes: &mut [u8], at: usize, more: u64) {
    let field = &mut bytes[at..at + 8];
    let number = u64::from_le_bytes(field.try_into().expect("8 bytes"));
    field.copy_from_slice(&number.wrapping_add(more).to_le_bytes());
}

/// Makes a datagram say what is not true of a stream: how far it is, where it is joined or
/// ends, who wants it. Returns nothing of a datagram that says nothing like that.
fn lie(random: &mut Random, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let far: u64 = random.one_of(&[100, 5_000, 1 << 20, 1 << 40]);
    match bytes[at::KIND] {
        // Further than any other lie: else it would be believed to be new.
        0x01 => add(&mut bytes, at::NUMBER, 1 << 50),
        0x13 => {
            // The next field takes what is carried.
            add(&mut bytes, at::VERSION, random.one_of(&[0, 1, 5, (1 << 31) - 2]));
            let some = random.next();
            let groups = random.one_of(&[0, 1, some, u64::MAX]);
            bytes[at::GROUPS..at::GROUPS + 8].copy_from_slice(&groups.to_le_bytes());
        }
        0x14 if bytes.len() >= at::PLACE + 8 => {
            let near = random.below(300);
            add(&mut bytes, at::PLACE, random.one_of(&[far, 0, 1, 7, near]));
            add(&mut bytes, at::PLACE + 8, random.one_of(&[0, 0, 1, far]));
        }
        0x15 if random.chance(30) => {
            let entry: [u8; 32] = bytes[at::ENTRY..at::ENTRY + 32].try_into().expect("32 bytes");
            bytes.truncate(at::PLACES);
            bytes[at::KIND] = 0x18;
            bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend_from_slice(&[entry[0], entry[1], 0, 0, 0, 0, 0, 0]);
            // Its next number is where it ends.
            bytes.extend_from_slice(&entry[8..16]);
            bytes.extend_from_slice(&entry[24..32]);
        }
        0x15 => {
            for field in [at::NEXT, at::TAIL, at::ORDINAL] {
                add(&mut bytes, field, if random.chance(70) { far } else { 0 });
            }
        }
        _ => return None,
    }
    Some(bytes)
}

/// Without a key whoever knows a session can say in its name what is not true. What is lost
/// by it is told, and soon after the last lie everything comes again.
#[test]
fn lies_about_streams_lose_nothing_silently() {
    for_seeds("lies_about_streams", 6, |seed| {
        let mut random = Random::new(seed, 65);
        let mut faults = NetworkFaults::lan();
        faults.path.loss_per_million = random.one_of(&[0, 20_000]);
        let member = SimMember { groups: random.one_of(&[1, 4]), ..SimMember::default() };
        let mut world = World::new(seed, 3, faults, &member);
        world.cluster.network.set_tap(400);
        for at in 0..3 {
            world.excuse_all_of(at);
            world.listener(at, "c", &["**"]);
            world.listener(at, "d", &["a"]);
        }
        let emitters: Vec<_> = (0..6).map(|at| world.emitter(at % 3, ["c", "d"][at / 3])).collect();
        let liar = SocketAddr::new(SimCluster::address(77), 999);
        let is_elsewhere = random.chance(50);
        let is_spoofed = random.chance(50);
        let mut lies = 0;
        let often = random.one_of(&[1, 5, 40]);
        for _ in 0..300 {
            for &emitter in &emitters {
                for _ in 0..random.below(3) {
                    world.emit(emitter, "a", random.below(1_500) as usize);
                }
            }
            world.run(Duration::from_millis(1 + random.below(5)));
            for tapped in world.cluster.network.tapped() {
                if tapped.from != liar
                    && random.chance(often)
                    && let Some(bytes) = lie(&mut random, tapped.bytes.to_vec())
                {
                    // These change wishes, and count from where the peer is alone.
                    let is_wish = matches!(bytes[at::KIND], 0x13 | 0x14);
                    let is_far = if is_wish { !is_spoofed } else { is_elsewhere };
                    let from = if is_far { liar } else { tapped.from };
                    world.cluster.network.inject(tapped.to, from, &bytes);
                    lies += 1;
                }
            }
        }
        assert!(lies > 0, "nothing was put to the test");
        if random.chance(50) {
            // Even if nothing is emitted any more.
            world.finish();
        }
        for _ in 0..20 {
            for &emitter in &emitters {
                world.emit(emitter, "a", 100);
            }
            world.run(Duration::from_millis(200));
        }
        world.finish();
        // Now nothing is lost any more.
        let before: Vec<usize> = (0..6).map(|at| world.received(at)).collect();
        for &emitter in &emitters {
            world.emit(emitter, "a", 100);
        }
        world.finish();
        for (at, before) in before.into_iter().enumerate() {
            assert_eq!(world.received(at), before + 3, "listener {at}");
        }
    });
}

/// Noise, and on an open link also what was cut or changed, brings nobody down.
#[test]
fn noise_brings_nobody_down() {
    for_seeds("noise", 4, |seed| {
        let mut random = Random::new(seed, 63);
        let mut world = World::new(seed, 3, NetworkFaults::lan(), &SimMember::default());
        for at in 0..3 {
            world.excuse_all_of(at);
            world.listener(at, "c", &["**"]);
        }
        let emitters: Vec<_> = (0..3).map(|at| world.emitter(at, "c")).collect();
        world.cluster.network.set_tap(200);
        for _ in 0..150 {
            for &emitter in &emitters {
                world.emit(emitter, "a", random.below(1_500) as usize);
            }
            world.run(Duration::from_millis(1));
            for _ in 0..random.below(6) {
                let length = 1 + random.below(200) as usize;
                let mut noise: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
                let head = [b'N', b'L', random.below(0x20) as u8, 1, 0, 0, 0, 0];
                let known = head.len().min(length);
                noise[..known].copy_from_slice(&head[..known]);
                let to = SocketAddr::new(SimCluster::address(random.below(3) as usize), 4454);
                world.cluster.network.inject(to, to, &noise);
            }
            let seen = world.cluster.network.tapped();
            // Cut ones: an open link cannot tell changed ones from true ones.
            for tapped in seen.iter().take(random.below(3) as usize) {
                let length = random.below(44) as usize + 1;
                let cut = &tapped.bytes[..length.min(tapped.bytes.len())];
                world.cluster.network.inject(tapped.to, tapped.from, cut);
            }
        }
        world.finish();
        for at in 0..3 {
            assert_eq!(world.cluster.broker(at).peers(), 2);
            assert!(world.losses(at).is_empty(), "{:?}", world.losses(at));
        }
    });
}

/// Without a key whoever knows a session can speak in its name, from an address that
/// is not its own: the address gets no more than came from it, no data at all, and
/// nobody misses anything.
#[test]
fn whoever_says_that_a_peer_has_moved_directs_nothing_to_a_victim() {
    for_seeds("whoever_says_that_a_peer", 4, |seed| {
        let mut random = Random::new(seed, 64);
        let member = SimMember { unicast: vec![0, 1, 2], ..SimMember::default() };
        let mut faults = NetworkFaults::lan();
        faults.path.loss_per_million = random.one_of(&[0, 20_000]);
        let mut world = World::new(seed, 3, faults, &member);
        world.cluster.network.set_tap(400);
        for at in 0..3 {
            world.listener(at, "c", &["**"]);
        }
        let emitters: Vec<_> = (0..3).map(|at| world.emitter(at, "c")).collect();
        let victim = SocketAddr::new(SimCluster::address(77), 999);
        let (mut seen, mut bytes_in, mut bytes_out) = (Vec::new(), 0, 0);
        for _ in 0..200 {
            for &emitter in &emitters {
                for _ in 0..random.below(4) {
                    world.emit(emitter, "a", random.below(1_500) as usize);
                }
            }
            world.run(Duration::from_millis(1));
            for tapped in world.cluster.network.tapped() {
                let kind = tapped.bytes[2];
                if tapped.to == victim {
                    // The handshake; and whoever probes is replied to, peer or not.
                    let unproved = [0x10, 0x11, 0x12, 0x1a];
                    assert!(unproved.contains(&kind), "kind {kind:#x} to the victim");
                    bytes_out += tapped.bytes.len();
                } else if !matches!(kind, 0x01 | 0x18) {
                    // Neither data nor a goodbye, which would be believed.
                    seen.push(tapped);
                }
            }
            for _ in 0..random.below(6) {
                let at = random.below(seen.len() as u64) as usize;
                let to = SocketAddr::new(SimCluster::address(random.below(3) as usize), 4454);
                bytes_in += seen[at].bytes.len();
                world.cluster.network.inject(to, victim, &seen[at].bytes);
            }
        }
        world.finish();
        assert!(bytes_in > 10_000, "nothing was put to the test");
        assert!((1..=bytes_in).contains(&bytes_out), "{bytes_out} bytes for {bytes_in}");
    });
}
