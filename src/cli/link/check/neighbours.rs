//! The brokers that were heard: which ways to them work, and whether they are set
//! up alike.
//!
//! ```text
//!                     our multicast      heard there     not heard there
//!   its multicast
//!     heard here                         both ways       one way: warning
//!     not heard here                     one way         unicast alone
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use netcluster_link::config::StreamMap;
use netcluster_link::options::LinkOptions;
use serde::Serialize;

use super::diagnose::{Finding, Level};
use super::hearing::{Reached, SeenPeer};
use super::observe::Observations;
use crate::cli::render::escaped;
use crate::cli::status::counted;

const SNOOPING: &str = "if this is so whenever the broker there has run for some minutes, \
     suspect a switch with IGMP snooping and no querier: turn a querier on in the switch or the \
     router, or the snooping off; else a firewall that drops multicast, or a Wi-Fi that does not \
     pass it. Until then the link goes by unicast where it can, once for each broker";

/// Broker that was found, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// Node id of the broker, in hexadecimal.
    pub node: String,
    pub name: String,
    pub cluster: String,
    pub address: String,
    /// Whether it runs on this machine.
    pub is_local: bool,
    /// Whether it answers.
    pub answers: bool,
    /// Our multicast reaches it.
    pub hears_multicast: bool,
    /// Whether its multicast reaches us.
    pub is_multicast_heard: bool,
    /// Datagrams of the full size reach it by multicast.
    pub takes_large_multicast: bool,
    /// Whether large unicast datagrams reach it.
    pub takes_large_unicast: bool,
    pub round_trip_us: Option<u64>,
    pub groups: u16,
    pub datagram_bytes: u16,
}

/// Findings about the brokers, and how many there are.
pub struct Findings {
    pub findings: Vec<Finding>,
    /// Brokers of the own cluster that answer or are heard.
    pub ours: usize,
    /// Number of those on other machines.
    pub remote: usize,
}

/// Lists all brokers, of whichever cluster.
pub fn list(options: &LinkOptions, seen: &Observations) -> Vec<Neighbour> {
    let mut peers: Vec<&SeenPeer> = seen.heard.peers.values().collect();
    peers.sort_by(|one, other| order(options, one).cmp(&order(options, other)));
    peers
        .into_iter()
        .map(|peer| Neighbour {
            node: format!("{:08x}", peer.about.node),
            name: peer.about.name.clone(),
            cluster: peer.about.cluster.clone(),
            address: peer.address.to_string(),
            is_local: is_local(seen, peer),
            answers: peer.answers(),
            hears_multicast: peer.by_multicast != Reached::default(),
            is_multicast_heard: peer.is_multicast_heard,
            takes_large_multicast: peer.by_multicast.large,
            takes_large_unicast: peer.by_unicast.large,
            round_trip_us: peer.round_trip.map(|time| time.as_micros() as u64),
            groups: peer.about.groups,
            datagram_bytes: peer.about.datagram_bytes,
        })
        .collect()
}

/// Draws the findings about the brokers.
pub fn findings(options: &LinkOptions, seen: &Observations) -> Findings {
    let all = seen.heard.peers.values();
    let (mut ours, others): (Vec<&SeenPeer>, Vec<&SeenPeer>) =
        all.partition(|peer| peer.about.cluster == options.cluster);
    ours.sort_by(|one, other| order(options, one).cmp(&order(options, other)));
    let mut findings = Vec::new();
    for peer in &ours {
        findings.push(ways(seen, peer));
        findings.extend(size(options.group, seen, peer));
        findings.extend(settings(options, peer));
    }
    findings.extend(same_nodes(&ours));
    findings.extend(other_clusters(options, &others, ours.is_empty()));
    let remote = ours.iter().filter(|peer| !is_local(seen, peer)).count();
    Findings { findings, ours: ours.len(), remote }
}

/// Judges which ways to a broker work.
fn ways(seen: &Observations, peer: &SeenPeer) -> Finding {
    let who = who(peer);
    if !peer.answers() {
        let text = format!("{who} is heard, but does not answer");
        return Finding::new(Level::Problem, "no-answer", text).advice(
            "a firewall on one of the two machines drops UDP between their own ports: let what \
             belongs to the broker pass, or set --unicast-port and let that port pass",
        );
    }
    let is_local = is_local(seen, peer);
    let place = if is_local { ", on this machine" } else { "" };
    let time = peer
        .round_trip
        .map_or_else(String::new, |time| format!(", round trip {}", milliseconds(time)));
    let is_hearing = peer.by_multicast != Reached::default();
    let is_asked = seen.small_sent.contains(&peer.address);
    if is_asked && peer.by_unicast == Reached::default() {
        let text = format!("{who}{place} hears our multicast, but not what is sent to it alone");
        return Finding::new(Level::Problem, "unicast-out", text).advice(
            "brokers link only if both hear each other by unicast: a firewall there, or on the \
             way, drops UDP to its own port; let that pass (--unicast-port sets it)",
        );
    }
    match (is_hearing, peer.is_multicast_heard) {
        (true, true) => {
            let text = format!("{who}{place}: multicast both ways{time}");
            Finding::new(Level::Ok, "peer", text)
        }
        (true, false) => {
            let text = format!("{who}{place} hears our multicast, but its own was not heard{time}");
            Finding::new(Level::Warning, "multicast-in", text).advice(SNOOPING)
        }
        (false, true) => {
            let text = format!("{who}{place} is heard by multicast, but does not hear ours{time}");
            Finding::new(Level::Warning, "multicast-out", text).advice(SNOOPING)
        }
        (false, false) => {
            let text = format!("{who}{place}: unicast alone, no multicast either way{time}");
            Finding::new(Level::Warning, "unicast-only", text).advice(
                "in another network that is as it must be, unless routers pass multicast; in the \
                 same one look for a firewall, or a switch with IGMP snooping and no querier",
            )
        }
    }
}

/// Whether full datagrams arrive. Who gets no small ones is told of already.
fn size(group: SocketAddr, seen: &Observations, peer: &SeenPeer) -> Option<Finding> {
    let tried = |to: &SocketAddr| seen.large_sent.contains(to);
    let lost = |reached: Reached, to: &SocketAddr| reached.small && !reached.large && tried(to);
    let by_multicast = lost(peer.by_multicast, &group);
    let by_unicast = lost(peer.by_unicast, &peer.address);
    let how = match (by_multicast, by_unicast) {
        (false, false) => return None,
        (true, true) => "neither by multicast nor by unicast",
        (true, false) if peer.by_unicast.large => "not by multicast, but by unicast",
        (false, true) if peer.by_multicast.large => "not by unicast, but by multicast",
        (true, false) => "not by multicast",
        (false, true) => "not by unicast",
    };
    let text = format!(
        "packets of {} bytes do not reach {}, {how}; small ones do",
        seen.packet_bytes,
        who(peer)
    );
    Some(Finding::new(Level::Problem, "mtu", text).advice(
        "the way there takes shorter packets: set --mtu lower on all brokers (1280 fits every \
         IPv6 network, and most tunnels), or raise the MTU of all that lies on the way",
    ))
}

/// Compares the settings that all brokers of a cluster must agree on.
fn settings(options: &LinkOptions, peer: &SeenPeer) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut differs = |text: String, advice: &str| {
        findings.push(Finding::new(Level::Problem, "settings", text).advice(advice));
    };
    if peer.about.groups != u16::from(options.groups) {
        differs(
            format!(
                "{} spreads channels over {}, here it is {}",
                who(peer),
                counted(peer.about.groups.into(), "group"),
                options.groups
            ),
            "set the same --groups on all brokers; they do not link until then",
        );
    }
    if peer.about.settings != StreamMap::of(options.groups, &options.pressured).hash {
        differs(
            format!("{} has other channels with pressure from the cluster", who(peer)),
            "give all brokers the same --cluster-pressure; they do not link until then",
        );
    }
    findings
}

/// Several brokers with one node id.
fn same_nodes(ours: &[&SeenPeer]) -> Vec<Finding> {
    let mut nodes: BTreeMap<u32, Vec<&SeenPeer>> = BTreeMap::new();
    for peer in ours {
        nodes.entry(peer.about.node).or_default().push(peer);
    }
    let shared = nodes.into_iter().filter(|(_, peers)| peers.len() > 1);
    shared
        .map(|(node, peers)| {
            let names: Vec<String> = peers.into_iter().map(who).collect();
            let text = format!("{} have the same node id {node:08x}", names.join(" and "));
            Finding::new(Level::Problem, "node-id", text)
                .advice("leave --node-id away, or give each broker another one")
        })
        .collect()
}

fn other_clusters(options: &LinkOptions, others: &[&SeenPeer], is_alone: bool) -> Vec<Finding> {
    let mut clusters: BTreeMap<&str, u64> = BTreeMap::new();
    for peer in others {
        *clusters.entry(&peer.about.cluster).or_default() += 1;
    }
    clusters
        .into_iter()
        .map(|(cluster, count)| {
            let cluster = escaped(cluster);
            let text = format!(
                "{} of the cluster {cluster} here too; this is {}",
                if count == 1 { "1 broker is".into() } else { format!("{count} brokers are") },
                escaped(&options.cluster)
            );
            let finding = Finding::new(Level::Note, "cluster", text);
            if is_alone {
                finding.advice(format!("if that is the one meant: --cluster {cluster}"))
            } else {
                finding
            }
        })
        .collect()
}

/// Own cluster first, then by name and address.
fn order<'a>(options: &LinkOptions, peer: &'a SeenPeer) -> (bool, &'a str, &'a str, SocketAddr) {
    let about = &peer.about;
    (about.cluster != options.cluster, &about.cluster, &about.name, peer.address)
}

fn is_local(seen: &Observations, peer: &SeenPeer) -> bool {
    let address = peer.address.ip();
    address.is_loopback() || seen.sockets.local_addresses.contains(&address)
}

fn who(peer: &SeenPeer) -> String {
    format!("{} ({})", escaped(&peer.about.name), peer.address)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
