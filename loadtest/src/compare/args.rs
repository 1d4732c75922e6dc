//! Arguments of `compare`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use crate::args::{Common, MAX_REPEATS, check_seconds, within};
use crate::compare::contestant::Contestant;
use crate::compare::load::Load;

const DEFAULT_SECONDS: f64 = 1.0;
const DEFAULT_REPEATS: usize = 5;

/// Help below the options.
pub const HELP: &str = "\
A load is EMITTERS-LISTENERS-BYTES, or trip-BYTES for one event on the way at a time:
1-8-16k is one emitter, eight listeners and 16 KiB. With several emitters there are as
many listeners, each fed by one. many-CONNECTIONS is one process that listens on so many
connections, each to an event of its own that one emitter emits in turn, 64 bytes; the
relay has none of it. netcluster itself is always among the peers, twice: it shares memory
with its clients (netcluster-shm), or does not (netcluster-sockets). Many connections that
share memory are clients on one thread, not bare sessions as the others'.

Others' servers are looked for in PATH. zeromq and zenoh are libraries: python3 runs their
brokers, if it can import zmq or zenoh (pip install pyzmq eclipse-zenoh); nothing on an
event's way is Python. All clients are written here, in the same batches as ours.

iceoryx2 has no broker, but shared memory between emitters and listeners; its library is
in a program of its own, which is looked for beside this one and in PATH (cargo build
--release --manifest-path peers/iceoryx2/Cargo.toml --target-dir target). Its listeners
sleep until the notification that follows each event, those of iceoryx2-polling look again
and again. With one event on the way and two cores, its listener has the core of the broker. What it
leaves in /dev/shm is removed after each run; of a run that was killed, before the next.

Exit code: 0, 1 if netcluster or the relay lost anything or a run failed, 2 on errors,
130 if interrupted (with what there is).";

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Who is compared [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub peers: Vec<Contestant>,
    /// The loads
    /// [default: 1-1-16,1-1-1k,1-1-64k,1-8-16,1-8-1k,1-8-16k,4-4-64,trip-64,many-1000]
    #[arg(long, value_name = "LOADS", value_delimiter = ',')]
    pub loads: Vec<Load>,
    /// Length of each measured window
    #[arg(long, default_value_t = DEFAULT_SECONDS, value_name = "S")]
    pub seconds: f64,
    /// Runs of each load and peer
    #[arg(long, default_value_t = DEFAULT_REPEATS, value_name = "N")]
    pub repeats: usize,
    /// Write the result to this file too, for `report` and `diff`
    #[arg(short, long, value_name = "FILE.json")]
    pub out: Option<PathBuf>,
    /// Arguments about how the broker is run, and how results are printed.
    #[command(flatten)]
    pub common: Common,
}

impl CompareArgs {
    /// Checks the numbers.
    pub fn check(&self) -> Result<()> {
        check_seconds("--seconds", self.seconds)?;
        within("--repeats", self.repeats, 1, MAX_REPEATS)?;
        for (index, load) in self.loads.iter().enumerate() {
            ensure!(!self.loads[..index].contains(load), "--loads names {} twice", load.name());
        }
        Ok(())
    }

    /// Returns the contestants, each once, our two first.
    pub fn contestants(&self) -> Vec<Contestant> {
        let asked = if self.peers.is_empty() { &Contestant::ALL[..] } else { &self.peers };
        let mut all = vec![Contestant::Shared, Contestant::Sockets];
        for contestant in asked {
            if !all.contains(contestant) {
                all.push(*contestant);
            }
        }
        all
    }

    /// Returns the loads that are asked for.
    pub fn loads(&self) -> Vec<Load> {
        if self.loads.is_empty() { Load::defaults() } else { self.loads.clone() }
    }
}
