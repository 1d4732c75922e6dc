//! Tests of the status as a whole.

use std::collections::BTreeSet;

use netcluster_wire::limits::MAX_STATS_BYTES;
use serde_json::Value;

use super::*;

/// Names of control characters are six times as long in JSON.
#[test]
fn a_status_is_never_larger_than_clients_take() {
    let name = "\u{1}".repeat(255);
    let client = |client| ClientStatus {
        client,
        name: name.clone(),
        channel: format!("{client}{name}"),
        queued_bytes: client.into(),
        ..ClientStatus::default()
    };
    let channel = |at| ChannelStatus { name: format!("{at}{name}"), ..ChannelStatus::default() };
    let report = ShardStatus {
        clients: (0..20_000).map(client).collect(),
        channels: (0..20_000).map(channel).collect(),
        ..ShardStatus::default()
    };
    let json = merge(Status::default(), vec![report]).into_json();
    assert!(json.len() <= MAX_STATS_BYTES, "{}", json.len());
    let status: Status = serde_json::from_slice(&json).unwrap();
    assert_eq!(status.clients.len(), MAX_LISTED);
    assert_eq!(status.clients[0].client, 19_000, "those with the longest queues");
    assert_eq!(status.clients.len() as u64 + status.clients_omitted, 20_000);
    assert_eq!(status.channels.len() as u64 + status.channels_omitted, 20_000);
}

/// Makes a status in which every list has an entry and nothing is left out.
fn full() -> Status {
    let peer = PeerStatus {
        streams: vec![InboundStreamStatus::default()],
        round_trip_us: Some(1),
        summary: Some(PeerSummary::default()),
        ..PeerStatus::default()
    };
    let link = LinkStatus {
        rate: Some(1),
        streams: vec![OutboundStreamStatus { limit: Some(1), ..Default::default() }],
        channels: vec![StreamChannels::default()],
        peers: vec![peer],
        missing_pairs: vec![MissingPair::default()],
        unlinked: vec![UnlinkedStatus::default()],
        ..LinkStatus::default()
    };
    let client = ClientStatus {
        user: Some(String::new()),
        shared: Some(SharedUse::default()),
        ..ClientStatus::default()
    };
    Status {
        backend_note: Some(String::new()),
        shared_memory_note: Some(String::new()),
        channels: vec![ChannelStatus::default()],
        clients: vec![client],
        shards: vec![ShardSummary::default()],
        link: Some(link),
        link_io: Some(LinkIo::default()),
        closed_by_broker: vec![ClosedClient::default()],
        ..Status::default()
    }
}

/// Collects the keys of a value, as the document writes them.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = format!("{path}{key}");
                found.insert(path.clone());
                keys(value, &format!("{path}."), found);
            }
        }
        Value::Array(entries) => {
            let path = path.trim_end_matches('.');
            entries.iter().for_each(|entry| keys(entry, &format!("{path}[]."), found));
        }
        _ => {}
    }
}

#[test]
fn the_document_has_every_key_and_no_other() {
    let mut found = BTreeSet::new();
    keys(&serde_json::to_value(full()).unwrap(), "", &mut found);
    let document = include_str!("../../docs/status.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<String> =
        rows.filter_map(|row| row.split('`').next().map(str::to_owned)).collect();
    let missing: Vec<_> = found.difference(&documented).collect();
    let outdated: Vec<_> = documented.difference(&found).collect();
    assert!(missing.is_empty() && outdated.is_empty(), "docs/status.md: {missing:?} {outdated:?}");
}

#[test]
fn totals_leave_out_what_grows_with_clients_channels_and_peers() {
    let json: Value = serde_json::from_slice(&full().into_totals()).unwrap();
    for key in ["clients", "clients_omitted", "channels", "channels_omitted"] {
        assert!(json.get(key).is_none(), "{key}");
    }
    assert!(json["link"]["peers"].as_array().unwrap().is_empty());
    let read: Status = serde_json::from_value(json).unwrap();
    assert_eq!(read.shards.len(), 1);
}
