//! `netcluster cluster`: all machines in one table, as the brokers tell each other.
//!
//! The broker that is asked knows of itself, and of its peers what each told it last; who is
//! expected and no peer is missing, which is a failure.

use clap::Args;
use netcluster::status::{LinkStatus, Status};
use netcluster_link::status::{PeerStatus, PeerSummary};
use serde::Serialize;
use serde_json::json;

use super::args::SocketArgs;
use super::control::{ask, connect};
use super::failure::Failure;
use super::page::terminal_chars;
use super::peers;
use super::render::escaped;
use super::status::{self, bytes, print, uptime};
use super::table::Table;

const EXAMPLES: &str = "\
Columns:
  STATE      here (the broker that was asked), linked, draining (about to end), unlinked (heard,
             but it does not answer), MISSING (expected by --expect-peer, and not linked)
  IN, OUT    events in a second that its clients emit, and that are queued to them
  LOST       events that its `latest` clients lost, and that did not reach it from its peers
  TRIP       time to it and back
  AGE        time since it told this; brokers do every 2 s

Exit code 1 if a broker is missing that is expected.

Examples:
  netcluster cluster
  watch netcluster cluster
  netcluster cluster --json | jq -r '.missing[]'";

/// `netcluster cluster`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ClusterArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
}

/// A machine of the cluster.
#[derive(Debug, Default, Serialize)]
struct Machine {
    name: String,
    node: Option<String>,
    address: Option<String>,
    state: &'static str,
    round_trip_us: Option<u64>,
    /// State that it told; none if it has not.
    #[serde(flatten)]
    summary: Option<PeerSummary>,
}

/// Asks the broker and prints.
pub fn run(args: &ClusterArgs) -> Result<(), Failure> {
    let client = connect("netcluster cluster", &args.socket)?;
    let totals = ask(&client, &json!({ "do": "totals" }))?;
    let peers = peers::linked(ask(&client, &json!({ "do": "peers" }))?)?;
    let schema = totals["schema"].clone();
    let (own, peers) = (status::read(totals)?, peers::read(peers)?);
    let Some(link) = peers.link else { return Ok(()) };
    let machines = machines(&own, &link, peers.link_io.map(|io| io.unicast));
    print(&if args.json {
        let missing = &link.missing_peers;
        status::pretty(&json!({ "schema": schema, "machines": machines, "missing": missing }))?
    } else {
        table(&machines).fit(terminal_chars())
    })?;
    match &*link.missing_peers {
        [] => Ok(()),
        missing => Err(Failure::other(format_args!(
            "expected, and missing: {}",
            missing.iter().map(|name| escaped(name)).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// Lists this machine, then the others by name, then those that are missing.
fn machines(own: &Status, link: &LinkStatus, address: Option<String>) -> Vec<Machine> {
    let lost = link.peers.iter().map(|peer| peer.counters.events_lost).sum::<u64>();
    let here = Machine {
        name: link.name.clone(),
        node: Some(own.node.clone()),
        address,
        state: "here",
        round_trip_us: None,
        summary: Some(PeerSummary {
            age_ms: 0,
            version: own.version.clone(),
            uptime_ms: own.uptime_ms,
            clients: u32::try_from(own.totals.clients).unwrap_or(u32::MAX),
            events_in_per_s: own.totals.events_in_per_s as u64,
            events_out_per_s: own.totals.events_out_per_s as u64,
            lost: own.totals.dropped + lost,
            queued_bytes: own.totals.queued_bytes,
            is_draining: false,
        }),
    };
    let mut machines: Vec<Machine> = link.peers.iter().map(linked).collect();
    let is_peer = |node: &str| link.peers.iter().any(|peer| peer.node == node);
    let unlinked = link.unlinked.iter().filter(|it| !is_peer(&it.node));
    machines.extend(unlinked.map(|it| Machine {
        name: it.name.clone(),
        node: Some(it.node.clone()),
        address: Some(it.address.clone()),
        state: "unlinked",
        ..Machine::default()
    }));
    for name in &link.missing_peers {
        match machines.iter_mut().find(|it| it.name == *name) {
            Some(heard) => heard.state = "MISSING",
            None => machines.push(Machine {
                name: name.clone(),
                state: "MISSING",
                ..Machine::default()
            }),
        }
    }
    machines.sort_by(|one, other| (&one.name, &one.node).cmp(&(&other.name, &other.node)));
    machines.insert(0, here);
    machines
}

fn linked(peer: &PeerStatus) -> Machine {
    let is_draining = peer.summary.as_ref().is_some_and(|summary| summary.is_draining);
    Machine {
        name: peer.name.clone(),
        node: Some(peer.node.clone()),
        address: Some(peer.address.clone()),
        state: if is_draining { "draining" } else { "linked" },
        round_trip_us: peer.round_trip_us,
        summary: peer.summary.clone(),
    }
}

fn table(machines: &[Machine]) -> Table {
    let mut table = Table::new(&[
        "NAME", "ADDRESS", "STATE", "VERSION", ">UP", ">CLIENTS", ">IN", ">OUT", ">LOST",
        ">QUEUED", ">TRIP", ">AGE",
    ]);
    for machine in machines {
        let told = |show: fn(&PeerSummary) -> String| {
            machine.summary.as_ref().map_or_else(|| "-".to_owned(), show)
        };
        let known = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), escaped);
        table.row([
            escaped(&machine.name),
            known(&machine.address),
            machine.state.to_owned(),
            told(|it| escaped(&it.version)),
            told(|it| uptime(it.uptime_ms)),
            told(|it| it.clients.to_string()),
            told(|it| format!("{}/s", it.events_in_per_s)),
            told(|it| format!("{}/s", it.events_out_per_s)),
            told(|it| it.lost.to_string()),
            told(|it| bytes(it.queued_bytes)),
            machine.round_trip_us.map_or_else(|| "-".to_owned(), peers::milliseconds),
            told(|it| uptime(it.age_ms)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use netcluster_link::status::UnlinkedStatus;

    use super::*;

    fn peer(name: &str, node: &str) -> PeerStatus {
        PeerStatus { name: name.into(), node: node.into(), ..PeerStatus::default() }
    }

    #[test]
    fn this_machine_is_first_and_those_that_are_missing_are_there_once() {
        let mut link = LinkStatus { name: "m".into(), ..LinkStatus::default() };
        link.peers = vec![peer("z", "1"), peer("a\x1b[2J", "2")];
        link.peers[0].summary = Some(PeerSummary { is_draining: true, ..PeerSummary::default() });
        let unlinked = |name: &str, node: &str| UnlinkedStatus {
            name: name.into(),
            node: node.into(),
            address: "10.0.0.9:1".into(),
        };
        link.unlinked = vec![unlinked("q", "3"), unlinked("x", "4"), unlinked("z", "1")];
        link.missing_peers = vec!["q".into(), "never".into()];
        let machines = machines(&Status::default(), &link, Some("10.0.0.1:1".into()));
        let seen: Vec<_> = machines.iter().map(|it| (&*it.name, it.state)).collect();
        let expected = [
            ("m", "here"),
            ("a\x1b[2J", "linked"),
            ("never", "MISSING"),
            ("q", "MISSING"),
            ("x", "unlinked"),
            ("z", "draining"),
        ];
        assert_eq!(seen, expected);
        let page = table(&machines).fit(usize::MAX);
        assert!(page.contains("\na\\u{1b}[2J  "), "{page}");
        let json = serde_json::to_value(&machines[5]).unwrap();
        assert_eq!((&json["clients"], &json["state"]), (&json!(0), &json!("draining")));
    }
}
