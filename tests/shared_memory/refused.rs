//! Systems, limits and clients that have no memory to share: sockets do the work, somebody is
//! told once, and nothing is left.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::common::on_sharing;
use crate::common::process::{Played, RemoteBus};
use crate::common::{Bed, connect, patterned, status_at, take, wait_until};

/// Number of `memfd_create`.
const MEMFD_CREATE: i64 = if cfg!(target_arch = "x86_64") { 319 } else { 279 };

/// Errors with which calls are refused: EPERM by containers, ENOSYS by old systems.
const REFUSALS: [u32; 2] = [1, 38];

/// Bytes that a broker may have whose memory is to run out, 96 MiB.
const LIMIT_BYTES: u64 = 96 << 20;

/// Starts a broker for which this system call fails.
fn start_refused(bed: &Bed, call: i64, errno: u32) -> RemoteBus {
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        std::env::consts::ARCH.try_into().expect("an architecture with filters"),
    );
    let program: BpfProgram =
        filter.and_then(TryInto::try_into).expect("a filter of one system call");
    // The filter is that of a thread, and of its children.
    std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            apply_filter(&program).expect("every Linux of today has filters");
            RemoteBus::start(bed)
        });
        starter.join().expect("the broker starts")
    })
}

/// Emits and hears events of all sizes, all in order.
fn exchange(path: &Path, events: u64) {
    let (emitter, listener) = (connect(path, |it| it), connect(path, |it| it));
    let heard = listener.subscribe("n").unwrap();
    for number in 0..events {
        emitter.emit("n", patterned(number, (number % 7000) as usize)).unwrap();
    }
    for number in 0..events {
        assert!(take(&heard).payload() == patterned(number, (number % 7000) as usize));
    }
}

fn warnings(bus: &RemoteBus, words: &str) -> Vec<String> {
    let log = bus.logged();
    log.lines()
        .filter(|line| line.contains(" WARN ") && line.contains(words))
        .map(Into::into)
        .collect()
}

on_sharing! {
    fn a_broker_without_memory_files_says_so_and_uses_sockets(bed) {
        for errno in REFUSALS {
            let bus = start_refused(bed, MEMFD_CREATE, errno);
            exchange(&bus.path, 2000);
            let status = status_at(&bus.path);
            assert_eq!(status.totals.shared_clients, 0);
            assert_eq!(status.memory.shared_bytes, 0);
            let note = status.shared_memory_note.expect("a reason");
            assert!(note.contains(&format!("os error {errno}")), "{note}");
            let told = warnings(&bus, "sockets are used");
            assert_eq!(told.len(), 1, "{}", bus.logged());
            assert!(told[0].contains(&note), "{told:?}");
        }
    }
}

on_sharing! {
    /// Descriptors of an offer that do not fit a client's limit are not half of an offer.
    fn a_client_without_descriptors_declines_and_uses_its_socket(bed) {
        let bus = RemoteBus::start(bed);
        let client = connect(&bus.path, |it| it);
        let answers = client.subscribe("answer").unwrap();
        let mut poor = Played::start("parts::poor", &bus.path, |_| {});
        let named = |name: &str| {
            let clients = status_at(&bus.path).clients;
            clients.into_iter().find(|it| it.name == name && it.listeners > 1)
        };
        wait_until("it listens", || named("poor").is_some());
        for number in 0..2000_u64 {
            let payload = patterned(number, (number % 5000) as usize);
            client.emit("ask", &payload).unwrap();
            assert!(take(&answers).payload() == payload);
        }
        assert_eq!(named("poor").expect("it is there").shared, None);
        assert_eq!(status_at(&bus.path).totals.shared_clients, 1, "the one that asked");
        wait_until("what it declined is gone", || regions(bus.process.id()) == 1);
        // It was for want of descriptors.
        client.emit("enough", []).unwrap();
        wait_until("it has memory", || {
            assert!(poor.0.try_wait().unwrap().is_none(), "it has noticed something");
            client.emit("ask", [0; 1000]).unwrap();
            let clients = status_at(&bus.path).clients;
            clients.iter().any(|it| it.name == "rich" && it.shared.is_some())
        });
        assert_eq!(named("poor").expect("it is there").shared, None, "it was asked once");
    }
}

/// Number of clients' memories that a process has mapped.
fn regions(process: u32) -> usize {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("it runs");
    maps.matches("memfd:netcluster-client").count()
}

on_sharing! {
    /// Only a part of the descriptors is for memory: the others can always connect.
    fn a_broker_at_its_limit_of_descriptors_still_takes_clients(bed) {
        const LIMIT: usize = 120;
        const CLIENTS: usize = 30;
        let bus = RemoteBus::start_limited(bed, LIMIT);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = connect(&bus.path, |it| it);
                let events = client.subscribe(&format!("to.{number}")).unwrap();
                (client, events)
            })
            .collect();
        let round = |number: u64| {
            for (to, (_, events)) in clients.iter().enumerate() {
                let (from, _) = &clients[(to + 1) % CLIENTS];
                from.emit(&format!("to.{to}"), patterned(number, 2000)).unwrap();
                assert!(take(events).payload() == patterned(number, 2000));
            }
        };
        for number in 0..100 {
            round(number);
        }
        let status = status_at(&bus.path);
        let sharing = status.totals.shared_clients;
        assert!((1..CLIENTS as u64 / 2).contains(&sharing), "{sharing} of {CLIENTS}");
        let more: Vec<_> = (0..20).map(|_| connect(&bus.path, |it| it)).collect();
        exchange(&bus.path, 500);
        round(0);
        assert_eq!(status_at(&bus.path).totals.refused, 0);
        drop(more);
    }
}

/// A memory control group of its own.
struct Group(PathBuf);

impl Group {
    /// Makes one below this process's; `None`, with the reason printed, where that cannot be.
    fn new(name: &str) -> Option<Group> {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let name = format!("nc-test-{}-{name}", std::process::id());
        for line in membership.lines() {
            let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else {
                continue;
            };
            let root = match controllers {
                "" => "/sys/fs/cgroup",
                _ if controllers.split(',').any(|it| it == "memory") => "/sys/fs/cgroup/memory",
                _ => continue,
            };
            // In a container the group itself may not be shown.
            for parent in [format!("{root}{path}"), root.to_owned()] {
                let group = Group(Path::new(&parent).join(&name));
                let is_made = fs::create_dir(&group.0).is_ok();
                if is_made && group.limit().is_some() {
                    return Some(group);
                }
            }
        }
        println!("SKIPPED: no memory control group can be made here");
        None
    }

    /// The files of its limit and its use.
    fn limit(&self) -> Option<(PathBuf, PathBuf)> {
        let files =
            [("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")];
        let found = files.into_iter().map(|(limit, used)| (self.0.join(limit), self.0.join(used)));
        found.into_iter().find(|(limit, _)| limit.exists())
    }

    /// Limits it to so many bytes.
    fn allow(&self, bytes: u64) {
        let (limit, _) = self.limit().expect("it has a limit");
        fs::write(limit, bytes.to_string()).expect("it can be limited");
    }

    /// Starts a broker in it.
    fn start(&self, bed: &Bed) -> RemoteBus {
        let group = self.0.display();
        let script = format!("echo $$ > {group}/cgroup.procs && exec \"$0\" \"$@\"");
        RemoteBus::start_under(bed, &["sh".into(), "-c".into(), script])
    }

    /// Leaves so many bytes beside those in use.
    fn leave(&self, bytes: u64) {
        let (_, used) = self.limit().expect("it has a limit");
        let used: u64 = fs::read_to_string(used).unwrap().trim().parse().unwrap();
        self.allow(used + bytes);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Those in it may take a moment to be gone.
        for _ in 0..1000 {
            if !self.0.exists() || fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

on_sharing! {
    /// Memory that a limit does not allow is not taken: no signal, no end.
    fn a_broker_at_its_memory_limit_says_so_and_uses_sockets(bed) {
        let Some(group) = Group::new(&format!("{:?}", bed.backend)) else { return };
        let mut bus = group.start(bed);
        group.leave(12 << 20);
        exchange(&bus.path, 3000);
        let status = status_at(&bus.path);
        assert_eq!(status.totals.shared_clients, 0);
        let told = warnings(&bus, "memory limit of this container");
        assert_eq!(told.len(), 1, "{}", bus.logged());
        assert!(bus.process.0.try_wait().unwrap().is_none(), "{}", bus.logged());
        drop(bus);
    }
}

on_sharing! {
    /// Memory that is offered while there is some, and then runs out, is not touched without
    /// being had: listeners that stand still hold all that may be held.
    fn a_broker_whose_memory_limit_is_reached_goes_on(bed) {
        let Some(group) = Group::new(&format!("full-{:?}", bed.backend)) else { return };
        group.allow(LIMIT_BYTES);
        let mut bus = group.start(bed);
        let sleepers: Vec<_> = (0..4)
            .map(|_| {
                Played::start("parts::sleeper", &bus.path, |command| {
                    command.env("NC_TEST_LATEST", "1");
                })
            })
            .collect();
        let (emitter, listener) = (connect(&bus.path, |it| it), connect(&bus.path, |it| it));
        let events = listener.subscribe("flood").unwrap();
        let mut count = 0;
        let mut flood = || {
            for _ in 0..200 {
                let payload = patterned(count, (count * 977 % 60_000) as usize);
                emitter.emit("flood", &payload).unwrap();
                assert!(take(&events).payload() == payload);
                count += 1;
            }
        };
        wait_until("some have memory", || {
            flood();
            status_at(&bus.path).totals.shared_clients >= 3
        });
        for sleeper in &sleepers {
            sleeper.stop();
        }
        wait_until("they lose", || {
            flood();
            let clients = status_at(&bus.path).clients;
            clients.iter().filter(|it| it.name == "sleeper").all(|it| it.dropped > 0)
        });
        // Less than what is needed to go on as before.
        group.leave(1 << 20);
        for _ in 0..10 {
            flood();
        }
        exchange(&bus.path, 1000);
        assert!(bus.process.0.try_wait().unwrap().is_none(), "{}", bus.logged());
        drop((sleepers, bus));
    }
}
