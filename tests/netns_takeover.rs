//! Takeovers on a host that is linked with another one, on real sockets and under load.

#![cfg(target_os = "linux")]

#[path = "support/hosts.rs"]
mod hosts;
mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hosts::{GROUP_V4, Losses, Site, count, number_of};
use support::{backends, wait_until};

const TAKEOVERS: usize = 3;

/// Brokers with a port and a node id that are the same for the new one and the old one.
#[test]
fn what_is_emitted_here_reaches_other_machines_once_and_in_order() {
    for backend in backends() {
        let Some(site) = Site::new(2) else { return };
        let there = site.broker(1, backend, &["--link", GROUP_V4]);
        let options = ["--link", GROUP_V4, "--node-id", "a1", "--unicast-port", "4455"];
        let here = site.broker(0, backend, &options);
        wait_until("they know each other", || there.peers().len() == 1);
        let listener = there.listener();
        let emitter = here.client();
        let stop = AtomicBool::new(false);
        let (emitted, here) = thread::scope(|scope| {
            let emitting = scope.spawn(|| {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    count(&emitter, number..number + 10);
                    number += 10;
                    thread::sleep(Duration::from_millis(1));
                }
                emitter.flush().expect("a broker");
                number
            });
            let mut here = here;
            for _ in 0..TAKEOVERS {
                thread::sleep(Duration::from_millis(200));
                let session = there.peers().first().map(|peer| peer.session.clone());
                here = site.succeed(0, backend, &options, here);
                wait_until("they know each other again", || {
                    there.peers().iter().any(|peer| Some(&peer.session) != session.as_ref())
                });
            }
            stop.store(true, Ordering::Relaxed);
            (emitting.join().expect("it emits to the end"), here)
        });
        for number in 0..emitted {
            assert_eq!(number_of(&listener.take()), number);
        }
        assert_eq!(listener.losses(), Losses::default(), "of {emitted} events");
        // The old ones said goodbye, and the new ones hear what is emitted there.
        let counters = there.status().link.expect("it has a link").counters;
        assert_eq!((counters.restarted, counters.silent), (0, 0));
        let beside = here.listener();
        count(&there.client(), 0..100);
        beside.take_counts(1, 100);
    }
}
