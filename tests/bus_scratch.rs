//! scratch
mod common;
use common::{Bed, wait_until};
use netcluster_platform::Choice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;
fn go(choice: Choice) {
    let bus = Bed::new(choice, 1).bus();
    for round in 0..4000 {
        let client = bus.client();
        for _ in 0..500u64 { client.emit("a", [1; 100]).unwrap(); }
        let done = Arc::new(AtomicBool::new(false));
        let (d, c) = (done.clone(), client.clone());
        let t = std::thread::spawn(move || { let r = c.disconnect(); d.store(true, Ordering::SeqCst); r });
        let start = std::time::Instant::now();
        let mut told = false;
        wait_until("done", || {
            if start.elapsed() > Duration::from_secs(4) && !told {
                told = true;
                let status = bus.status();
                println!("STUCK round {round} last {} confirmed {} source {}\n{:#?}", client.last_sequence(), client.confirmed_sequence(), client.source(), status.clients);
                println!("totals in {} bytes_in {} out {}", status.totals.events_in, status.totals.bytes_in, status.totals.bytes_out);
                let pid = std::process::id();
                println!("{}", String::from_utf8_lossy(&std::process::Command::new("ss").args(["-xp"]).output().map(|o| o.stdout).unwrap_or_default()).lines().filter(|l| l.contains(&pid.to_string())).collect::<Vec<_>>().join("\n"));
                for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
                    let p = task.unwrap().path();
                    println!("{} {}", std::fs::read_to_string(p.join("comm")).unwrap().trim(), std::fs::read_to_string(p.join("wchan")).unwrap());
                }
                panic!("stuck");
            }
            done.load(Ordering::SeqCst)
        });
        t.join().unwrap().unwrap();
    }
}
#[test] fn poll() { go(Choice::Poll); }
#[test] fn uring() { go(Choice::Uring); }
