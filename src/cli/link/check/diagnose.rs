//! Findings from what was seen: what works, what does not, what to do.
//!
//! Pure. This file is about this machine and about strangers; the peers are in
//! `neighbours`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netcluster_link::options::LinkOptions;
use netcluster_platform::InterfaceReason;
use netcluster_wire::link::limits::LINK_VERSION;
use serde::Serialize;

use super::hearing::Oddity;
use super::neighbours;
use super::observe::{Named, Observations};
use crate::cli::render::escaped;
use crate::cli::status::{bytes, counted};

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The thing works.
    Ok,
    /// The thing is worth knowing, and nothing is wrong with it.
    Note,
    /// The thing works, but not as well as it could.
    Warning,
    /// The thing does not work.
    Problem,
}

/// Finding: a thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// Subject of the finding, for programs.
    pub about: &'static str,
    /// Sentence that says what was found.
    pub text: String,
    /// Advice on what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    pub fn new(level: Level, about: &'static str, text: impl Into<String>) -> Finding {
        Finding { level, about, text: text.into(), advice: None }
    }

    pub fn advice(mut self, advice: impl Into<String>) -> Finding {
        self.advice = Some(advice.into());
        self
    }
}

/// Draws the findings, the most basic things first.
pub fn diagnose(options: &LinkOptions, seen: &Observations) -> Vec<Finding> {
    let mut findings = vec![interface(seen)];
    // Each of them says what to do.
    let notes = seen.sockets.notes.iter();
    findings.extend(notes.map(|note| Finding::new(Level::Warning, "sockets", note.clone())));
    findings.extend(packet_size(options, seen));
    findings.extend(kernel(options, seen));
    findings.extend(group(options, seen));
    findings.extend(too_long(seen));
    findings.extend(seen.named.iter().flat_map(|named| named_peer(named, seen)));
    let peers = neighbours::findings(options, seen);
    findings.extend(peers.findings);
    findings.extend(strangers(options, seen, peers.ours > 0));
    if peers.remote == 0 && !(peers.ours > 0 && seen.sockets.loopback) {
        let reasons = ["join", "send", "peer", "key", "version"];
        let is_explained =
            findings.iter().any(|it| it.level == Level::Problem && reasons.contains(&it.about));
        findings.push(nobody(options, seen, peers.ours, is_explained));
    }
    findings
}

fn interface(seen: &Observations) -> Finding {
    let sockets = &seen.sockets;
    let packets = sockets
        .mtu_bytes
        .map_or_else(String::new, |bytes| format!("; it takes packets of {bytes} bytes"));
    let text = format!(
        "{} ({}) is used: {}{packets}",
        escaped(&sockets.interface),
        sockets.unicast.ip(),
        sockets.reason
    );
    match sockets.reason {
        // That there is no route is among the notes.
        InterfaceReason::Asked | InterfaceReason::Route | InterfaceReason::FirstMulticast => {
            Finding::new(Level::Ok, "interface", text)
        }
        InterfaceReason::Loopback => Finding::new(Level::Warning, "interface", text)
            .advice("give the interface of your network an address, or name it by --interface"),
    }
}

fn packet_size(options: &LinkOptions, seen: &Observations) -> Option<Finding> {
    let mtu = seen.sockets.mtu_bytes?;
    (options.packet_bytes > mtu).then(|| {
        let text = format!(
            "packets of {} bytes are set, but {} takes {mtu} at most: a broker here sends shorter ones",
            options.packet_bytes,
            escaped(&seen.sockets.interface)
        );
        Finding::new(Level::Warning, "mtu", text).advice(format!(
            "set --mtu {mtu}, or `ip link set {} mtu {}` if all of the network can do that",
            escaped(&seen.sockets.interface),
            options.packet_bytes
        ))
    })
}

/// Judges how much the kernel holds of what came in.
fn kernel(options: &LinkOptions, seen: &Observations) -> Vec<Finding> {
    let (granted, asked) = (seen.sockets.receive_buffer_bytes, options.receive_buffer_bytes);
    let advice = || format!("`sysctl -w net.core.rmem_max={asked}` allows what is asked for");
    let mut findings = Vec::new();
    let is_noted = seen.sockets.notes.iter().any(|note| note.contains("receive buffer"));
    if granted < asked && !is_noted {
        let text = format!(
            "the system grants a receive buffer of {} where {} were asked for",
            bytes(granted as u64),
            bytes(asked as u64)
        );
        findings.push(Finding::new(Level::Warning, "receive-buffer", text).advice(advice()));
    } else if !is_noted {
        let text = format!("the system grants a receive buffer of {}", bytes(granted as u64));
        findings.push(Finding::new(Level::Ok, "receive-buffer", text));
    }
    if seen.kernel_drops > 0 {
        let text = format!(
            "the kernel dropped {} while this ran, since the receive buffer was full",
            counted(seen.kernel_drops, "datagram")
        );
        findings.push(Finding::new(Level::Warning, "kernel-drops", text).advice(advice()));
    }
    findings
}

/// Joining the control group, sending to it, hearing oneself there.
fn group(options: &LinkOptions, seen: &Observations) -> Vec<Finding> {
    let group = options.group;
    if let Some(error) = &seen.not_joined {
        return vec![Finding::new(Level::Problem, "join", error.clone())];
    }
    let refused = seen.refused.iter().find(|refused| refused.to == group && !refused.is_large);
    if let Some(refused) = refused {
        let text = format!("the system does not send to {group}: {}", refused.error);
        return vec![Finding::new(Level::Problem, "send", text).advice(
            "give the interface an address and a route for multicast, choose another by \
             --interface, and look whether a firewall refuses what is sent: `nft list ruleset`",
        )];
    }
    if seen.heard.own.small {
        let text = format!("what is sent to {group} is heard on this machine");
        return vec![Finding::new(Level::Ok, "loopback", text)];
    }
    let is_heard = seen.heard.peers.values().any(|peer| peer.is_multicast_heard);
    let level = if is_heard { Level::Warning } else { Level::Problem };
    let text = format!("what is sent to {group} does not come back to this machine itself");
    vec![Finding::new(level, "loopback", text).advice(format!(
        "a firewall of this machine is the usual reason: let UDP to port {} and to the group pass, \
         for example `nft add rule inet filter input udp dport {} accept`; without it brokers on \
         this machine do not hear each other",
        group.port(),
        group.port()
    ))]
}

/// Full datagrams that the system itself refuses, for whatever reason.
fn too_long(seen: &Observations) -> Option<Finding> {
    let small = |to| seen.refused.iter().any(|it| it.to == to && !it.is_large);
    let refused = seen.refused.iter().find(|it| it.is_large && !small(it.to))?;
    let text = format!(
        "the system does not send packets of {} bytes to {}: {}",
        seen.packet_bytes, refused.to, refused.error
    );
    Some(Finding::new(Level::Problem, "mtu", text).advice("set --mtu lower on all brokers"))
}

fn named_peer(named: &Named, seen: &Observations) -> Option<Finding> {
    let name = escaped(&named.name);
    let addresses = match &named.addresses {
        Ok(addresses) => addresses,
        Err(error) => {
            let text = format!("the peer {name} is not found: {error}");
            return Some(
                Finding::new(Level::Problem, "peer", text)
                    .advice("look whether the name is right, and resolved: `getent hosts NAME`"),
            );
        }
    };
    if addresses.iter().any(|it| seen.heard.answered.contains(it)) {
        return None;
    }
    if addresses.iter().any(|it| seen.heard.ourselves.contains(it)) {
        let text = format!("the peer {name} is this machine itself, and no broker runs here");
        return Some(Finding::new(Level::Note, "peer", text));
    }
    let refused = seen.refused.iter().find(|it| addresses.contains(&it.to));
    let why = refused.map_or_else(String::new, |refused| format!(": {}", refused.error));
    let text = format!("the peer {name} does not answer{why}");
    Some(Finding::new(Level::Problem, "peer", text).advice(
        "look whether its broker runs with --link and with this key, whether the port is its \
         link's (or its --unicast-port), and whether a firewall on the way drops UDP",
    ))
}

/// Tells of brokers that are there, but cannot be understood.
fn strangers(options: &LinkOptions, seen: &Observations, is_found: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unreadable = BTreeSet::new();
    for (&(address, oddity), &count) in &seen.heard.strangers {
        match oddity {
            Oddity::Key(id) => findings.push(other_key(options, address, id, is_found)),
            Oddity::Version(version) => {
                let text = format!(
                    "{address} speaks version {version} of the link, this release version \
                     {LINK_VERSION}"
                );
                let finding = Finding::new(Level::Problem, "version", text);
                findings.push(finding.advice("install the same release on all machines"));
            }
            Oddity::Forged => {
                let text = format!(
                    "{} from {address} were named as sealed by our key, and were not",
                    counted(count, "datagram")
                );
                findings.push(
                    Finding::new(Level::Warning, "forged", text).advice(
                        "something changes or forges them: look at what runs on that machine",
                    ),
                );
            }
            Oddity::Unreadable => {
                unreadable.insert(address);
            }
        }
    }
    if let Some(first) = unreadable.first() {
        let others = match unreadable.len() - 1 {
            0 => String::new(),
            others => format!(" and {}", counted(others as u64, "other address")),
        };
        let text = format!("another program uses the group's port too, from {first}{others}");
        findings.push(
            Finding::new(Level::Warning, "other-program", text)
                .advice("choose another port or group, so that brokers need not drop all that"),
        );
    }
    if seen.heard.omitted > 0 {
        let text = format!(
            "{} of still more senders were not looked at",
            counted(seen.heard.omitted, "datagram")
        );
        findings.push(Finding::new(Level::Note, "omitted", text));
    }
    findings
}

fn other_key(options: &LinkOptions, address: IpAddr, id: u32, is_found: bool) -> Finding {
    let level = if is_found { Level::Warning } else { Level::Problem };
    let (text, advice) = match (id, options.keys.id()) {
        (0, own) => (
            format!("a broker at {address} has no key; here it is {own:08x}"),
            "give it the same --key-file",
        ),
        (id, 0) => (
            format!("a broker at {address} has the key {id:08x}; here is none"),
            "name its key by --key-file",
        ),
        (id, own) => (
            format!("a broker at {address} has the key {id:08x}; here it is {own:08x}"),
            "if it is to be of this cluster, copy one key file to both; `netcluster link keygen \
             --help` tells how to change keys while brokers run",
        ),
    };
    Finding::new(level, "key", text).advice(advice)
}

/// Tells that no broker of another machine was found.
fn nobody(options: &LinkOptions, seen: &Observations, ours: usize, is_explained: bool) -> Finding {
    if seen.sockets.loopback {
        let text = format!("no broker of the cluster {} is here", escaped(&options.cluster));
        return Finding::new(Level::Problem, "nobody", text).advice(
            "start one with --link and these settings; on the loopback interface only this \
             machine's are heard",
        );
    }
    let cluster = escaped(&options.cluster);
    let text = match ours {
        0 => format!("no broker of the cluster {cluster} was heard"),
        _ => format!("only this machine's own broker of the cluster {cluster} was heard"),
    };
    let finding = Finding::new(Level::Problem, "nobody", text);
    if is_explained {
        return finding.advice("the problems above may be the reason: begin with them");
    }
    let port = options.group.port();
    finding.advice(format!(
        "look in this order: does a broker run on another machine, with --link {} and --cluster \
         {cluster}? is it on the same network (else --ttl, a router that passes multicast, or \
         --peer HOST)? does a firewall here or there drop UDP to port {port}? do its switch or its \
         Wi-Fi pass multicast (a switch with IGMP snooping needs a querier)? `netcluster link \
         check --peer HOST` tells whether unicast gets through",
        options.group
    ))
}
