//! Tests of the status as a whole.

use super::*;

/// Names of control characters are six times as long in JSON.
#[test]
fn a_status_is_never_larger_than_clients_take() {
    let name = "\u{1}".repeat(255);
    let client = |client| ClientStatus {
        client,
        name: name.clone(),
        channel: format!("{client}{name}"),
        ..ClientStatus::default()
    };
    let clients = (0..20_000).map(client).collect();
    let report = ShardStatus { clients, ..ShardStatus::default() };
    let json = merge(Status::default(), vec![report]).into_json();
    assert!(json.len() <= MAX_STATS_BYTES, "{}", json.len());
    let status: Status = serde_json::from_slice(&json).unwrap();
    assert!(status.clients.len() > 1000, "{}", status.clients.len());
    assert_eq!(status.clients.len() as u64 + status.clients_omitted, 20_000);
    assert_eq!(status.channels.len() as u64 + status.channels_omitted, 20_000);
}
