use super::*;
use crate::result::{
    Cell, CompareResult, Latency, LatencyKind, LoadInfo, PeerInfo, RoleKind, RoleTotals, RunResult,
    Series, metric,
};

const OFFERED: &str = "offered as fast as it goes → 2 k events/s";

fn run(rate: f64, slower: u64, lost: u64) -> ResultFile {
    let machine = MachineInfo { name: "a".into(), kernel: "6.1".into(), ..MachineInfo::default() };
    let buckets = (1..=1000).map(|at| (at * 100 + slower, 10)).collect();
    ResultFile::Run(Box::new(RunResult {
        seconds: 10.0,
        machines: vec![machine],
        roles: vec![RoleTotals {
            name: "tap".into(),
            machine: "a".into(),
            kind: RoleKind::Listener,
            channel: "c".into(),
            processes: 1,
            emitted: 0,
            delivered: (rate * 10.0) as u64,
            bytes: 0,
            lost,
            duplicated: 0,
            disordered: 0,
            corrupt: 0,
        }],
        series: vec![Series {
            role: "tap".into(),
            machine: "a".into(),
            metric: metric::DELIVERED.0.into(),
            unit: metric::DELIVERED.1.into(),
            at_ms: (1..=100).map(|at| at * 100).collect(),
            values: (0..100).map(|at| rate * (1.0 + f64::from(at % 10 - 5) / 100.0)).collect(),
        }],
        latencies: vec![Latency::of_buckets("tap", "a", LatencyKind::RoundTrip, 0, buckets)],
        ..RunResult::default()
    }))
}

#[test]
fn a_result_does_not_differ_from_itself() {
    let run = run(1e6, 0, 3);
    let diff = diff(&run, &run).unwrap();
    assert!(!diff.is_worse() && diff.conditions.is_empty());
    assert!(diff.changes.len() > 5);
    assert!(diff.changes.iter().all(|change| change.verdict == Verdict::Noise), "{diff:#?}");
}

#[test]
fn what_is_worse_and_what_is_better_is_told_with_the_change() {
    let diff = diff(&run(1e6, 0, 0), &run(0.7e6, 60_000, 5)).unwrap();
    assert!(diff.is_worse());
    let text = diff.text();
    for part in [
        "Worse:\n  tap on a: delivered_events  995 k events/s",
        "−30 %",
        "tap on a: round trip p50  50 µs",
        "+120 %",
        "tap on a: lost  0 → 0.714 per million",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let back = super::diff(&run(0.7e6, 60_000, 5), &run(1e6, 0, 0)).unwrap();
    assert!(!back.is_worse() && back.text().contains("Better:\n"));
}

#[test]
fn a_percentile_that_wavers_within_a_run_may_differ_between_runs() {
    let slower = |by: u64, wavers: f64| {
        let ResultFile::Run(mut run) = run(1e6, by, 0) else { unreachable!("it is a run") };
        run.series.push(Series {
            metric: metric::P99.0.into(),
            values: (0..100).map(|at| if at / 5 % 2 == 0 { 1e5 } else { 1e5 * wavers }).collect(),
            ..run.series[0].clone()
        });
        ResultFile::Run(run)
    };
    let steady = diff(&slower(0, 1.0), &slower(20_000, 1.0)).unwrap();
    assert!(steady.is_worse());
    let wavering = diff(&slower(0, 3.0), &slower(20_000, 3.0)).unwrap();
    assert!(!wavering.is_worse(), "{}", wavering.text());
}

#[test]
fn other_conditions_are_told() {
    let before = run(1e6, 0, 0);
    let ResultFile::Run(mut after) = before.clone() else { unreachable!("it is a run") };
    after.machines[0].kernel = "6.5".into();
    after.scenario.name = "other".into();
    after.offered_per_s = Some(2000.0);
    after.scenario.arguments = vec!["--loss 1".into()];
    after.complete = false;
    let text = diff(&before, &ResultFile::Run(after)).unwrap().text();
    for part in [
        "a: kernel 6.1 → 6.5",
        "→ other",
        "after is not complete",
        OFFERED,
        "arguments none → --loss 1",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_comparison_is_compared_cell_by_cell() {
    let with_runs = |median: f64, peer: &str, runs| {
        let cell = Cell {
            peer: peer.into(),
            load: "1→1".into(),
            metric: "delivered_events".into(),
            unit: "events/s".into(),
            higher_is_better: true,
            median,
            low: median * 0.98,
            high: median * 1.02,
            runs,
            lost: 0,
        };
        ResultFile::Compare(Box::new(CompareResult {
            loads: vec![LoadInfo { name: "1→1".into(), what: String::new() }],
            peers: vec![PeerInfo { name: peer.into(), ..PeerInfo::default() }],
            cells: vec![cell],
            ..CompareResult::default()
        }))
    };
    let with = |median, peer| with_runs(median, peer, 7);
    let diff = super::diff(&with(1e6, "p"), &with(2e6, "p")).unwrap();
    assert!(diff.text().contains("+100 %"), "{}", diff.text());
    let others = super::diff(&with(1e6, "p"), &with(1e6, "q")).unwrap();
    assert!(others.changes.is_empty());
    assert_eq!((others.only_before.len(), others.only_after.len()), (2, 2));
    assert!(super::diff(&with(1e6, "p"), &run(1e6, 0, 0)).is_err());
    let few = super::diff(&with_runs(1e6, "p", 3), &with_runs(2e6, "p", 3)).unwrap();
    assert!(few.changes.is_empty() && few.text().contains("fewer than 4 runs"), "{few:?}");
}
