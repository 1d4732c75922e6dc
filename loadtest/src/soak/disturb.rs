//! Carrying out a disturbance, and looking whether it had the effect that it should.
//!
//! - `brokers`: what becomes of a broker: killed, restarted, succeeded, stopped.
//! - `clients`: what clients do, and what is done to them.
//! - `shortage`: no disk, no descriptors, no memory; other settings.
//! - `network`: what happens between machines.

mod brokers;
mod clients;
mod network;
mod shortage;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::crew::Crew;
use super::disturbance::{Card, Kind, below};
use super::site::Site;
use crate::clock;
use crate::interrupt;
use crate::scenario::schedule::Random;

/// Effect of a disturbance that is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Time at which everything was as it should be again.
    pub healed_ns: u64,
    /// Deed, in a few words.
    pub note: String,
    /// Faults: everything that was not as it should have been.
    pub faults: Vec<String>,
}

/// Everything that a disturbance needs.
#[derive(Debug)]
pub struct Stage<'a> {
    pub site: &'a mut Site,
    pub crew: &'a mut Crew,
    pub program: &'a Path,
    /// Length of disturbances, of the longest.
    pub scale: f64,
    machine: usize,
    random: Random,
    effect: Effect,
}

impl<'a> Stage<'a> {
    /// Makes a stage on which one disturbance is carried out.
    pub fn new(
        site: &'a mut Site,
        crew: &'a mut Crew,
        program: &'a Path,
        scale: f64,
        card: Card,
    ) -> Stage<'a> {
        let (random, effect) = (Random::new(card.seed), Effect::default());
        Stage { site, crew, program, scale, machine: card.machine, random, effect }
    }

    /// Carries out a disturbance to its end.
    ///
    /// # Errors
    /// If the run cannot go on.
    pub fn carry_out(mut self, kind: Kind) -> Result<Effect> {
        match kind {
            Kind::Churn => self.churn()?,
            Kind::KillClients => self.kill_clients()?,
            Kind::StopReader => self.stop_reader()?,
            Kind::StopListeners => self.stop_listeners()?,
            Kind::Kick => self.kick()?,
            Kind::KillBroker => self.kill_broker()?,
            Kind::RestartBroker => self.restart_broker()?,
            Kind::Takeover => self.take_over()?,
            Kind::StopBroker => self.stop_broker()?,
            Kind::Blink => self.pull_cable(0.1, false)?,
            Kind::Partition => self.pull_cable(6.0, true)?,
            Kind::PacketLoss => self.lose_packets()?,
            Kind::Reload => self.reload()?,
            Kind::FullRecording => self.full_recording()?,
            Kind::FullDirectory => self.full_directory()?,
            Kind::Descriptors => self.descriptors()?,
            Kind::Memory => self.memory()?,
        }
        if self.effect.healed_ns == 0 {
            self.healed();
        }
        Ok(self.effect)
    }

    /// Notes that everything is as it should be from now on.
    fn healed(&mut self) {
        self.effect.healed_ns = clock::now_ns();
    }

    fn note(&mut self, note: impl Into<String>) {
        self.effect.note = note.into();
    }

    fn fault(&mut self, fault: impl Into<String>) {
        self.effect.faults.push(fault.into());
    }

    /// Draws a duration, from and to so many seconds in full, less in short runs.
    fn drawn(&mut self, from: f64, to: f64) -> Duration {
        let seconds = from + self.random.unit() * (to - from);
        Duration::from_secs_f64(from.max(seconds * self.scale))
    }

    fn drawn_below(&mut self, bound: usize) -> usize {
        below(&mut self.random, bound)
    }
}

/// Sleeps, or less if the user wants an end.
fn sleep(duration: Duration) {
    interrupt::sleep(duration);
}
