//! Pairs of brokers that do not hear each other.
//!
//! ```text
//!        this broker            X's list lacks Y, twice:
//!         ╱       ╲             the pair X, Y is missing
//!        X  ─ ╳ ─  Y
//! ```
//! Nothing is relayed, so the events of one of them do not reach the other, and
//! neither of them can know. Every broker tells all of its peers who they are;
//! whoever hears both sees what is missing, warns once and shows it in its status.
//! This broker itself may be one of the pair, if a peer that it hears has
//! forgotten it. Nothing is done about it here: people have to.
//!
//! Invariant: a pair counts only while both are peers that have settled.

mod heard;

use netcluster_platform::Instant;
use netcluster_wire::link::limits::{MAX_NEIGHBOUR_PARTS, MAX_NEIGHBOURS};
use netcluster_wire::link::{ControlKind, Neighbour, Neighbours as List};

use crate::control::control_sender::ControlSender;
use crate::event::LinkEvent;
use crate::local_broker::LocalBroker;
use crate::membership::liveness::SILENCE_NS;
use crate::membership::peer::Peer;
use crate::membership::peers::{MAX_PEERS, Peers};
use crate::output::Output;
use crate::status::MissingPair;
use crate::warnings::WarningKind;

pub(crate) use self::heard::Heard;

const MS_NS: u64 = 1_000_000;

/// Time between two lists of peers that all peers are sent.
const LIST_INTERVAL_NS: u64 = 5000 * MS_NS;

/// Time after a peer came or went until the next list: others come and go at the same time.
const CHANGE_NS: u64 = 1000 * MS_NS;

/// Age from which on a peer has been found by everybody.
pub(crate) const SETTLED_NS: u64 = 5000 * MS_NS;

/// Missing pairs that are named; more are counted.
pub const MAX_PAIRS_NAMED: usize = 64;

const _: () = assert!(MAX_PEERS <= MAX_NEIGHBOURS * MAX_NEIGHBOUR_PARTS);
// Who falls silent is forgotten before anybody is missed.
const _: () = assert!(SETTLED_NS > SILENCE_NS && heard::SPAN_NS > SILENCE_NS);
const _: () = assert!(LIST_INTERVAL_NS > heard::SPAN_NS && CHANGE_NS > heard::PARTS_NS);

/// Two nodes, the smaller one first.
type Pair = (u32, u32);

pub(crate) struct Neighbours {
    next_at: Instant,
    /// The pairs that people were warned of.
    warned: Vec<Pair>,
}

impl Neighbours {
    pub fn new(now: Instant) -> Neighbours {
        Neighbours { next_at: now + LIST_INTERVAL_NS, warned: Vec::new() }
    }

    pub fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Has the next list sent soon, as a peer came or went.
    pub fn changed(&mut self, now: Instant) {
        self.next_at = self.next_at.min(now + CHANGE_NS);
    }

    /// Whether to send the list now; then it counts as sent.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next_at;
        if is_due {
            self.next_at = now + LIST_INTERVAL_NS;
        }
        is_due
    }

    /// Tells all peers who they are, and people who of them are missing to each
    /// other, if it is time.
    pub fn run(
        &mut self,
        now: Instant,
        peers: &Peers,
        local: &LocalBroker,
        control: &mut ControlSender,
        output: &mut Output,
    ) {
        let node = |peer: &Peer| Neighbour { node: peer.identity.node };
        let mut nodes: Vec<Neighbour> = peers.iter().map(node).collect();
        nodes.sort_unstable_by_key(|neighbour| neighbour.node);
        // To where hellos go, and even if it is empty: whoever has this broker as a peer
        // and is none here learns by it that it is not heard.
        let to = peers.anybody(&local.config);
        let parts = nodes.len().div_ceil(MAX_NEIGHBOURS).max(1) as u16;
        let chunks = nodes.chunks(MAX_NEIGHBOURS).chain(nodes.is_empty().then_some(&nodes[..]));
        for (part, chunk) in (0..parts).zip(chunks) {
            control.send(ControlKind::Neighbours, &to, |out| {
                List::encode(part, parts, chunk, out);
            });
        }
        self.warn_of_pairs(now, peers, local, output);
    }

    /// Warns once of each pair; more than one at a time are one warning.
    fn warn_of_pairs(
        &mut self,
        now: Instant,
        peers: &Peers,
        local: &LocalBroker,
        output: &mut Output,
    ) {
        let (pairs, total) = pairs(now, peers, local);
        let warned = &mut self.warned;
        warned.retain(|pair| pairs.contains(pair));
        let Some(&pair) = pairs.iter().find(|pair| !warned.contains(pair)) else { return };
        let from = local.config.control_address().ip();
        if !output.warnings.allow(now, WarningKind::MissingPair, from) {
            return;
        }
        let [one, other] = named(pair, peers, local).names;
        let more = match total {
            1 => String::new(),
            _ => format!(" ({total} pairs of brokers are like this)"),
        };
        output.push(LinkEvent::Warn(
            WarningKind::MissingPair,
            format!(
                "brokers {one} and {other} do not hear each other: events of one do not reach \
                 the other; add --peer or look at the network between them{more}"
            ),
        ));
        self.warned = pairs;
    }
}

impl Peers {
    /// Takes in what a peer tells of its peers: `own_node` and all settled ones of this
    /// broker should be among them.
    pub fn note_neighbours(&mut self, now: Instant, slot: usize, list: &List<'_>, own_node: u32) {
        let Some(peer) = self.at_mut(slot) else { return };
        let Some(nodes) = peer.neighbours.take(now, list) else { return };
        if !is_settled(now, peer) {
            return;
        }
        let id = peer.id;
        let mut heard = std::mem::take(&mut peer.neighbours);
        let others = self.iter().filter(|peer| peer.id != id && is_settled(now, peer));
        let others = others.map(|peer| peer.identity.node);
        heard.judge(now, &nodes, others.chain([own_node]));
        if let Some(peer) = self.at_mut(slot) {
            peer.neighbours = heard;
        }
    }
}

/// Pairs that are missing, as many as are named, and how many they are.
pub(crate) fn missing_pairs(
    now: Instant,
    peers: &Peers,
    local: &LocalBroker,
) -> (Vec<MissingPair>, usize) {
    let (pairs, total) = pairs(now, peers, local);
    (pairs.into_iter().map(|pair| named(pair, peers, local)).collect(), total)
}

fn pairs(now: Instant, peers: &Peers, local: &LocalBroker) -> (Vec<Pair>, usize) {
    let (mut pairs, mut total) = (Vec::new(), 0);
    if peers.iter().all(|peer| peer.neighbours.missing().next().is_none()) {
        return (pairs, total);
    }
    let settled = peers.iter().filter(|peer| is_settled(now, peer));
    let mut settled: Vec<(u32, &Heard)> =
        settled.map(|peer| (peer.identity.node, &peer.neighbours)).collect();
    settled.sort_unstable_by_key(|(node, _)| *node);
    for &(node, heard) in &settled {
        for missing in heard.missing() {
            let other = settled.binary_search_by_key(&missing, |(node, _)| *node);
            let other = other.ok().map(|at| settled[at].1);
            let is_known = other.is_some() || missing == local.config.node;
            let says_it_too = other.is_some_and(|other| other.is_missing(node));
            // Both say it: one pair.
            if !is_known || says_it_too && missing < node {
                continue;
            }
            total += 1;
            if pairs.len() < MAX_PAIRS_NAMED {
                pairs.push((node.min(missing), node.max(missing)));
            }
        }
    }
    (pairs, total)
}

fn named((one, other): Pair, peers: &Peers, local: &LocalBroker) -> MissingPair {
    let hexadecimal = |node: u32| format!("{node:08x}");
    let name = |node: u32| {
        let peer = peers.of_node(node);
        let name = peer.map_or(&*local.config.name, |peer| &*peer.identity.name);
        if name.is_empty() { hexadecimal(node) } else { name.to_owned() }
    };
    MissingPair { nodes: [hexadecimal(one), hexadecimal(other)], names: [name(one), name(other)] }
}

fn is_settled(now: Instant, peer: &Peer) -> bool {
    now >= peer.since + SETTLED_NS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::{millis, ns};

    #[test]
    fn lists_are_rare_and_a_change_brings_one_soon_but_no_flood() {
        let mut neighbours = Neighbours::new(ns(0));
        let mut sent = Vec::new();
        for ms in 0..20_000 {
            if (7000..9000).contains(&ms) {
                neighbours.changed(millis(ms));
            }
            if neighbours.is_due(millis(ms)) {
                sent.push(ms);
            }
        }
        assert_eq!(sent, [5000, 8000, 9001, 14_001, 19_001]);
    }
}
