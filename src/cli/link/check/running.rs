//! The broker that runs on this machine: whether it is what was checked, and whether it
//! has found those that the check found.
//!
//! The check has sockets of its own. A firewall may let its questions and their answers
//! pass, and not what brokers send each other; the broker knows.
//!
//! Pure, but for [`ask`].

use std::path::PathBuf;

use netcluster::status::Status;
use netcluster_link::LinkStatus;
use netcluster_link::options::LinkOptions;

use super::diagnose::{Finding, Level};
use super::neighbours::Neighbour;
use super::observe::Observations;
use crate::cli::args::SocketArgs;
use crate::cli::peers;
use crate::cli::render::escaped;
use crate::cli::status;

/// Time that a broker may take to find the others, in milliseconds.
const SETTLED_MS: u64 = 5000;

const ABOUT: &str = "broker";

/// Asks the broker at this socket, or at the usual one, how it is.
///
/// # Errors
/// Why nobody answers.
pub fn ask(socket: Option<PathBuf>) -> Result<Status, String> {
    let socket = SocketArgs { socket, wait: None };
    let asked = status::ask("netcluster link check", &socket).and_then(status::read);
    asked.map_err(|failure| failure.to_string())
}

/// Compares what the running broker says with what was seen.
pub fn findings(
    options: &LinkOptions,
    seen: &Observations,
    heard: &[Neighbour],
    running: &Result<Status, String>,
) -> Vec<Finding> {
    let status = match running {
        Ok(status) => status,
        Err(error) => {
            let text = format!("no broker was asked what it sees itself: {error}");
            return vec![Finding::new(Level::Note, ABOUT, text)];
        }
    };
    let Some(link) = &status.link else {
        let text = "the broker that runs here has no link";
        let advice = "open its link with these settings: `netcluster link open`";
        return vec![problem(text, advice)];
    };
    let elsewhere = differences(options, seen, status, link);
    if !elsewhere.is_empty() {
        return elsewhere;
    }
    let mut findings = Vec::new();
    if status.uptime_ms >= SETTLED_MS {
        findings.extend(heard.iter().filter_map(|it| unlinked(options, status, link, it)));
    }
    let troubles = peers::trouble::sentences(link, status.link_io.as_ref());
    findings.extend(troubles.into_iter().map(|sentence| {
        Finding::new(Level::Warning, ABOUT, format!("the broker here says: {sentence}"))
    }));
    if findings.is_empty() {
        let text = format!("the broker that runs here is linked with {}", link.peers.len());
        findings.push(Finding::new(Level::Ok, ABOUT, text));
    }
    findings
}

/// Finds in what it is not the broker that was checked for.
fn differences(
    options: &LinkOptions,
    seen: &Observations,
    status: &Status,
    link: &LinkStatus,
) -> Vec<Finding> {
    let interface = status.link_io.as_ref().map_or("", |io| &io.interface);
    let group = options.group.to_string();
    let seal = |is_sealed: bool| if is_sealed { "with a key" } else { "without a key" };
    let (groups, own_groups) = (link.groups.to_string(), options.groups.to_string());
    let pairs = [
        ("interface", interface, &*seen.sockets.interface),
        ("cluster", &*link.cluster, &*options.cluster),
        ("group", &*link.group, &*group),
        ("number of groups", &*groups, &*own_groups),
        ("link", seal(link.is_sealed), seal(!options.keys.is_open())),
    ];
    let differing = pairs.iter().filter(|(_, its, checked)| its != checked && !its.is_empty());
    differing
        .map(|(what, its, checked)| {
            let text = format!(
                "the broker that runs here was not checked: its {what} is {}, what was looked at \
                 is {}",
                escaped(its),
                escaped(checked)
            );
            problem(&text, "give the check the settings of the broker, or the broker these")
        })
        .collect()
}

/// A broker that answers the check, and is no peer.
fn unlinked(
    options: &LinkOptions,
    status: &Status,
    link: &LinkStatus,
    heard: &Neighbour,
) -> Option<Finding> {
    let is_peer = link.peers.iter().any(|peer| peer.node == heard.node);
    let is_ours = heard.cluster == options.cluster && heard.node != status.node;
    let is_alike = heard.groups == u16::from(options.groups);
    if is_peer || !is_ours || !is_alike || !heard.answers {
        return None;
    }
    let text = format!(
        "{} ({}) answers the check, and is not linked with the broker that runs here",
        escaped(&heard.name),
        heard.address
    );
    Some(problem(
        &text,
        "a firewall that lets answers pass, but not what a broker sends first, is the usual reason: \
         let UDP to the brokers' own ports pass, here and there (--unicast-port sets them)",
    ))
}

fn problem(text: &str, advice: &str) -> Finding {
    Finding::new(Level::Problem, ABOUT, text).advice(advice)
}
