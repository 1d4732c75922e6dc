//! Clients whose process forks: the child has the parent's memory mapped, and must not
//! touch it.

use crate::common::on_sharing;
use crate::common::process::{Played, RemoteBus};
use crate::common::{Bed, connect, status_at, take, wait_until};

/// Runs a function in a child that is forked, which then ends without a word; returns what
/// it returned.
pub fn fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child does what may be done with other threads gone, as far as this test
    // can know: if it waited for what one of them had, the test would fail.
    let forked = unsafe { libc::fork() };
    assert!(forked >= 0, "there is room for a process");
    if forked == 0 {
        let code = child();
        // SAFETY: nothing of this process is used after it.
        unsafe { libc::_exit(code) };
    }
    let process = rustix::process::Pid::from_raw(forked);
    let ended = rustix::process::waitpid(process, rustix::process::WaitOptions::empty());
    let (_, status) = ended.expect("it is a child").expect("it has ended");
    status.exit_status().expect("it was not killed")
}

on_sharing! {
    fn a_forked_child_is_refused_and_harms_nothing(bed) {
        let bus = RemoteBus::start(bed);
        let listener = connect(&bus.path, |it| it);
        let (events, codes) =
            (listener.subscribe("n").unwrap(), listener.subscribe("forked").unwrap());
        let _forking = Played::start("parts::forking", &bus.path, |_| {});
        for number in 0..1000_u64 {
            assert_eq!(take(&events).payload(), number.to_le_bytes());
        }
        wait_until("the client has memory", || {
            let clients = status_at(&bus.path).clients;
            clients.iter().any(|it| it.name == "forking" && it.shared.is_some())
        });
        // With memory for sure.
        while codes.try_recv().is_ok() {}
        for _ in 0..2 {
            assert_eq!(take(&codes).payload(), 7_i32.to_le_bytes(), "refused as forked");
        }
        for number in 1000..1200_u64 {
            assert_eq!(take(&events).payload(), number.to_le_bytes());
        }
    }
}
