//! Record of what was told during a run: ticks and totals of each process, readings of
//! each broker, and what became of each machine.

use std::collections::{BTreeMap, BTreeSet};

use super::clocks::Offset;
use crate::agent::message::Reading;
use crate::delivery_check::Emitted;
use crate::play::plan::{Heard, Note, Tick};
use crate::scenario::assignment::{Assignment, Kind, Role};

/// Record of a run.
#[derive(Debug)]
pub struct Record {
    /// Records of the machines.
    pub machines: Vec<MachineRecord>,
    /// Records by role of the assignment.
    pub roles: Vec<RoleRecord>,
    /// Events that were emitted, of all processes that told.
    pub emitted: Vec<Emitted>,
    /// Notes that a reader of the result must know.
    pub notes: Vec<String>,
    /// Whether the run went to its end with all machines.
    pub complete: bool,
    /// Time at which the run began, by the calendar.
    pub started_unix_ms: u64,
    /// Time at which the run ended, after its begin.
    pub ended_ms: u64,
}

/// Record of a machine.
#[derive(Debug, Default)]
pub struct MachineRecord {
    /// Time at which the run began, by the machine's clock.
    pub began_ns: u64,
    /// Distance of the machine's clock.
    pub offset: Offset,
    /// Cost of the machine's broker, over time.
    pub readings: Vec<Reading>,
    /// Counters of the machine's broker.
    pub counters: BTreeMap<String, u64>,
    /// Release and back end of the machine's broker.
    pub broker: Option<(String, String)>,
    /// Whether the machine took part to the end.
    pub complete: bool,
    /// Whether the machine is gone and tells nothing more.
    pub is_gone: bool,
}

/// Record of a role on a machine.
#[derive(Debug, Default)]
pub struct RoleRecord {
    /// Ticks by process.
    pub ticks: BTreeMap<usize, Vec<Tick>>,
    /// Processes that will not tell any more what they emitted.
    done_emitting: BTreeSet<usize>,
    /// Processes that will not tell any more what they heard.
    done_hearing: BTreeSet<usize>,
    /// Bytes of the events that were emitted.
    pub emitted_bytes: u64,
    /// Events that were emitted, as far as it was told.
    pub emitted: u64,
    /// Times a client refused an event.
    pub refused: u64,
    /// Events that were heard.
    pub heard: Heard,
}

impl Record {
    /// Begins a record of which nothing is told yet.
    pub fn new(assignment: &Assignment, machines: usize) -> Record {
        let machine = || MachineRecord { complete: true, ..MachineRecord::default() };
        Record {
            machines: (0..machines).map(|_| machine()).collect(),
            roles: assignment.roles.iter().map(|_| RoleRecord::default()).collect(),
            emitted: Vec::new(),
            notes: Vec::new(),
            complete: true,
            started_unix_ms: 0,
            ended_ms: 0,
        }
    }

    /// Adds a note that the result must tell.
    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Notes that the run did not go to its end, and why.
    pub fn broke_off(&mut self, why: String) {
        self.complete = false;
        self.note(why);
    }

    /// Takes what a process tells.
    pub fn take(&mut self, role: usize, process: usize, note: Note) {
        // What a role that is not there says is not from one of ours.
        let Some(of) = self.roles.get_mut(role) else { return };
        match note {
            Note::Tick(tick) => of.ticks.entry(process).or_default().push(tick),
            Note::Emitted { totals, bytes, refused } => {
                of.done_emitting.insert(process);
                of.emitted_bytes += bytes;
                of.emitted += totals.iter().map(|total| total.count).sum::<u64>();
                of.refused += refused;
                self.emitted.extend(totals);
            }
            Note::Heard(heard) => {
                of.done_hearing.insert(process);
                of.heard.add(&heard);
            }
        }
    }

    /// Notes that a process has ended before its time: it tells nothing more.
    pub fn lose(&mut self, role: usize, process: usize) {
        let Some(of) = self.roles.get_mut(role) else { return };
        of.done_emitting.insert(process);
        of.done_hearing.insert(process);
    }

    /// Returns whether all processes that emit and are still here have told what they
    /// did.
    pub fn has_emitted(&self, assignment: &Assignment) -> bool {
        assignment.roles.iter().zip(&self.roles).all(|(role, of)| {
            let emits = matches!(role.kind, Kind::Emitter | Kind::Churn);
            !emits || self.is_gone(role) || of.done_emitting.len() >= role.parts.len()
        })
    }

    /// Returns whether all processes that are still here have told what they heard.
    pub fn has_heard(&self, assignment: &Assignment) -> bool {
        assignment
            .roles
            .iter()
            .zip(&self.roles)
            .all(|(role, of)| self.is_gone(role) || of.done_hearing.len() >= role.parts.len())
    }

    fn is_gone(&self, role: &Role) -> bool {
        self.machines[role.machine].is_gone
    }
}
