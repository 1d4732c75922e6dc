//! Results such as `run` and `compare` would write, the same each time.

use std::collections::BTreeMap;

use netcluster_loadtest::result::{
    Capacity, CapacityStep, Cell, CompareResult, Latency, LatencyKind, LoadInfo, MachineInfo,
    PeerInfo, Phase, ResultFile, RoleKind, RoleTotals, RunResult, ScenarioInfo, Series, metric,
};

const SCENARIO: &str = r#"# Sensors of three machines, one place that takes all in.
name = "telemetry-fan-in"
seconds = 30

[[machine]]
name = "north"

[[role]]
name = "sensors"
kind = "emitter"
machines = ["north", "south", "west"]
payload = { log_normal = { median = 256, sigma = 0.6 } }
rate = { poisson = 100_000 }
"#;
const LOADS: [(&str, &str); 7] = [
    ("1→1 16 B", "One emitter, one listener, payloads of 16 bytes"),
    ("1→1 1 KB", "One emitter, one listener, payloads of 1 KB"),
    ("1→1 64 KB", "One emitter, one listener, payloads of 64 KB"),
    ("1→8 16 B", "One emitter, eight listeners, payloads of 16 bytes"),
    ("1→8 1 KB", "One emitter, eight listeners, payloads of 1 KB"),
    ("4→4 64 B", "Four emitters, four listeners, payloads of 64 bytes"),
    (MANY, "A thousand listening connections, each to an event of its own"),
];
const MANY: &str = "1,000 connections";
/// Peers that can be measured with many connections: M events/s, and MB of memory.
const ON_MANY: [(&str, f64, f64); 3] =
    [("netcluster (sockets)", 1.73, 12.0), ("nats", 0.23, 45.0), ("mosquitto", 0.12, 9.0)];
/// Peers with M events/s under each load, and µs of a round trip.
const PEERS: [(&str, &str, [f64; 6], f64); 6] = [
    ("netcluster (sockets)", "unix socket", [48.1, 2.21, 0.044, 101.0, 3.9, 38.0], 66.0),
    ("relay", "unix socket", [50.4, 2.39, 0.046, 121.0, 4.25, 43.0], 65.0),
    ("nats", "TCP", [3.31, 0.577, 0.006, 8.07, 0.699, 2.99], 148.0),
    ("redis", "unix socket", [1.76, 0.934, 0.034, 6.09, 1.55, 1.75], 76.0),
    ("zeromq", "unix socket", [2.48, 0.313, 0.014, 4.47, 0.495, 1.04], 216.0),
    ("mosquitto", "TCP", [0.134, 0.126, 0.038, 0.127, 0.141, 0.117], 81.0),
];

/// Script that a careless page would run.
pub const HOSTILE: &str = "</title></script><script>document.title='owned'</script>\
                           <img src=x onerror=\"document.title='owned'\">";

/// Source of numbers that look random.
struct Dice(u64);

impl Dice {
    /// Draws a number from 0 to 1.
    fn roll(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn machine(name: &str) -> MachineInfo {
    MachineInfo {
        name: name.into(),
        address: format!("192.0.2.{}:7400", name.len()),
        os: "Debian GNU/Linux 12 (bookworm)".into(),
        kernel: "6.1.0-28-amd64".into(),
        cpu: "AMD EPYC 7B13 64-Core Processor".into(),
        cores: 2,
        versions: BTreeMap::from([
            ("netcluster".into(), "0.1.0".into()),
            ("netcluster-loadtest".into(), "0.1.0".into()),
        ]),
        clock_offset_ns: if name == "north" { 0 } else { -1_234_567 },
        clock_error_ns: if name == "north" { 0 } else { 18_000 },
        complete: true,
    }
}

fn role(name: &str, machine: &str, kind: RoleKind, events: u64) -> RoleTotals {
    let is_emitter = kind == RoleKind::Emitter;
    RoleTotals {
        name: name.into(),
        machine: machine.into(),
        kind,
        channel: "telemetry".into(),
        processes: if is_emitter { 4 } else { 1 },
        emitted: if is_emitter { events } else { 0 },
        delivered: if is_emitter { 0 } else { events },
        bytes: events * 256,
        lost: 0,
        duplicated: 0,
        disordered: 0,
        corrupt: 0,
    }
}

fn series(role: &str, machine: &str, metric: metric::Metric, level: f64, seed: u64) -> Series {
    let mut dice = Dice(seed);
    let value = |at: u64| {
        let ramp = (at as f64 / 40.0).min(1.0);
        let repair = if (150..165).contains(&at) { 0.4 } else { 1.0 };
        level * ramp * repair
    };
    let at_ms: Vec<u64> = (1..=300).map(|at| at * 100).collect();
    let values = (1..=300).map(|at| value(at) * (0.95 + 0.1 * dice.roll()));
    let mut values: Vec<f64> = values.collect();
    if machine == "south" {
        values[200..212].fill(f64::NAN);
    }
    Series {
        role: role.into(),
        machine: machine.into(),
        metric: metric.0.into(),
        unit: metric.1.into(),
        at_ms,
        values,
    }
}

fn latency(role: &str, machine: &str, kind: LatencyKind, typical_ns: f64, seed: u64) -> Latency {
    let mut dice = Dice(seed);
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for _ in 0..200_000 {
        let sum = (0..6).map(|_| dice.roll()).sum::<f64>() / 3.0 - 1.0;
        let tail = if dice.roll() < 0.01 { 1.0 + 12.0 * dice.roll().powi(3) } else { 1.0 };
        let ns = typical_ns * (1.0 + 0.45 * sum) * tail;
        let digits = 10f64.powf(ns.log10().floor() - 2.0);
        *counts.entry(((ns / digits).round() * digits) as u64).or_default() += 1;
    }
    let error_ns = if kind == LatencyKind::OneWay { 18_000 } else { 0 };
    Latency::of_buckets(role, machine, kind, error_ns, counts.into_iter().collect())
}

/// Makes a run of three machines.
pub fn run() -> RunResult {
    let machines = ["north", "south", "west"];
    let mut roles = Vec::new();
    let mut all = Vec::new();
    let mut counters = BTreeMap::new();
    for (at, name) in machines.into_iter().enumerate() {
        let seed = at as u64 * 100;
        let level = 1.25e6 - 2e5 * at as f64;
        roles.push(role("sensors", name, RoleKind::Emitter, 12_400_000 + seed));
        roles.push(role("intake", name, RoleKind::Listener, 37_200_300));
        roles.push(role("broker", name, RoleKind::Broker, 0));
        all.push(series("intake", name, metric::DELIVERED, level, seed + 1));
        all.push(series("intake", name, metric::DELIVERED_BYTES, level * 256.0, seed + 2));
        all.push(series("broker", name, metric::CPU, 0.6 + 0.2 * at as f64, seed + 3));
        all.push(series("broker", name, metric::RSS, 12e6 + 1e6 * at as f64, seed + 4));
        let of = [("link_naks", 1_204), ("link_repairs", 1_188), ("kernel_drops", 0)];
        let of = of.map(|(name, count)| (name.to_owned(), count * (at as u64 + 1)));
        counters.insert(name.to_owned(), BTreeMap::from(of));
    }
    roles[1].lost = 12;
    let step = |rate_per_s: f64, p99_us: f64, holds| CapacityStep {
        rate_per_s,
        seconds: 3.0,
        whole: false,
        delivered_per_s: rate_per_s * 3.0,
        p50_us: p99_us / 3.0,
        p99_us,
        clean: holds,
        holds,
    };
    RunResult {
        notes: vec!["loss of 1 % between the machines was asked for".into()],
        started_unix_ms: 1_790_000_000_000,
        seconds: 30.0,
        scenario: ScenarioInfo {
            name: "telemetry-fan-in".into(),
            toml: SCENARIO.into(),
            arguments: vec!["--loss 1".into()],
        },
        machines: machines.map(machine).to_vec(),
        roles,
        series: all,
        latencies: vec![
            latency("intake", "south", LatencyKind::OneWay, 130_000.0, 7),
            latency("intake", "west", LatencyKind::OneWay, 180_000.0, 8),
            latency("pinger", "north", LatencyKind::RoundTrip, 65_000.0, 9),
        ],
        offered_per_s: Some(276_250.0),
        counters,
        phases: vec![
            Phase { name: "ramp".into(), from_ms: 0, to_ms: 4_000 },
            Phase { name: "steady".into(), from_ms: 4_000, to_ms: 15_000 },
            Phase { name: "partition of west".into(), from_ms: 15_000, to_ms: 16_500 },
            Phase { name: "recovery".into(), from_ms: 16_500, to_ms: 30_000 },
        ],
        capacity: Some(Capacity {
            goal_p99_us: 500.0,
            steps: vec![
                step(50_000.0, 110.0, true),
                step(100_000.0, 140.0, true),
                step(200_000.0, 210.0, true),
                step(400_000.0, 2_900.0, false),
                step(300_000.0, 380.0, true),
                step(350_000.0, 820.0, false),
                step(325_000.0, 470.0, true),
                CapacityStep { seconds: 30.0, whole: true, ..step(325_000.0, 900.0, false) },
                CapacityStep { seconds: 30.0, whole: true, ..step(276_250.0, 480.0, true) },
            ],
            found_per_s: Some(276_250.0),
        }),
        ..RunResult::default()
    }
}

/// Makes a run of the same machines and numbers, with names that are no names.
pub fn hostile() -> RunResult {
    let mut run = run();
    run.scenario = ScenarioInfo {
        name: HOSTILE.into(),
        toml: HOSTILE.into(),
        arguments: vec![HOSTILE.into()],
    };
    run.notes = vec![HOSTILE.into()];
    run.complete = false;
    run.machines[1].name = HOSTILE.into();
    run.machines[1].kernel = HOSTILE.into();
    run.roles[1].channel = HOSTILE.into();
    run.roles[1].name = HOSTILE.into();
    run.series[0].role = HOSTILE.into();
    run.series[1].unit = HOSTILE.into();
    run.series[2].metric = HOSTILE.into();
    run.latencies[0].role = HOSTILE.into();
    run.phases[1].name = HOSTILE.into();
    run.counters.insert(HOSTILE.into(), BTreeMap::from([(HOSTILE.into(), 1)]));
    run
}

/// Makes a comparison of six brokers under six loads.
pub fn compare() -> CompareResult {
    let mut dice = Dice(5);
    let mut cells = Vec::new();
    for (peer, _, rates, round_trip) in PEERS {
        let mut cell = |load: &str, metric: &str, unit: &str, higher_is_better, median: f64| {
            let (down, up) = (0.02 + 0.15 * dice.roll(), 0.02 + 0.15 * dice.roll());
            cells.push(Cell {
                peer: peer.into(),
                load: load.into(),
                metric: metric.into(),
                unit: unit.into(),
                higher_is_better,
                median,
                low: median * (1.0 - down),
                high: median * (1.0 + up),
                runs: 7,
                lost: if peer == "zeromq" && load == "1→8 1 KB" { 1_234 } else { 0 },
            });
        };
        for ((load, _), rate) in LOADS.into_iter().zip(rates) {
            cell(load, "delivered_events", "events/s", true, rate * 1e6);
        }
        for (_, rate, memory) in ON_MANY.into_iter().filter(|(name, _, _)| *name == peer) {
            cell(MANY, "delivered_events", "events/s", true, rate * 1e6);
            cell(MANY, "broker_rss", "B", false, memory * 1e6);
        }
        cell("1→1 16 B", "round_trip_p50", "µs", false, round_trip);
        cell("1→1 16 B", "broker_cpu_per_million", "s", false, 0.4 / rates[0]);
    }
    let peer = |(name, transport, _, _): &(&str, &str, [f64; 6], f64)| PeerInfo {
        name: (*name).into(),
        version: "1.2.3".into(),
        transport: (*transport).into(),
        skipped: None,
    };
    let mut peers: Vec<PeerInfo> = PEERS.iter().map(peer).collect();
    peers.push(PeerInfo {
        name: "zenoh".into(),
        skipped: Some("no `zenohd` in PATH".into()),
        ..PeerInfo::default()
    });
    let load = |(name, what): (&str, &str)| LoadInfo { name: name.into(), what: what.into() };
    CompareResult {
        started_unix_ms: 1_790_000_000_000,
        machine: machine("north"),
        loads: LOADS.map(load).to_vec(),
        peers,
        cells,
        ..CompareResult::default()
    }
}

/// Returns the run as a file.
pub fn run_file() -> ResultFile {
    ResultFile::Run(Box::new(run()))
}

/// Returns the comparison as a file.
pub fn compare_file() -> ResultFile {
    ResultFile::Compare(Box::new(compare()))
}
