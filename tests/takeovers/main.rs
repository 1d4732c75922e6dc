//! A broker takes the place of another while clients use it: nobody loses anything, nobody
//! gets anything twice, and nobody waits long. Elsewhere than on Linux a broker cannot read
//! what clients had written before its end.
//!
//! The long form: `TAKEOVERS=10 TAKEOVER_CLIENTS=1000 TAKEOVER_RATE=100000`.

#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;
mod load;

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Bed, Directory, PATIENCE, on_all};
use load::Load;
use netcluster::{Broker, BrokerOptions};

/// Time between two takeovers.
const BETWEEN: Duration = Duration::from_millis(300);

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Has a broker take the place of another, in this process.
fn succeed(broker: Broker, options: BrokerOptions) -> Broker {
    let start = Instant::now();
    let claimant = Broker::prepare(options).unwrap().bind_beside().unwrap();
    let prepared = start.elapsed();
    broker.hand_over(claimant.name(), claimant.terms()).expect("it hands over");
    let handed = start.elapsed();
    let heir = broker.heir();
    let (tell, gone) = mpsc::channel();
    let ending = thread::spawn(move || {
        let ended = broker.join();
        let _ = tell.send(());
        ended
    });
    let owned = claimant.own(PATIENCE, move || gone.recv().unwrap()).unwrap();
    let left = start.elapsed();
    let successor = owned.start().unwrap();
    let started = start.elapsed();
    ending.join().unwrap().expect("an orderly end");
    let ended = start.elapsed();
    println!("{prepared:?} {handed:?} {left:?} {started:?} {ended:?}");
    assert!(heir.is_there());
    successor
}

fn files_beside(socket: &Path) -> Vec<String> {
    let directory = std::fs::read_dir(socket.parent().unwrap()).unwrap();
    let mut names: Vec<String> =
        directory.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

on_all! {
    fn nothing_is_lost_or_doubled_and_nobody_waits_long(bed) {
        let directory = Directory::new();
        let socket = directory.socket("s");
        let mut broker = Broker::start(bed.options(&socket)).expect("it starts");
        let load = Load {
            listeners: number("TAKEOVER_CLIENTS", 60),
            emitters: 3,
            rate: number("TAKEOVER_RATE", 6000),
            is_sharing: bed.is_sharing,
        };
        let running = load.start(&socket);
        let takeovers = number("TAKEOVERS", 3) as u64;
        for takeover in 1..=takeovers {
            thread::sleep(BETWEEN);
            let before = running.longest_gap();
            let start = Instant::now();
            broker = succeed(broker, bed.options(&socket));
            let took = start.elapsed();
            running.wait_until_resumed(takeover);
            let back = start.elapsed();
            thread::sleep(BETWEEN);
            let gap = running.longest_gap();
            println!("took {took:?}, all back {back:?}; longest gap {gap:?}, before {before:?}");
            running.check();
        }
        running.finish();
        assert_eq!(files_beside(&socket), ["s", "s.lock"]);
        drop(broker);
    }
}
