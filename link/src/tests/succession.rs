//! A session goes on in the hands of a successor: nothing is lost, doubled or told.

use super::mesh::*;
use crate::succession::{Bequest, terms};
use crate::{Link, LinkConfig};

impl Mesh {
    /// Has the session of a node go on in another link, which begins after some time in
    /// which nothing reaches it; `clients` come back only behind that.
    fn succeed(&mut self, index: usize, config: LinkConfig, gap_ms: u64, away_ms: u64) {
        self.pump(index);
        let now = self.now;
        self.nodes[index].link.pause(now);
        for _ in 0..2000 {
            if self.nodes[index].link.is_confirmed() {
                break;
            }
            self.run_ms(1);
        }
        assert!(self.nodes[index].link.is_confirmed(), "it waited long enough");
        let bequest = self.nodes[index].link.bequeath(self.now);
        let bequest = serde_json::to_string(&bequest).expect("it can be written");
        self.nodes[index].is_alive = false;
        self.run_ms(gap_ms);
        let bequest: Bequest = serde_json::from_str(&bequest).expect("it can be read");
        assert_eq!(bequest.terms, terms(&config));
        let entropy = Box::new(Random(self.random.next()));
        let mut link = Link::inherit(config, bequest, entropy, self.now);
        link.begin(self.now);
        let node = &mut self.nodes[index];
        (node.link, node.is_alive) = (link, true);
        node.groups.clear();
        let streams = node.link.inherited_streams();
        self.run_ms(away_ms);
        self.listen(index, CHANNEL);
        let now = self.now;
        let link = &mut self.nodes[index].link;
        streams.into_iter().for_each(|(peer, stream)| link.set_held(now, peer, stream, false));
        link.settle(now);
    }
}

/// Listens and emits in turns with its peers, while one is succeeded again and again.
fn succeed_under_load(seed: u64, loss_permille: u64) {
    let mut mesh = Mesh::new(seed);
    let set_up = |index| {
        let mut config = config(index);
        config.keys = if seed.is_multiple_of(2) { key(7) } else { config.keys };
        config
    };
    (0..3).for_each(|index| mesh.start_listening(set_up(index)));
    mesh.run_ms(2500);
    mesh.loss_permille = loss_permille;
    mesh.duplicate_permille = 10;
    mesh.jitter_ns = if seed.is_multiple_of(3) { 80_000 } else { 0 };
    for round in 0..10 {
        for step in 0..6 {
            for index in 0..3 {
                let count = mesh.random.below(40);
                let payload = [20, 100, 9000][(round + step) % 3];
                mesh.emit_of(index, CHANNEL, count, payload);
            }
            let us = mesh.random.below(1500);
            mesh.run_us(us);
        }
        let gap_ms = mesh.random.below(20);
        let away_ms = mesh.random.below(30);
        mesh.succeed(0, set_up(0), gap_ms, away_ms);
    }
    mesh.run_ms(3000);
    for at in 0..3 {
        for of in (0..3).filter(|of| *of != at) {
            let (events, losses) = mesh.seen(at, of, CHANNEL);
            assert!(losses.is_empty(), "seed {seed}: {at} of {of}: {losses:?}");
            let emitted = mesh.nodes[of].sequence;
            assert_eq!(events, (1..=emitted).collect::<Vec<_>>(), "seed {seed}: {at} of {of}");
        }
    }
    assert!(mesh.nodes.iter().all(|node| node.downs.is_empty()), "nobody noticed");
    assert_eq!(mesh.nodes[1].ups, 2);
}

#[test]
fn on_a_good_network_peers_notice_nothing() {
    (0..6).for_each(|seed| succeed_under_load(seed, 0));
}

#[test]
fn on_a_bad_network_too() {
    (100..106).for_each(|seed| succeed_under_load(seed, 30));
}
