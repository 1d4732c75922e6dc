//! A process that goes to another directory. Alone in its program: the working
//! directory is the whole process's.

#![cfg(unix)]

mod support;

use std::path::Path;
use std::sync::mpsc::channel;

use netcluster_client::{Client, Lifecycle};
use support::{Broker, PATIENCE};

#[test]
fn a_relative_socket_path_is_found_again_from_another_directory() {
    let broker = Broker::start();
    std::env::set_current_dir(broker.path.parent().unwrap()).unwrap();
    let (sender, lifecycle) = channel();
    let client = Client::builder()
        .on_lifecycle(move |event| drop(sender.send(event.clone())))
        .connect(Path::new(broker.path.file_name().unwrap()))
        .unwrap();
    std::env::set_current_dir("/").unwrap();
    broker.cut();
    let again = |event: &Lifecycle| matches!(event, Lifecycle::Connect { resumed: true, .. });
    while !again(&lifecycle.recv_timeout(PATIENCE).unwrap()) {}
    client.ping().unwrap();
}
