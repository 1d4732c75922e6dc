//! The findings, as a page or as JSON.

use std::fmt::Write as _;

use netcluster_link::options::LinkOptions;
use netcluster_platform::DatagramInfo;
use netcluster_wire::escape;
use serde::Serialize;

use super::diagnose::{Finding, Level};
use super::neighbours::Neighbour;
use crate::cli::failure::Failure;
use crate::cli::page::{terminal_chars, wrapped};
use crate::cli::render::escaped;
use crate::cli::status;

/// Width of the level of a finding, and of the space behind it.
const LEVEL_CHARS: usize = 9;

/// Longest text of a line, whatever it is written to.
const LINE_CHARS: usize = 90;

#[derive(Serialize)]
struct Report<'a> {
    /// Whether no problem was found.
    ok: bool,
    cluster: &'a str,
    group: String,
    groups: u8,
    /// Id of the key in hexadecimal; none on an open link.
    key: Option<String>,
    packet_bytes: usize,
    datagram_bytes: usize,
    interface: Option<Interface<'a>>,
    findings: &'a [Finding],
    peers: &'a [Neighbour],
}

#[derive(Serialize)]
struct Interface<'a> {
    name: &'a str,
    reason: String,
    address: String,
    is_loopback: bool,
    mtu_bytes: Option<usize>,
    receive_buffer_bytes: usize,
}

/// Prints what was found.
pub fn print(
    json: bool,
    options: &LinkOptions,
    info: Option<&DatagramInfo>,
    findings: &[Finding],
    peers: &[Neighbour],
) -> Result<(), Failure> {
    let text = if json {
        as_json(options, info, findings, peers)?
    } else {
        as_page(options, findings, terminal_chars())
    };
    status::print(&text)
}

fn as_json(
    options: &LinkOptions,
    info: Option<&DatagramInfo>,
    findings: &[Finding],
    peers: &[Neighbour],
) -> Result<String, Failure> {
    let report = Report {
        ok: findings.iter().all(|finding| finding.level != Level::Problem),
        cluster: &options.cluster,
        group: options.group.to_string(),
        groups: options.groups,
        key: (!options.keys.is_open()).then(|| format!("{:08x}", options.keys.id())),
        packet_bytes: options.packet_bytes,
        datagram_bytes: options.datagram_bytes(),
        interface: info.map(|info| Interface {
            name: &info.interface,
            reason: info.reason.to_string(),
            address: info.unicast.ip().to_string(),
            is_loopback: info.loopback,
            mtu_bytes: info.mtu_bytes,
            receive_buffer_bytes: info.receive_buffer_bytes,
        }),
        findings,
        peers,
    };
    let json = serde_json::to_string_pretty(&report).map_err(Failure::other)?;
    Ok(format!("{}\n", escape::json(&json)))
}

/// Writes a line per finding, what to do below it, for a terminal of this width.
pub fn as_page(options: &LinkOptions, findings: &[Finding], width: usize) -> String {
    let chars = LINE_CHARS.min(width - LEVEL_CHARS);
    let key = match options.keys.id() {
        0 => "no key".to_owned(),
        id => format!("key {id:08x}"),
    };
    let title = format!(
        "the link of the cluster {} at {}, {key}",
        escaped(&options.cluster),
        options.group
    );
    let mut page = wrapped(&title, width).join("\n") + "\n\n";
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        // Writing to memory does not fail.
        for (at, line) in wrapped(&finding.text, chars).iter().enumerate() {
            let level = if at == 0 { level } else { "" };
            let _ = writeln!(page, "{level:<LEVEL_CHARS$}{line}");
        }
        if let Some(advice) = &finding.advice {
            for line in wrapped(advice, chars) {
                let _ = writeln!(page, "         {line}");
            }
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let end = match (count(Level::Problem), count(Level::Warning)) {
        (0, 0) => "all is well".to_owned(),
        (0, warnings) => format!("it works; warnings: {warnings}"),
        (problems, 0) => format!("problems: {problems}"),
        (problems, warnings) => format!("problems: {problems}, warnings: {warnings}"),
    };
    let _ = writeln!(page, "\n{end}");
    page
}
