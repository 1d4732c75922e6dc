//! Network namespaces for tests: a thread moves to one of its own, which goes
//! when the thread ends.
//!
//! ```text
//!   thread "here"  [ lo   v0 ]──────[ v1   lo ]  thread "there", which only keeps
//!                         10.77.0.1   10.77.0.2   the other end and acts for it
//! ```

use std::net::UdpSocket;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};

use crate::bench::PATIENCE;

/// The interface in a namespace, and its addresses.
pub const NEAR: &str = "v0";
pub const NEAR_ADDRESS: &str = "10.77.0.1";
const FAR: &str = "v1";
const FAR_ADDRESS: &str = "10.77.0.2";

type Work = Box<dyn FnOnce() + Send>;

/// The other end of the wire.
pub struct There(Option<mpsc::Sender<Work>>, Option<thread::JoinHandle<()>>);

impl There {
    /// Carries something out there, and waits for it.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        let work = Box::new(move || sender.send(work()).unwrap());
        self.0.as_ref().unwrap().send(work).unwrap();
        receiver.recv().expect("it did not panic")
    }

    /// Waits until the wire carries something both ways: the system starts it some
    /// time after both ends are up, and drops what is sent before.
    pub fn await_wire(&self) {
        let short = Some(Duration::from_millis(20));
        let near = UdpSocket::bind((NEAR_ADDRESS, 0)).unwrap();
        near.set_read_timeout(short).unwrap();
        let to_near = near.local_addr().unwrap();
        let start = Instant::now();
        let to_far = self.run(move || {
            let far = UdpSocket::bind((FAR_ADDRESS, 0)).unwrap();
            far.set_read_timeout(short).unwrap();
            let to_far = far.local_addr().unwrap();
            thread::spawn(move || {
                // An echo, until it was of use.
                while start.elapsed() < PATIENCE {
                    let _ = far.send_to(b"there", to_near);
                    if far.recv_from(&mut [0; 8]).is_ok() {
                        return;
                    }
                }
            });
            to_far
        });
        while near.recv_from(&mut [0; 8]).is_err() {
            assert!(start.elapsed() < PATIENCE, "the wire carries nothing");
        }
        near.send_to(b"here", to_far).unwrap();
    }
}

impl Drop for There {
    fn drop(&mut self) {
        self.0 = None;
        let _ = self.1.take().unwrap().join();
    }
}

/// Runs a script in a namespace with a wire to another one; skips it with the
/// reason if this machine makes none.
pub fn with_wire(script: impl FnOnce(&There) + Send) {
    in_namespace(|| {
        let there = match wire() {
            Ok(there) => there,
            Err(reason) => return println!("SKIPPED: {reason}"),
        };
        script(&there);
    });
}

/// Runs a script in a namespace with nothing but loopback.
pub fn in_namespace(script: impl FnOnce() + Send) {
    let outcome = thread::scope(|scope| {
        scope
            .spawn(|| match enter() {
                Ok(()) => script(),
                Err(reason) => println!("SKIPPED: {reason}"),
            })
            .join()
    });
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn enter() -> Result<(), String> {
    // SAFETY: a network namespace is the thread's own and has no part in memory.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(|error| format!("no network namespace: {error}"))?;
    ip("link set lo up")
}

fn wire() -> Result<There, String> {
    let (work, works) = mpsc::channel::<Work>();
    let (ready, is_ready) = mpsc::channel();
    let thread = thread::spawn(move || {
        let outcome = enter().map(|()| gettid().as_raw_nonzero().get());
        let failed = outcome.is_err();
        ready.send(outcome).unwrap();
        if failed {
            return;
        }
        for work in works {
            work();
        }
    });
    let there = There(Some(work), Some(thread));
    let task = is_ready.recv().unwrap()?;
    ip(&format!("link add {NEAR} type veth peer name {FAR} netns {task}"))?;
    near_up()?;
    there.run(|| {
        ip(&format!("addr add {FAR_ADDRESS}/24 dev {FAR}"))?;
        ip(&format!("link set {FAR} up"))
    })?;
    there.await_wire();
    Ok(there)
}

/// Gives the near end its address.
pub fn near_up() -> Result<(), String> {
    ip(&format!("addr add {NEAR_ADDRESS}/24 dev {NEAR}"))?;
    ip(&format!("link set {NEAR} up"))
}

/// Waits until what is sent to this address of one's own arrives: the system adds
/// the route for it some time after the address.
pub fn await_own_address(address: &str) {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let own = socket.local_addr().unwrap();
    let start = Instant::now();
    loop {
        let _ = socket.send_to(b"own", own);
        if socket.recv_from(&mut [0; 3]).is_ok() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{address} is never reached");
    }
}

/// Runs the tool of that name with these arguments, in the thread's namespace.
pub fn ip(arguments: &str) -> Result<(), String> {
    run("ip", arguments)
}

pub fn run(tool: &str, arguments: &str) -> Result<(), String> {
    let output = Command::new(tool)
        .args(arguments.split_whitespace())
        .output()
        .map_err(|error| format!("no {tool}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{tool} {arguments}: {text}")) }
}
