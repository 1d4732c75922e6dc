//! What was told during a run: ticks and totals of each process, readings of each
//! broker, and what became of each machine.

use std::collections::{BTreeMap, BTreeSet};

use super::clocks::Offset;
use crate::agent::message::Reading;
use crate::delivery_check::Emitted;
use crate::play::plan::{Heard, Note, Tick};
use crate::scenario::assignment::{Assignment, Kind, Role};

/// A run as it was told.
#[derive(Debug)]
pub struct Record {
    /// By machine.
    pub machines: Vec<MachineRecord>,
    /// By role of the assignment.
    pub roles: Vec<RoleRecord>,
    /// What was emitted, of all who told.
    pub emitted: Vec<Emitted>,
    /// What a reader of the result must know.
    pub notes: Vec<String>,
    /// Whether it ran to its end with all machines.
    pub complete: bool,
    /// When it began, by the calendar.
    pub started_unix_ms: u64,
    /// When it ended, after it began.
    pub ended_ms: u64,
}

/// What became of a machine.
#[derive(Debug, Default)]
pub struct MachineRecord {
    /// When the run began, by its clock.
    pub began_ns: u64,
    /// Its clock.
    pub offset: Offset,
    /// What its broker cost, over time.
    pub readings: Vec<Reading>,
    /// What its broker counted.
    pub counters: BTreeMap<String, u64>,
    /// Its broker's release and back end.
    pub broker: Option<(String, String)>,
    /// Whether it took part to the end.
    pub complete: bool,
    /// Whether nothing more will be told from there.
    pub is_gone: bool,
}

/// What a role on a machine told.
#[derive(Debug, Default)]
pub struct RoleRecord {
    /// By process.
    pub ticks: BTreeMap<usize, Vec<Tick>>,
    /// Processes that will not tell any more what they emitted.
    done_emitting: BTreeSet<usize>,
    /// Processes that will not tell any more what they heard.
    done_hearing: BTreeSet<usize>,
    /// Bytes of what was emitted.
    pub emitted_bytes: u64,
    /// Events that were emitted, as far as it was told.
    pub emitted: u64,
    /// Times a client refused an event.
    pub refused: u64,
    /// What was heard.
    pub heard: Heard,
}

impl Record {
    /// Nothing told yet.
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

    /// Something that the result must tell.
    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// It did not run to its end.
    pub fn broke_off(&mut self, why: String) {
        self.complete = false;
        self.note(why);
    }

    /// Takes what a process says.
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

    /// A process has ended before its time: nothing more will be told by it.
    pub fn lose(&mut self, role: usize, process: usize) {
        let Some(of) = self.roles.get_mut(role) else { return };
        of.done_emitting.insert(process);
        of.done_hearing.insert(process);
    }

    /// Whether all who emit and are still here have told what they did.
    pub fn has_emitted(&self, assignment: &Assignment) -> bool {
        assignment.roles.iter().zip(&self.roles).all(|(role, of)| {
            let emits = matches!(role.kind, Kind::Emitter | Kind::Churn);
            !emits || self.is_gone(role) || of.done_emitting.len() >= role.parts.len()
        })
    }

    /// Whether all who are still here have told what they heard.
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
