//! Shortage of disk, descriptors and memory; and other settings.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::super::crew::Victim;
use super::super::machine::{ended, signal, spawn};
use super::super::plan::{CHANNEL, Order, PATTERN, VictimPlan};
use super::super::site::MAX_MEMORY;
use super::{Stage, sleep};
use crate::usage::Usage;

/// Descriptors that a broker is left.
const SPARE_DESCRIPTORS: u64 = 24;
/// Clients that are more than have room.
const TOO_MANY: u32 = 64;
/// Clients that do not read, and bytes to each: more than all memory, and no queue is full.
const HOARDERS: u32 = 40;
const HOARD_BYTES: u64 = 3 << 20;
/// Bytes beyond the limit that are counted only once they are there.
const OVER: u64 = 8 << 20;
const POLL: Duration = Duration::from_millis(20);
/// Time in which a broker must have let go of what clients that are gone made it keep.
const GIVEN_BACK: Duration = Duration::from_secs(10);

impl Stage<'_> {
    /// Changes the configuration back and forth, and once to one that is wrong.
    pub(super) fn reload(&mut self) -> Result<()> {
        self.site.configure(self.machine, "max-queue = \"plenty\"")?;
        let machine = &self.site.machines[self.machine];
        let wrong = machine.command(&["reload"])?;
        let words = String::from_utf8_lossy(&wrong.stderr).into_owned();
        if wrong.status.success() || !words.contains(".toml:") {
            self.fault(format!("a wrong configuration was not refused by its place: {words}"));
        }
        let noise_rate = 1000 + self.drawn_below(1000) as u32;
        let (max_queue_mib, log) =
            if self.drawn_below(2) == 0 { (4, "info") } else { (5, "warn,netcluster=info") };
        let settings = self.site.settings();
        settings.noise_rate = noise_rate;
        settings.max_queue_mib = max_queue_mib;
        settings.log = log.into();
        self.site.configure(self.machine, "")?;
        let right = self.site.machines[self.machine].command(&["reload"])?;
        if !right.status.success() {
            let words = String::from_utf8_lossy(&right.stderr).into_owned();
            self.fault(format!("a right configuration was refused: {words}"));
        }
        self.healed();
        self.note(format!("max-queue {max_queue_mib} MiB, rate {noise_rate}"));
        Ok(())
    }

    /// Records to a disk that is soon full: the recorder must end and say why.
    pub(super) fn full_recording(&mut self) -> Result<()> {
        let directory = self.site.root.join("small");
        fs::create_dir_all(&directory)?;
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs -o size=512k netcluster \"$0\" && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script]).arg(&directory);
        command.arg(self.program).arg("record").arg(directory.join("full.mcap"));
        command.args(["--events", PATTERN, "--channel", CHANNEL, "--socket"]);
        command.arg(&self.site.machines[self.machine].socket);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let start = Instant::now();
        let mut child = spawn(self.site.network.as_ref(), self.machine, &mut command)
            .context("cannot start a recorder")?;
        let mut stderr = child.stderr.take().expect("it is a pipe");
        let reader = thread::spawn(move || std::io::read_to_string(&mut stderr));
        let status = ended(child)?;
        let words = reader.join().expect("it reads")?;
        if status.code() != Some(1) || !words.contains("No space left") {
            self.fault(format!("a recorder whose disk is full ended with {status}: {words}"));
        }
        self.healed();
        self.note(format!("full after {} ms", start.elapsed().as_millis()));
        Ok(())
    }

    /// Restarts the broker while nothing can be written beside its socket.
    pub(super) fn full_directory(&mut self) -> Result<()> {
        let directory = self.site.directory.as_ref().context("there is no directory to fill")?;
        let filler = directory.fill()?;
        self.site.machines[self.machine].stop()?;
        let started = self.site.start(self.machine);
        fs::remove_file(filler)?;
        match started {
            Ok(()) => self.note("it restarted"),
            Err(error) => {
                self.fault(format!("it did not start: {error:#}"));
                self.site.start(self.machine)?;
            }
        }
        self.healed();
        self.site.wait_until_linked()
    }

    /// Leaves the broker no descriptors: who is there stays, who comes is refused, and later
    /// comers are let in.
    pub(super) fn descriptors(&mut self) -> Result<()> {
        let pid = self.broker()?;
        let used = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let few = Rlimit {
            current: Some(used + SPARE_DESCRIPTORS),
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        let usual = prlimit(process, Resource::Nofile, few)?;
        let filled = self.crew.crowd(self.machine, &Order::Fill(TOO_MANY));
        prlimit(process, Resource::Nofile, usual)?;
        let (connected, refused) = filled?;
        match refused {
            Some(why) => self.note(format!("{connected} came in, then: {why}")),
            None => self.fault(format!("{connected} came in with {SPARE_DESCRIPTORS} descriptors")),
        }
        let (later, why) = self.crew.crowd(self.machine, &Order::Churn(4))?;
        if later < 4 {
            self.fault(format!("later comers are not let in: {}", why.unwrap_or_default()));
        }
        self.healed();
        Ok(())
    }

    /// Makes clients that do not read hoard all memory that the broker may keep: it keeps to
    /// its limit, and gives all back.
    pub(super) fn memory(&mut self) -> Result<()> {
        let patterns = (0..HOARDERS).map(|number| format!("flood.{number}")).collect();
        let shares_memory = self.drawn_below(2) == 0;
        let plan = VictimPlan { patterns, shares_memory, ..self.victim() };
        let mut victim = Victim::start(self.site, self.machine, plan)?;
        let pid = self.broker()?;
        let before_kib = Usage::of(pid).rss_bytes >> 10;
        signal(victim.pid(), Signal::STOP)?;
        let (most, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let machine = self.site.machines[self.machine].socket.clone();
        let flooded = thread::scope(|scope| {
            scope.spawn(|| watch_memory(&machine, &most, &is_over));
            let flood = Order::Flood { clients: HOARDERS, bytes: HOARD_BYTES };
            let flooded = self.crew.crowd(self.machine, &flood);
            is_over.store(true, Ordering::Relaxed);
            flooded
        });
        let (_, refused) = flooded?;
        victim.kill();
        self.healed();
        let (most, peak_kib) = (most.into_inner(), Usage::of(pid).peak_rss_bytes >> 10);
        if most > MAX_MEMORY + OVER {
            self.fault(format!("{most} bytes are kept, the limit is {MAX_MEMORY}"));
        }
        if let Some(why) = refused {
            self.fault(format!("who emitted failed: {why}"));
        }
        let deadline = Instant::now() + GIVEN_BACK;
        let mut left = self.queues()?;
        while left > OVER && Instant::now() < deadline {
            sleep(POLL);
            left = self.queues()?;
        }
        if left > OVER {
            self.fault(format!("{left} bytes are still kept in queues"));
        }
        self.note(format!(
            "{} MiB kept of {}; RSS {} MiB, then {} at the most",
            most >> 20,
            MAX_MEMORY >> 20,
            before_kib >> 10,
            peak_kib >> 10
        ));
        Ok(())
    }

    fn queues(&self) -> Result<u64> {
        let status = self.site.machines[self.machine].status()?;
        Ok(status["memory"]["queues_bytes"].as_u64().unwrap_or_default())
    }
}

/// Looks how much memory a broker keeps, until it is over.
fn watch_memory(socket: &std::path::Path, most: &AtomicU64, is_over: &AtomicBool) {
    let client = netcluster_client::Client::builder().channel("status").connect(socket);
    let Ok(client) = client else { return };
    while !is_over.load(Ordering::Relaxed) {
        let status = client.status().ok();
        let status: Option<serde_json::Value> =
            status.and_then(|text| serde_json::from_str(&text).ok());
        let used = status.and_then(|status| status["memory"]["used_bytes"].as_u64());
        most.fetch_max(used.unwrap_or_default(), Ordering::Relaxed);
        thread::sleep(POLL);
    }
}
