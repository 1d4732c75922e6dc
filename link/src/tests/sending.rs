//! Batches that a link hands out, and what that costs.

use super::mesh::*;

#[test]
fn what_the_socket_refuses_is_counted_and_not_as_sent() {
    let mut mesh = Mesh::with_listener(1, 2);
    let before = mesh.nodes[0].link.counters();
    mesh.emit(0, CHANNEL, 100);
    let now = mesh.now;
    let (mut refused, mut taken) = (0, 0);
    while let Some(transmit) = mesh.nodes[0].link.poll_transmit(now) {
        assert_eq!(transmit.bytes[2], 1, "data");
        let datagrams = transmit.bytes.len().div_ceil(transmit.segment);
        assert!(datagrams > 2);
        let bytes = 2 * transmit.segment;
        mesh.nodes[0].link.refused_transmit(bytes);
        (refused, taken) = (refused + datagrams as u64 - 2, taken + bytes as u64);
    }
    let after = mesh.nodes[0].link.counters();
    assert!(refused > 0);
    assert_eq!(after.refused - before.refused, refused);
    assert_eq!(after.sent_bytes - before.sent_bytes, taken);
    // They are lost on the way, for all that the link knows, and are asked for.
    mesh.run_ms(500);
    mesh.assert_seen(1, 0, CHANNEL, 1..=100);
}

#[test]
fn a_smaller_interface_is_told_with_the_mtu_to_set() {
    let mut mesh = Mesh::with_listener(1, 2);
    let now = mesh.now;
    mesh.nodes[0].link.set_interface_limit(now, Some(1300 - 28));
    mesh.run_ms(10);
    let [text] = &mesh.nodes[0].warnings[..] else { panic!("{:?}", mesh.nodes[0].warnings) };
    assert!(text.contains("takes no more than 1300 bytes: set --mtu 1300"), "{text}");
}

#[test]
fn a_status_looks_at_each_stream_a_few_times_however_many_there_are() {
    let (mut mesh, _) = Mesh::of_many_streams(100);
    mesh.run_ms(500);
    let link = &mut mesh.nodes[1].link;
    let slot = link.peers.slot_at(0).unwrap();
    let peer = link.peers.at_mut(slot).unwrap();
    peer.owes_status = true;
    link.inbound.owes_status = true;
    let streams = peer.inbound.len() as u64;
    assert!(streams > 100);
    let before = link.inbound.window.looks();
    link.pay_statuses(mesh.now);
    let looks = link.inbound.window.looks() - before;
    assert!((streams..=4 * streams).contains(&looks), "{looks} looks at {streams} streams");
}
