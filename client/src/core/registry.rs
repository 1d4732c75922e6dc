//! The registry of listeners: the side of the listener table that every thread sees.
//!
//! The callbacks themselves live in the reader's [`Dispatcher`](super::dispatch::Dispatcher);
//! changes travel there as [`Command`]s, announced by a generation number that
//! the reader looks at before each message. So no lock is held while a listener
//! runs, and none is taken per message.
//!
//! Invariant: a pattern is subscribed at the broker exactly while it has a
//! listener here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use netcluster_wire::Pattern;

use super::lock;
use crate::lifecycle::LifecycleListener;
use crate::message::Message;

/// The name of a listener, to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub(crate) u64);

impl ListenerId {
    /// The number of this listener, for other languages.
    ///
    /// ```
    /// use netcluster_client::ListenerId;
    ///
    /// assert_eq!(ListenerId::from_u64(7).to_u64(), 7);
    /// ```
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The listener of this number. If there is none, removing it does nothing.
    #[must_use]
    pub const fn from_u64(number: u64) -> ListenerId {
        ListenerId(number)
    }
}

/// A message listener.
pub(crate) type Listener = Box<dyn FnMut(&Message<'_>) + Send + 'static>;

/// The way in which a listener is added.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Placement {
    pub(crate) prepend: bool,
    pub(crate) once: bool,
}

/// A change on its way to the reader.
pub(crate) enum Command {
    Add { id: ListenerId, pattern: Pattern, order: i64, once: bool, listener: Listener },
    Remove(ListenerId),
    Lifecycle(LifecycleListener),
}

/// A pattern's standing at the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Asked for under this request number; 0: not asked yet.
    Asked(u64),
    /// The broker acknowledged the pattern.
    InForce,
    /// The broker refused the pattern, and why.
    Refused(String),
    /// Access rules do not allow the pattern, and why.
    Forbidden(String),
}

struct Subscribed {
    listeners: usize,
    standing: Standing,
}

/// The table that the lock protects.
#[derive(Default)]
pub(crate) struct Table {
    listeners: BTreeMap<ListenerId, Pattern>,
    patterns: BTreeMap<Pattern, Subscribed>,
    requests: HashMap<u64, Pattern>,
    /// Requests that must be answered before events may be emitted again.
    resuming: HashSet<u64>,
    commands: Vec<Command>,
    next_id: u64,
    first_order: i64,
    last_order: i64,
}

/// The registry of one client's listeners.
#[derive(Default)]
pub(crate) struct Registry {
    table: Mutex<Table>,
    generation: AtomicU64,
}

impl Registry {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// The generation, which changes whenever commands wait.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Queues a command for the reader.
    pub(crate) fn command(&self, table: &mut Table, command: Command) {
        table.commands.push(command);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The commands that wait, and the generation that includes them.
    pub(crate) fn take_commands(&self) -> (Vec<Command>, u64) {
        let mut table = self.lock();
        (std::mem::take(&mut table.commands), self.generation())
    }

    /// Adds a listener; tells whether its pattern must be subscribed now.
    pub(crate) fn add(
        &self,
        table: &mut Table,
        pattern: &Pattern,
        placement: Placement,
        listener: Listener,
    ) -> (ListenerId, bool) {
        table.next_id += 1;
        let id = ListenerId(table.next_id);
        let order = if placement.prepend {
            table.first_order -= 1;
            table.first_order
        } else {
            table.last_order += 1;
            table.last_order
        };
        table.listeners.insert(id, pattern.clone());
        let subscribed = table
            .patterns
            .entry(pattern.clone())
            .or_insert(Subscribed { listeners: 0, standing: Standing::Asked(0) });
        subscribed.listeners += 1;
        let first = subscribed.listeners == 1;
        let pattern = pattern.clone();
        self.command(table, Command::Add { id, pattern, order, once: placement.once, listener });
        (id, first)
    }

    /// Removes a listener. `None`: there is none; `Some(Some(pattern))`: the
    /// pattern must be unsubscribed now.
    pub(crate) fn remove(&self, table: &mut Table, id: ListenerId) -> Option<Option<Pattern>> {
        let pattern = table.listeners.remove(&id)?;
        self.command(table, Command::Remove(id));
        let subscribed = table.patterns.get_mut(&pattern)?;
        subscribed.listeners -= 1;
        if subscribed.listeners > 0 {
            return Some(None);
        }
        table.patterns.remove(&pattern);
        table.requests.retain(|_, asked| *asked != pattern);
        Some(Some(pattern))
    }
}

impl Table {
    /// Gives the listeners of exactly this pattern, or all.
    pub(crate) fn ids(&self, pattern: Option<&str>) -> Vec<ListenerId> {
        let wanted = |listed: &Pattern| pattern.is_none_or(|text| listed.as_str() == text);
        self.listeners.iter().filter(|(_, listed)| wanted(listed)).map(|(id, _)| *id).collect()
    }

    /// Counts the listeners of exactly this pattern.
    pub(crate) fn count(&self, pattern: &str) -> usize {
        let Ok(pattern) = Pattern::new(pattern.as_bytes()) else { return 0 };
        self.patterns.get(&pattern).map_or(0, |subscribed| subscribed.listeners)
    }

    /// The patterns that have listeners, in order.
    pub(crate) fn patterns(&self) -> Vec<String> {
        self.patterns.keys().map(|pattern| pattern.as_str().to_owned()).collect()
    }

    /// Notes that a pattern was asked for under this number.
    pub(crate) fn asked(&mut self, pattern: &Pattern, request: u64) {
        if let Some(subscribed) = self.patterns.get_mut(pattern) {
            subscribed.standing = Standing::Asked(request);
            self.requests.insert(request, pattern.clone());
        }
    }

    /// Takes in the broker's answer; tells whether that changed anything.
    pub(crate) fn answered(&mut self, request: u64, standing: Standing) -> bool {
        self.resuming.remove(&request);
        let Some(pattern) = self.requests.remove(&request) else { return false };
        let Some(subscribed) = self.patterns.get_mut(&pattern) else { return false };
        if subscribed.standing != Standing::Asked(request) {
            return false;
        }
        subscribed.standing = standing;
        true
    }

    /// Tells a pattern's standing; `None`: nobody listens to it any more.
    pub(crate) fn standing(&self, pattern: &Pattern) -> Option<&Standing> {
        self.patterns.get(pattern).map(|subscribed| &subscribed.standing)
    }

    /// Asks for all patterns anew, on a new connection.
    pub(crate) fn resume(&mut self, mut ask: impl FnMut(&Pattern) -> u64) {
        self.requests.clear();
        self.resuming.clear();
        for (pattern, subscribed) in &mut self.patterns {
            let request = ask(pattern);
            subscribed.standing = Standing::Asked(request);
            self.requests.insert(request, pattern.clone());
            self.resuming.insert(request);
        }
    }

    /// Whether what [`Table::resume`] asked for is not all answered.
    pub(crate) fn is_resuming(&self) -> bool {
        !self.resuming.is_empty()
    }

    /// Takes in that the connection is gone: nothing is in force.
    pub(crate) fn disconnected(&mut self) {
        self.requests.clear();
        self.resuming.clear();
        for subscribed in self.patterns.values_mut() {
            subscribed.standing = Standing::Asked(0);
        }
    }
}
