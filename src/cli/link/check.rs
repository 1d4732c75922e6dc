//! `netcluster link check`: what works on the way to other brokers, and what does
//! not, before or while a broker runs.
//!
//! ```text
//!   settings ─▶ observe ─▶ Observations ─▶ diagnose ─▶ findings ─▶ print
//!               2 s, probes                pure
//!               out, hearing in
//! ```
//! - `prober`: the own probes, sealed. `hearing`: what the datagrams that come in
//!   say of their senders. `observe`: the sockets and the clock around the two.
//! - `diagnose`, `neighbours`: what that means, and what to do about it.
//! - `running`: what the broker of this machine says to that, if one runs.
//! - `print`: as a page or as JSON.
//!
//! It is no broker: it says no hello, so nobody takes it for a peer, and a link
//! that runs does not notice it but for the probes that it answers.

mod diagnose;
mod hearing;
mod neighbours;
mod observe;
mod print;
mod prober;
mod running;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::Args;
use netcluster_link::options::DEFAULT_GROUP;
use netcluster_wire::limits::DEFAULT_MAX_PAYLOAD_BYTES;

use super::settings::{LinkSettings, link_options};
use super::values::LinkAddress;
use crate::cli::config::sources;
use crate::cli::failure::{Code, Failure};
use crate::cli::settings::Settings;

use diagnose::{Finding, Level};

const EXAMPLES: &str = "\
Give it the settings of the broker; the broker may run meanwhile: the check has sockets of its
own, whatever --unicast-port says, and asks the broker as well. It takes two seconds.
The check exits with 1 if there is a problem.

Examples:
  netcluster link check
  netcluster link check --config /etc/netcluster.toml
  netcluster link check --interface eth1 --key-file /etc/netcluster/key --mtu 9000
  netcluster link check --peer db1 --json";

/// `netcluster link check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
    /// Read the settings of the broker from this TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the broker of this machine is asked what it sees, if it runs [default: as for
    /// `netcluster status`]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The link; its address has a default here.
    #[command(flatten)]
    pub link: LinkSettings,
}

/// Looks, prints, and fails if there is a problem.
pub fn run(args: &CheckArgs) -> Result<(), Failure> {
    let typed = Settings { link: args.link.clone(), ..Settings::default() };
    let mut loaded = sources::load(typed, args.config.as_deref())?;
    let settings = &mut loaded.settings;
    settings.link.address.get_or_insert(LinkAddress(DEFAULT_GROUP));
    let max_payload_bytes = settings.max_payload.map_or(DEFAULT_MAX_PAYLOAD_BYTES, |size| size.0);
    let mut warnings = Vec::new();
    let options = link_options(settings, max_payload_bytes, &mut warnings)?
        .ok_or_else(|| Failure::usage("the link has no address"))?;

    let mut findings: Vec<Finding> = warnings
        .into_iter()
        .map(|text| Finding::new(Level::Warning, "configuration", text))
        .collect();
    let outcome = observe::observe(&options);
    let peers = match &outcome {
        Ok(seen) => {
            findings.extend(diagnose::diagnose(&options, seen));
            let peers = neighbours::list(&options, seen);
            let broker = running::ask(args.socket.clone().or(settings.socket.clone()));
            findings.extend(running::findings(&options, seen, &peers, &broker));
            peers
        }
        // Each of these says what to do.
        Err(problem) => {
            findings.push(Finding::new(Level::Problem, "sockets", problem));
            Vec::new()
        }
    };
    let info = outcome.as_ref().ok().map(|seen| &seen.sockets);
    print::print(args.json, &options, info, &findings, &peers)?;
    if findings.iter().any(|finding| finding.level == Level::Problem) {
        // What is wrong has been printed.
        Err(Failure::new(Code::Failure, ""))
    } else {
        Ok(())
    }
}
