//! Disturbances, what each may cost, and the order in which they come.
//!
//! They come as cards of a deck that is shuffled again when it is empty: the same seed gives
//! the same order, and each comes before any comes twice.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::scenario::schedule::Random;

/// Reason that clients are kicked for.
pub const KICK_REASON: &str = "part of the soak";

/// Kind of disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Clients come, listen and go.
    Churn,
    /// Clients that listen and emit are killed.
    KillClients,
    /// A listener stands still until its broker disconnects it.
    StopReader,
    /// The listeners of the accounts stand still for a while.
    StopListeners,
    /// The clients of the accounts are kicked.
    Kick,
    /// The broker is killed and started again.
    KillBroker,
    /// The broker is restarted in order, and shares memory from then on, or does not.
    RestartBroker,
    /// Another broker takes the place of the one that runs.
    Takeover,
    /// The broker stands still for a while.
    StopBroker,
    /// A machine's cable is pulled for a moment.
    Blink,
    /// A machine's cable is pulled until the other one gives it up.
    Partition,
    /// Packets are lost.
    PacketLoss,
    /// The configuration changes, once to a wrong one.
    Reload,
    /// A recorder's disk is full.
    FullRecording,
    /// The disk of the broker's directory is full while the broker restarts.
    FullDirectory,
    /// The broker has no descriptors left.
    Descriptors,
    /// Clients that do not read make the broker keep all that it may.
    Memory,
}

impl Kind {
    /// Returns the kind's name, as it is given and shown.
    pub fn name(self) -> String {
        self.to_possible_value().expect("none is hidden").get_name().to_owned()
    }

    /// Returns whether it needs a link between machines.
    pub fn needs_network(self) -> bool {
        matches!(self, Kind::Blink | Kind::Partition | Kind::PacketLoss)
    }

    /// Returns whether it needs a file system of its own.
    pub fn needs_mounts(self) -> bool {
        matches!(self, Kind::FullRecording | Kind::FullDirectory)
    }

    /// Returns whether the broker does not live through it: it comes to the first machine
    /// alone.
    pub fn ends_broker(self) -> bool {
        use Kind::{FullDirectory, KillBroker, RestartBroker, Takeover};
        matches!(self, KillBroker | RestartBroker | Takeover | FullDirectory)
    }

    /// Returns whether clients are told of an error, of which this is the reason.
    pub fn explains(self, error: &str) -> bool {
        self == Kind::Kick && error.contains(KICK_REASON)
    }

    /// Returns whether events from a machine to a listener of another one, or the same, may be
    /// missing, if that is told, when this comes to the machine `at`. All else loses nothing, but
    /// for who listens as `latest`: nobody waits for it, so it may miss events whenever it, or
    /// the machine that all of it runs on, stands still for a moment.
    pub fn may_lose(self, at: usize, from: usize, to: usize, is_latest: bool) -> bool {
        let touches = from == at || to == at;
        let crosses = from != to;
        match self {
            _ if is_latest => true,
            Kind::KillBroker | Kind::FullDirectory | Kind::Kick => touches,
            Kind::RestartBroker | Kind::Takeover | Kind::StopBroker | Kind::Partition => crosses,
            // Full queues miss what comes from other machines, and nobody waits for them.
            Kind::StopListeners | Kind::Memory => crosses && to == at,
            Kind::Churn
            | Kind::KillClients
            | Kind::StopReader
            | Kind::Blink
            | Kind::PacketLoss
            | Kind::Reload
            | Kind::FullRecording
            | Kind::Descriptors => false,
        }
    }
}

/// Disturbances in a seeded order.
#[derive(Debug)]
pub struct Deck {
    all: Vec<Kind>,
    left: Vec<Kind>,
    random: Random,
}

/// Disturbance of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    /// Kind.
    pub kind: Kind,
    /// Machine that it comes to.
    pub machine: usize,
    /// Seed of whatever the disturbance chooses.
    pub seed: u64,
}

impl Deck {
    /// Makes a deck of these, which are some.
    pub fn new(all: Vec<Kind>, seed: u64) -> Deck {
        assert!(!all.is_empty(), "a deck has cards");
        Deck { all, left: Vec::new(), random: Random::new(seed) }
    }

    /// Draws the next one, for so many machines.
    pub fn draw(&mut self, machines: usize) -> Card {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            for place in (1..self.left.len()).rev() {
                self.left.swap(place, below(&mut self.random, place + 1));
            }
        }
        let kind = self.left.pop().expect("it was filled");
        let drawn = below(&mut self.random, machines);
        let seed = self.random.unit().to_bits();
        Card { kind, machine: if kind.ends_broker() { 0 } else { drawn }, seed }
    }
}

/// Draws a number below `bound`.
pub fn below(random: &mut Random, bound: usize) -> usize {
    ((random.unit() * bound as f64) as usize).min(bound - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_an_order_in_which_each_comes_before_any_comes_twice() {
        let all = Kind::value_variants().to_vec();
        let draw = |seed| {
            let mut deck = Deck::new(all.clone(), seed);
            (0..2 * all.len()).map(|_| deck.draw(2)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        for half in draw(1).chunks(all.len()) {
            let mut kinds: Vec<Kind> = half.iter().map(|card| card.kind).collect();
            kinds.sort_unstable();
            assert_eq!(kinds, all);
            assert!(half.iter().all(|card| card.machine == 0 || !card.kind.ends_broker()));
        }
    }

    #[test]
    fn what_does_not_touch_a_stream_costs_it_nothing() {
        for &kind in Kind::value_variants() {
            assert!(!kind.may_lose(0, 1, 1, false), "{kind:?}");
            assert!(kind.may_lose(0, 1, 1, true), "{kind:?}");
        }
        assert!(
            !Kind::Takeover.may_lose(0, 0, 0, false)
                && !Kind::RestartBroker.may_lose(0, 0, 0, false)
        );
        assert!(Kind::KillBroker.may_lose(0, 0, 0, false));
    }
}
