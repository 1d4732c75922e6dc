//! Clients of other users, and in other namespaces.

use std::process::Command;

use netcluster::status::ClientStatus;

use crate::common::on_sharing;
use crate::common::process::Played;
use crate::common::{Bed, Bus, patterned, take, wait_until};

/// Ways to run a client as somebody else, or elsewhere.
const ELSEWHERE: [&[&str]; 2] = [
    &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"],
    &[
        "unshare",
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount",
        "--ipc",
    ],
];

/// Whether a client can be run so; prints why not.
fn is_possible(wrapper: &[&str]) -> bool {
    // The binary may lie where that user cannot go.
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(std::env::current_exe().unwrap()).arg("--list");
    let done = command.output();
    let is_possible = done.as_ref().is_ok_and(|done| done.status.success());
    if !is_possible {
        println!("SKIPPED: {} does not work here: {done:?}", wrapper.join(" "));
    }
    is_possible
}

/// Asks until all clients of this name have memory, and then some more.
fn converse(bus: &Bus, name: &str, clients: usize) {
    let client = bus.client();
    let answers = client.subscribe("answer").unwrap();
    wait_until("it listens", || bus.status().clients.iter().any(|it| is_listening(it, name)));
    let mut more = 100;
    for number in 0_u64.. {
        let payload = patterned(number, (number % 5000) as usize);
        client.emit("ask", &payload).unwrap();
        assert!(take(&answers).payload() == payload);
        let sharing = bus.status().clients;
        let sharing = sharing.iter().filter(|it| it.name == name && it.shared.is_some()).count();
        more -= i32::from(sharing == clients);
        if more == 0 {
            return;
        }
    }
}

fn is_listening(client: &ClientStatus, name: &str) -> bool {
    client.name == name && client.listeners > 0
}

on_sharing! {
    fn clients_of_other_users_and_namespaces_share_memory(bed) {
        for wrapper in ELSEWHERE.into_iter().filter(|wrapper| is_possible(wrapper)) {
            let bus = bed.bus_with(|options| options.bind.mode = 0o666);
            let wrapper: Vec<String> = wrapper.iter().map(ToString::to_string).collect();
            let _talker = Played::start_under(&wrapper, "parts::talker", &bus.path, |_| {});
            converse(&bus, "talker", 2);
        }
    }
}
