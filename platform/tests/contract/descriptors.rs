//! A process that runs out of descriptors.

use std::process::Command;
use std::time::Duration;

use netcluster_platform::Completion;

use crate::bench::{Bench, LocalIo};
use crate::client::Client;

/// Runs the ignored test `name` in a process of its own.
pub fn in_a_child_with_few_descriptors(name: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

/// Lowers this process's descriptor limit: for a child of its own.
pub fn accepting_pauses<I: LocalIo>(mut bench: Bench<I>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    const CLIENTS: usize = 8;
    let clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(bench.path()).unwrap()).collect();
    // Room for four more descriptors: the next number a descriptor gets is the
    // lowest free one.
    let probe = rustix::fs::open("/", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    let lowest_free = std::os::fd::AsRawFd::as_raw_fd(&probe.unwrap()) as u64;
    let limit = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(lowest_free + 4), maximum: limit.maximum };
    setrlimit(Resource::Nofile, few).unwrap();
    let mut accepted = Vec::new();
    let error = loop {
        match bench.next() {
            Completion::Accepted { conn, .. } => accepted.push(conn),
            Completion::AcceptPaused { error } => break error,
            completion => panic!("unexpected {completion:?}"),
        }
    };
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
    assert!((1..=4).contains(&accepted.len()), "{accepted:?}");
    // It is paused, not spinning.
    assert!(bench.during(Duration::from_millis(50)).is_empty());
    setrlimit(Resource::Nofile, limit).unwrap();
    bench.io.resume_accept();
    while accepted.len() < CLIENTS {
        accepted.push(bench.expect("a client", |completion| match completion {
            Completion::Accepted { conn, .. } => Some(*conn),
            _ => None,
        }));
    }
    drop(clients);
}
