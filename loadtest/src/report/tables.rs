//! Tables of a run: roles, machines and their systems, counters.

use std::collections::BTreeSet;

use crate::report::html::{Entry, grouped, table};
use crate::report::series::mean;
use crate::report::units::Unit;
use crate::report::versions;
use crate::result::{MachineInfo, RoleKind, RoleTotals, RunResult, Series, metric};

/// Returns a count per second of the window; 0 if the window had no length.
pub fn rate(run: &RunResult, count: u64) -> f64 {
    if run.seconds > 0.0 { count as f64 / run.seconds } else { 0.0 }
}

/// Writes the totals of each role.
pub fn roles(out: &mut String, run: &RunResult) {
    let headings = [
        "Role",
        "Machine",
        "Kind",
        "Channel",
        "Processes",
        "Events",
        "Events/s",
        "Payload",
        "Lost",
        "Duplicated",
        "Disordered",
        "Corrupt",
    ];
    let rows = run.roles.iter().map(|role| {
        let events = events(role);
        let mut row = vec![
            Entry::text(&role.name),
            Entry::text(&role.machine),
            Entry::text(role.kind.name()),
            Entry::text(&role.channel),
            Entry::number(grouped(role.processes)),
        ];
        if role.kind == RoleKind::Broker {
            row.extend((0..7).map(|_| Entry::number("")));
            return row;
        }
        row.extend([
            Entry::number(grouped(events)),
            Entry::number(Unit::of("events/s").show(rate(run, events)).replace(" events/s", "")),
            Entry::number(Unit::of("B/s").show(rate(run, role.bytes))),
        ]);
        // Only who is given events can miss them.
        match role.kind {
            RoleKind::Listener => row.extend(faults(role).map(|(_, count)| Entry::faults(count))),
            _ => row.extend((0..4).map(|_| Entry::number(""))),
        }
        row
    });
    table(out, "Roles", &headings, &rows.collect::<Vec<_>>());
}

/// Returns the events that the role emitted or was delivered.
fn events(role: &RoleTotals) -> u64 {
    match role.kind {
        RoleKind::Emitter => role.emitted,
        _ => role.delivered,
    }
}

/// Returns the counts that must be 0, with their names.
pub fn faults(role: &RoleTotals) -> [(&'static str, u64); 4] {
    [
        ("lost", role.lost),
        ("duplicated", role.duplicated),
        ("disordered", role.disordered),
        ("corrupt", role.corrupt),
    ]
}

/// Writes what each machine did.
pub fn machines(out: &mut String, run: &RunResult) {
    let headings = [
        "Machine",
        "Emitted",
        "Delivered",
        "Payload delivered",
        "Processors, mean",
        "Memory, most",
        "Clock",
    ];
    let rows = run.machines.iter().map(|machine| {
        let mine = |kind: RoleKind, of: fn(&RoleTotals) -> u64| -> f64 {
            let roles = run.roles.iter();
            let mine = roles.filter(|role| role.machine == machine.name && role.kind == kind);
            mine.map(|role| rate(run, of(role))).sum()
        };
        let events = Unit::of("events/s");
        vec![
            Entry::text(&machine.name),
            Entry::number(events.show(mine(RoleKind::Emitter, |role| role.emitted))),
            Entry::number(events.show(mine(RoleKind::Listener, |role| role.delivered))),
            Entry::number(Unit::of("B/s").show(mine(RoleKind::Listener, |role| role.bytes))),
            Entry::number(over(run, machine, metric::CPU, mean)),
            Entry::number(over(run, machine, metric::RSS, most)),
            Entry::number(clock(machine)),
        ]
    });
    table(out, "Per machine", &headings, &rows.collect::<Vec<_>>());
}

/// Sums up a number of all roles of a machine.
fn over(
    run: &RunResult,
    machine: &MachineInfo,
    metric: metric::Metric,
    of: fn(&Series) -> f64,
) -> String {
    let (name, unit) = metric;
    let mine = |series: &&Series| {
        series.machine == machine.name && series.metric == name && series.unit == unit
    };
    let mut mine = run.series.iter().filter(mine).peekable();
    if mine.peek().is_none() {
        return String::new();
    }
    Unit::of(unit).show(mine.map(of).sum())
}

fn most(series: &Series) -> f64 {
    series.values.iter().copied().fold(0.0, f64::max)
}

fn clock(machine: &MachineInfo) -> String {
    if machine.clock_offset_ns == 0 && machine.clock_error_ns == 0 {
        return String::new();
    }
    let unit = Unit::of("ns");
    let sign = if machine.clock_offset_ns < 0 { '−' } else { '+' };
    let offset = unit.show(machine.clock_offset_ns.unsigned_abs() as f64);
    format!("{sign}{offset} ± {}", unit.show(machine.clock_error_ns as f64))
}

/// Writes what the machines are.
pub fn systems<'a>(out: &mut String, machines: impl IntoIterator<Item = &'a MachineInfo>) {
    let headings =
        ["Machine", "Address", "Processor", "Cores", "System", "Kernel", "Versions", "To the end"];
    let rows = machines.into_iter().map(|machine| {
        vec![
            Entry::text(&machine.name),
            Entry::text(&machine.address),
            Entry::text(&machine.cpu),
            Entry::number(machine.cores.to_string()),
            Entry::text(&machine.os),
            Entry::text(&machine.kernel),
            Entry::text(versions(machine)),
            Entry::text(if machine.complete { "yes" } else { "no" }),
        ]
    });
    table(out, "Machines", &headings, &rows.collect::<Vec<_>>());
}

/// Writes all counters: a row for each, a column for each machine.
pub fn counters(out: &mut String, run: &RunResult) {
    let names: BTreeSet<&String> = run.counters.values().flat_map(|of| of.keys()).collect();
    let machines: Vec<&String> = run.counters.keys().collect();
    let headings: Vec<&str> =
        ["Counter"].into_iter().chain(machines.iter().map(|name| name.as_str())).collect();
    let rows = names.into_iter().map(|name| {
        let mut row = vec![Entry::text(name)];
        row.extend(machines.iter().map(|machine| {
            let count = run.counters[*machine].get(name);
            Entry::number(count.map_or(String::new(), |count| grouped(*count)))
        }));
        row
    });
    table(out, "Counters", &headings, &rows.collect::<Vec<_>>());
}
