//! What a link hands out, and what that costs.

use super::mesh::*;

#[test]
fn a_status_looks_at_each_stream_a_few_times_however_many_there_are() {
    let mut mesh = Mesh::new(1);
    let names: Vec<String> = (0..200).map(|index| format!("channel-{index}")).collect();
    for index in 0..2 {
        let mut config = config(index);
        config.groups = 64;
        config.history_bytes = 20_000;
        config.pressured = names[..100].to_vec();
        mesh.start(config);
    }
    names.iter().for_each(|name| {
        mesh.listen(1, name);
    });
    mesh.run_ms(500);
    let link = &mut mesh.nodes[1].link;
    let slot = link.peers.slot_at(0).unwrap();
    let peer = link.peers.at_mut(slot).unwrap();
    peer.owes_status = true;
    link.owes_status = true;
    let streams = peer.incoming.len() as u64;
    assert!(streams > 100);
    let before = link.window.looks();
    link.pay_statuses(mesh.now_ns);
    let looks = link.window.looks() - before;
    assert!((streams..=4 * streams).contains(&looks), "{looks} looks at {streams} streams");
}
