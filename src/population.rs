//! Connections of a broker, counted by user, and the limits on their number.
//!
//! ```text
//!   0 ────────── --max-clients-per-user ───────── … ──────┬─ reserve ─┬ --max-clients
//!   one user's connections may be so many                 │ root, owner
//! ```
//! A connection counts from the moment it is accepted until it is closed, whether it has
//! said hello or not: each takes a descriptor. Its [`Seat`] goes with it from shard to
//! shard, and dropping that is how it leaves.
//!
//! Invariant: no user but root and the broker's own can keep the others out, neither by
//! connections nor by such as never say hello.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use netcluster_platform::Peer;

/// Connections of one user that have not said hello. A client says it at once: more
/// come from a program gone wrong, or from one that means harm.
pub const MAX_SILENT_PER_USER: usize = 1024;

/// Number of connections of which one is kept free for root and the broker's owner.
const RESERVE_SHARE: usize = 16;

/// Largest number of connections kept free.
const MAX_RESERVE: usize = 256;

/// Connections that are being told that there are too many. Whoever comes while there
/// are so many is not told.
pub const MAX_TOLD: usize = 256;

/// Users that are remembered before those without connections are looked for.
const MAX_IDLE_USERS: usize = 64;

/// The system's own account on Windows.
const LOCAL_SYSTEM: &str = "S-1-5-18";

/// Limits on the number of connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of all users.
    pub all: usize,
    /// Connections of one user.
    pub per_user: usize,
    /// User who runs the broker.
    pub owner: Peer,
}

impl Limits {
    fn reserve(&self) -> usize {
        (self.all / RESERVE_SHARE).min(MAX_RESERVE)
    }

    /// Returns whether a user is root or the broker's own.
    pub fn is_trusted(&self, peer: &Peer) -> bool {
        let user = User::of(peer);
        let is_system =
            user == User::Number(0) || user == User::Name(Arc::new(LOCAL_SYSTEM.to_owned()));
        is_system || user != User::UNKNOWN && user == User::of(&self.owner)
    }
}

/// Reason why a connection may not stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are as many connections as there may be.
    All,
    /// The remaining connections are kept free.
    Reserved,
    /// The user has as many as he may have.
    User,
    /// Too many of that user have not said hello.
    Silent,
    /// The memory budget is used up.
    Memory,
}

impl Refusal {
    /// Returns the text for the client that is refused.
    pub fn text(self, limits: &Limits) -> String {
        match self {
            Refusal::All => {
                format!("the broker has as many clients as --max-clients allows, {}", limits.all)
            }
            Refusal::Reserved => format!(
                "the broker has nearly as many clients as --max-clients allows, {}; the last {} \
                 places are for root and the broker's user",
                limits.all,
                limits.reserve(),
            ),
            Refusal::User => format!(
                "this user has as many clients as --max-clients-per-user allows, {}",
                limits.per_user
            ),
            Refusal::Memory => {
                "the broker has no memory for more clients: end some, or raise --max-memory".into()
            }
            Refusal::Silent => format!(
                "{MAX_SILENT_PER_USER} connections of this user have not said hello: try again \
                 when they have"
            ),
        }
    }
}

/// User that a connection belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum User {
    /// User known by number.
    Number(u32),
    /// User known by security identifier, where users have no numbers.
    Name(Arc<String>),
}

impl User {
    /// User that the system does not tell.
    const UNKNOWN: User = User::Number(u32::MAX);

    fn of(peer: &Peer) -> User {
        match &peer.user {
            Some(name) => User::Name(Arc::clone(name)),
            None => User::Number(peer.uid),
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    all: AtomicUsize,
    told: AtomicUsize,
    /// Touched when a connection is accepted, and then only by shards that accept:
    /// where connections can move, that is one.
    users: Mutex<HashMap<User, Arc<UserCounts>>>,
}

#[derive(Debug, Default)]
struct UserCounts {
    all: AtomicUsize,
    silent: AtomicUsize,
}

/// Connections of a broker. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Population(Arc<Counts>);

impl Population {
    /// Returns the number of connections.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.0.all.load(Ordering::Relaxed)
    }

    /// Returns a seat for a connection that has just been accepted.
    ///
    /// # Errors
    /// Reason why the connection may not stay.
    pub fn admit(&self, peer: &Peer, limits: &Limits) -> Result<Seat, Refusal> {
        let user = self.user(peer);
        let all = self.0.all.load(Ordering::Relaxed);
        let trusted = limits.is_trusted(peer);
        if all >= limits.all {
            return Err(Refusal::All);
        }
        if !trusted {
            if user.all.load(Ordering::Relaxed) >= limits.per_user {
                return Err(Refusal::User);
            }
            if user.silent.load(Ordering::Relaxed) >= MAX_SILENT_PER_USER {
                return Err(Refusal::Silent);
            }
            if all >= limits.all - limits.reserve() {
                return Err(Refusal::Reserved);
            }
        }
        // Shards that accept at the same time may exceed a limit by one each.
        self.0.all.fetch_add(1, Ordering::Relaxed);
        user.all.fetch_add(1, Ordering::Relaxed);
        user.silent.fetch_add(1, Ordering::Relaxed);
        Ok(Seat { population: self.clone(), kind: Kind::Silent(user) })
    }

    /// Returns a seat for a connection that is told that it may not stay; none if too
    /// many are.
    pub fn tell(&self) -> Option<Seat> {
        if self.0.told.load(Ordering::Relaxed) >= MAX_TOLD {
            return None;
        }
        self.0.told.fetch_add(1, Ordering::Relaxed);
        Some(Seat { population: self.clone(), kind: Kind::Told })
    }

    fn user(&self, peer: &Peer) -> Arc<UserCounts> {
        let mut users = self.0.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.len() >= MAX_IDLE_USERS {
            let is_new = !users.contains_key(&User::of(peer));
            if is_new {
                users.retain(|_, counts| counts.all.load(Ordering::Relaxed) > 0);
            }
        }
        Arc::clone(users.entry(User::of(peer)).or_default())
    }
}

/// Place of a connection among all: the connection has left when this is dropped.
#[derive(Debug)]
pub struct Seat {
    population: Population,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The client has not said hello.
    Silent(Arc<UserCounts>),
    /// The client has said hello.
    Open(Arc<UserCounts>),
    /// The client is told that it may not stay.
    Told,
}

impl Seat {
    /// Notes that the client has said hello, or will not be asked any more.
    pub fn spoke(&mut self) {
        if let Kind::Silent(user) = &self.kind {
            user.silent.fetch_sub(1, Ordering::Relaxed);
            self.kind = Kind::Open(Arc::clone(user));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.spoke();
        let counts = &self.population.0;
        match &self.kind {
            Kind::Silent(user) | Kind::Open(user) => {
                counts.all.fetch_sub(1, Ordering::Relaxed);
                user.all.fetch_sub(1, Ordering::Relaxed);
            }
            Kind::Told => {
                counts.told.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32) -> Peer {
        Peer { uid, ..Peer::UNKNOWN }
    }

    fn limits(all: usize, per_user: usize) -> Limits {
        Limits { all, per_user, owner: peer(7) }
    }

    /// Returns as many seats as a user gets, and the reason why there is none after.
    fn fill(population: &Population, uid: u32, limits: &Limits) -> (Vec<Seat>, Refusal) {
        let mut seats = Vec::new();
        loop {
            match population.admit(&peer(uid), limits) {
                Ok(mut seat) => {
                    seat.spoke();
                    seats.push(seat);
                }
                Err(refusal) => return (seats, refusal),
            }
        }
    }

    #[test]
    fn one_user_cannot_take_all_and_a_few_places_stay_for_root_and_the_owner() {
        let population = Population::default();
        let limits = limits(64, 40);
        let (first, refusal) = fill(&population, 1000, &limits);
        assert_eq!((first.len(), refusal), (40, Refusal::User));
        let (second, refusal) = fill(&population, 1001, &limits);
        assert_eq!((second.len(), refusal), (20, Refusal::Reserved));
        let (owners, refusal) = fill(&population, 7, &limits);
        assert_eq!((owners.len(), refusal), (4, Refusal::All));
        assert_eq!(population.admit(&peer(0), &limits).unwrap_err(), Refusal::All);
        drop(owners);
        assert!(population.admit(&peer(0), &limits).is_ok());
        drop(first);
        assert_eq!(fill(&population, 1000, &limits).0.len(), 40);
        drop(second);
        assert_eq!(population.count(), 0);
    }

    #[test]
    fn who_never_says_hello_keeps_only_his_like_out() {
        let population = Population::default();
        let limits = limits(100_000, 50_000);
        let seat = || population.admit(&peer(1000), &limits);
        let mut silent: Vec<Seat> = (0..MAX_SILENT_PER_USER).map(|_| seat().unwrap()).collect();
        assert_eq!(seat().unwrap_err(), Refusal::Silent);
        assert!(population.admit(&peer(1001), &limits).is_ok());
        silent[0].spoke();
        silent[0].spoke();
        assert!(seat().is_ok());
        drop(silent);
        assert_eq!(population.count(), 0);
    }

    #[test]
    fn those_who_are_told_are_bounded_and_count_for_nobody() {
        let population = Population::default();
        let told: Vec<_> = (0..MAX_TOLD).map(|_| population.tell().unwrap()).collect();
        assert!(population.tell().is_none());
        assert_eq!(population.count(), 0);
        drop(told);
        assert!(population.tell().is_some());
    }

    #[test]
    fn users_that_are_gone_are_forgotten() {
        let population = Population::default();
        let limits = limits(1 << 20, 1 << 19);
        for uid in 1..10_000 {
            drop(population.admit(&peer(uid), &limits));
        }
        assert!(population.0.users.lock().unwrap().len() <= MAX_IDLE_USERS);
    }

    #[test]
    fn a_small_broker_has_no_reserve_and_nobody_unknown_is_the_owner() {
        let population = Population::default();
        let limits = Limits { owner: Peer::UNKNOWN, ..limits(4, 2) };
        let (_seats, refusal) = fill(&population, u32::MAX, &limits);
        assert_eq!(refusal, Refusal::User);
        assert_eq!(fill(&population, 0, &limits).0.len(), 2);
    }
}
