//! Troubles of the link, in sentences that say what to do.
//!
//! Pure: from a status to text. What is normal is not mentioned, nor is what has
//! had no time yet to become so.

use netcluster::status::LinkIo;
use netcluster_link::LinkStatus;
use netcluster_link::status::PeerStatus;

use crate::cli::render::escaped;
use crate::cli::status::{bytes, counted};

/// Hellos come each second; after this a peer that is well has been heard by every
/// way that it can be heard by.
const SETTLED_MS: u64 = 5000;

/// Hellos and heartbeats missed.
const SILENT_MS: u64 = 1500;

/// A receive buffer that bursts do not fill, in bytes: the advice for one that is
/// smaller.
const AMPLE_BUFFER_BYTES: u64 = 16 << 20;

/// Pairs of brokers that get a sentence each.
const MAX_PAIRS_SHOWN: usize = 8;

/// Addresses in one sentence.
const MAX_ADDRESSES_SHOWN: usize = 8;

/// Writes a sentence or two for each trouble, the worst first.
pub fn sentences(link: &LinkStatus, io: Option<&LinkIo>) -> Vec<String> {
    let mut sentences = Vec::new();
    if link.peers.is_empty() && !link.is_discovering && link.unlinked.is_empty() {
        sentences.push(
            "no other broker is heard; `netcluster link check` with this broker's settings looks \
             for the reason"
                .to_owned(),
        );
    }
    sentences.extend(link.peers.iter().flat_map(|it| peer(it, link.datagram_bytes)));
    sentences.extend(missing(link));
    sentences.extend(pairs(link));
    sentences.extend(unlinked(link));
    sentences.extend(unanswered(link));
    sentences.extend(io.into_iter().flat_map(sockets));
    sentences.extend(refused(link));
    sentences
}

fn missing(link: &LinkStatus) -> Option<String> {
    let names: Vec<String> = link.missing_peers.iter().map(|name| escaped(name)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "expected (--expect-peer) and not linked: {}; `netcluster link check` on both machines \
             looks for the reason",
            names.join(", ")
        )
    })
}

fn peer(peer: &PeerStatus, datagram_bytes: usize) -> Vec<String> {
    let who = if peer.name.is_empty() { escaped(&peer.node) } else { escaped(&peer.name) };
    let mut sentences = Vec::new();
    if peer.demoted > 0 {
        sentences.push(format!(
            "{who} is not waited for in {}: it fell behind or loses too much; it gets what can \
             still be sent again, and the rest is lost to it",
            counted(peer.demoted as u64, "stream")
        ));
    }
    if peer.heard_ms > SILENT_MS {
        sentences.push(format!(
            "{who} has said nothing for {}.{} s",
            peer.heard_ms / 1000,
            peer.heard_ms % 1000 / 100
        ));
    }
    let lost = peer.counters.events_lost;
    if lost > 0 || peer.counters.losses_unknown > 0 {
        let unknown = peer.counters.losses_unknown;
        let more = match unknown {
            0 => String::new(),
            _ => format!(", and unknown numbers {}", counted(unknown, "time")),
        };
        sentences.push(format!("{} of {who} were lost for good{more}", counted(lost, "event")));
    }
    if peer.counters.given_up > 0 {
        sentences.push(format!(
            "{} of {who} did not arrive however often they were asked for, while others did: their \
             events were lost. It sends up to {} bytes in one: look at what drops packets by their \
             size, or set a smaller --mtu there",
            counted(peer.counters.given_up, "datagram"),
            peer.datagram_bytes
        ));
    }
    if peer.is_path_narrow {
        sentences.push(format!(
            "datagrams of more than {} bytes do not reach {who}, and those here have up to \
             {datagram_bytes}: it is sent smaller ones; look at the MTU on the way, or set a smaller \
             --mtu",
            peer.path_bytes
        ));
    } else if peer.is_path_unanswered {
        sentences.push(format!(
            "{who} answers no probe of {} bytes or more, so it is sent no larger datagrams; if \
             events do not reach it look at what drops packets by their size",
            peer.path_bytes
        ));
    }
    if !peer.deaf_groups.is_empty() {
        let groups: Vec<String> = peer.deaf_groups.iter().map(|group| escaped(group)).collect();
        sentences.push(format!(
            "multicast of {who} arrives, but not in the groups {}: its events come by unicast; look \
             at what firewalls and switches filter",
            groups.join(", ")
        ));
    }
    if peer.since_ms < SETTLED_MS {
        return sentences;
    }
    if !peer.is_joined {
        sentences.push(format!(
            "{who} has not confirmed what is listened to here: events from it may be missing"
        ));
    }
    if !peer.deaf_groups.is_empty() {
        return sentences;
    }
    let advice = "where multicast is to work, suspect a firewall, or a switch with IGMP snooping \
         and no querier; `netcluster link check` tells more";
    match (peer.path == "multicast", peer.is_multicast_heard) {
        (true, true) => {}
        (true, false) => sentences.push(format!("multicast of {who} is not heard here: {advice}")),
        (false, true) => sentences.push(format!(
            "{who} does not hear our multicast, so it is sent everything by itself: {advice}"
        )),
        (false, false) => {
            sentences.push(format!("no multicast goes between {who} and here: {advice}"));
        }
    }
    sentences
}

/// Brokers that do not hear each other.
fn pairs(link: &LinkStatus) -> Vec<String> {
    let pairs = &link.missing_pairs;
    let mut sentences: Vec<String> = pairs
        .iter()
        .take(MAX_PAIRS_SHOWN)
        .map(|pair| {
            let [one, other] = &pair.names;
            format!(
                "brokers {} and {} do not hear each other: events of one do not reach the other; \
                 add --peer or look at the network between them",
                escaped(one),
                escaped(other)
            )
        })
        .collect();
    let more = link.missing_pairs_total.saturating_sub(sentences.len());
    if more > 0 {
        let more = counted(more as u64, "more pair");
        sentences.push(format!("{more} of brokers do not hear each other"));
    }
    sentences
}

/// Brokers that are heard and do not answer.
fn unlinked(link: &LinkStatus) -> Vec<String> {
    let all = &link.unlinked;
    let shown = all.iter().take(MAX_ADDRESSES_SHOWN).map(|it| {
        format!(
            "{} at {} is heard, but does not answer, so it is no peer: what is sent to it alone, or \
             its answer, is dropped on the way; let UDP to both brokers' own ports pass \
             (--unicast-port sets them)",
            escaped(&it.name),
            escaped(&it.address)
        )
    });
    let mut sentences: Vec<String> = shown.collect();
    let more = all.len() - sentences.len();
    if more > 0 {
        sentences
            .push(format!("{} are heard, but do not answer", counted(more as u64, "more broker")));
    }
    sentences
}

/// Brokers that were named and are not there.
fn unanswered(link: &LinkStatus) -> Vec<String> {
    let all = &link.unanswered_peers;
    if all.is_empty() {
        return Vec::new();
    }
    let mut shown: Vec<String> =
        all.iter().take(MAX_ADDRESSES_SHOWN).map(|address| escaped(address)).collect();
    if all.len() > shown.len() {
        shown.push(format!("{} more", all.len() - shown.len()));
    }
    vec![format!(
        "no broker answers at {}, named by --peer: it does not run there, listens at another port, \
         or a firewall is between",
        shown.join(", ")
    )]
}

fn sockets(io: &LinkIo) -> Vec<String> {
    let mut sentences = Vec::new();
    if io.kernel_drops > 0 {
        let had = match io.receive_buffer_bytes {
            0 => String::new(),
            granted => format!(" of {}", bytes(granted)),
        };
        sentences.push(format!(
            "the kernel dropped {} since the receive buffer{had} was full; they were asked for \
             again. `sysctl -w net.core.rmem_max={AMPLE_BUFFER_BYTES}` and --receive-buffer {} \
             give more room",
            counted(io.kernel_drops, "datagram"),
            bytes(AMPLE_BUFFER_BYTES).replace(' ', "")
        ));
    }
    if io.send_errors > 0 {
        sentences.push(format!(
            "the system refused to send {}: look at the log of the broker, the interface and its \
             route",
            counted(io.send_errors, "datagram")
        ));
    }
    if io.strays > 0 {
        sentences.push(format!(
            "{} to a group came by another interface than {}: if that is the right one, name it by \
             --interface",
            counted(io.strays, "datagram"),
            escaped(&io.interface)
        ));
    }
    sentences
}

/// Brokers that are there and not heard, and other counters that should be zero.
fn refused(link: &LinkStatus) -> Vec<String> {
    let drops = &link.counters.drops;
    let counters = [
        (drops.wrong_key, "with another key, or one without: give all brokers the same --key-file"),
        (drops.version, "of another version: install the same release on all machines"),
        (
            drops.other_settings,
            "of this cluster with other settings: --groups and \
            --cluster-pressure must be the same on all brokers",
        ),
        (
            drops.same_node,
            "from another broker with this one's node id: leave --node-id away, or \
            give each broker another one",
        ),
        (
            drops.other_cluster,
            "of other clusters on this network: nothing is wrong if they are \
            meant to be apart, else give both the same --cluster",
        ),
        (drops.too_many_peers, "of more peers than there is room for"),
        (drops.forged, "that were changed on the way or forged: look at what runs on this network"),
        (
            drops.magic + drops.short,
            "of another program that uses the same port: choose another \
            port or group",
        ),
    ];
    let mut sentences: Vec<String> = counters
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} dropped, {what}", counted(count, "datagram")))
        .collect();
    if link.counters.control_dropped > 0 {
        sentences.push(format!(
            "{} waited too long to be sent and were dropped; the network or the rate is too slow",
            counted(link.counters.control_dropped, "control datagram")
        ));
    }
    sentences
}
