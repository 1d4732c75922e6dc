//! Which listeners a message goes to, and calling them: the reader's side of the
//! listener table.
//!
//! A message of the same name and size as the one before costs a load (has the table
//! changed?), a compare of heads and the call. Other names cost a look-up in a
//! bounded cache; the patterns themselves are looked at only once per name.
//!
//! Invariant: a listener whose removal returned on the reader's thread is not
//! called again, also not for the message that is being dispatched.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use netcluster_wire::{Frame, Pattern};

use super::registry::{Command, Listener, ListenerId, Registry};
use super::session::is_same;
use crate::error::Error;
use crate::lifecycle::{Lifecycle, LifecycleListener};
use crate::message::Message;

/// Names whose listeners are remembered. When it is full all are forgotten.
const MAX_CACHED_ROUTES: usize = 4096;

/// The index of no route.
const NONE: usize = usize::MAX;

struct Entry {
    id: ListenerId,
    pattern: Pattern,
    order: i64,
    once: bool,
    removed: bool,
    listener: Listener,
}

/// The listeners of one name, in their order.
struct Route {
    name: Arc<str>,
    slots: Vec<usize>,
    /// The slot of the only listener, if that stays; else [`NONE`].
    only: usize,
}

/// Messages that were dispatched, and their bytes.
#[derive(Clone, Copy)]
pub(crate) struct Dispatched {
    pub(crate) bytes: usize,
    pub(crate) messages: u32,
}

impl Dispatched {
    #[inline(always)]
    fn and(self, frame: Frame<'_>) -> Dispatched {
        Dispatched { bytes: self.bytes + frame.as_bytes().len(), messages: self.messages + 1 }
    }
}

/// The dispatcher, the reader's side of the listener table.
#[derive(Default)]
pub(crate) struct Dispatcher {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    slots: HashMap<ListenerId, usize>,
    /// Slots by name, for patterns without wildcards.
    literal: HashMap<Box<[u8]>, Vec<usize>>,
    /// Slots of all others.
    wild: Vec<usize>,
    routes: Vec<Route>,
    cache: HashMap<Box<[u8]>, usize>,
    /// The route of the message before, or [`NONE`].
    current: usize,
    generation: u64,
    /// Commands taken while a message was being dispatched.
    deferred: Vec<Command>,
    lifecycle: Vec<LifecycleListener>,
}

impl Dispatcher {
    pub(crate) fn new() -> Dispatcher {
        Dispatcher { current: NONE, ..Dispatcher::default() }
    }

    /// Calls who listens to the event `frame` at the front of `bytes`, and to those
    /// behind it that are like it, `most` at the most: how many there were, and their
    /// bytes. `retire` takes a `once` listener off the registry before it is called.
    ///
    /// # Errors
    /// If the name is not UTF-8.
    #[inline(never)]
    pub(crate) fn dispatch(
        &mut self,
        registry: &Registry,
        retire: &dyn Fn(ListenerId),
        frame: Frame<'_>,
        (bytes, buffer): (&[u8], Option<&Bytes>),
        most: u32,
    ) -> Result<Dispatched, Error> {
        if registry.generation() != self.generation {
            self.synchronise(registry);
        }
        let route = match self.routes.get(self.current) {
            Some(route) if is_same(route.name.as_bytes(), frame.name()) => route,
            _ => {
                self.current = self.find(frame.name())?;
                &self.routes[self.current]
            }
        };
        let mut done = Dispatched { bytes: 0, messages: 0 };
        let Some(Some(entry)) = self.entries.get_mut(route.only) else {
            self.dispatch_to_several(registry, retire, frame, buffer);
            return Ok(done.and(frame));
        };
        let Entry { listener, .. } = entry;
        // One for all of them: how far they came is known.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut next = frame;
            loop {
                done = done.and(next);
                listener(&Message::new(&route.name, next, buffer));
                if done.messages >= most || registry.generation() != self.generation {
                    return;
                }
                match frame.read_like(&bytes[done.bytes..]) {
                    Some(like) => next = like,
                    None => return,
                }
            }
        }));
        if let Err(panic) = outcome {
            let error = panicked(&route.name, &*panic);
            self.tell(registry, &Lifecycle::Error(error));
        }
        Ok(done)
    }

    #[inline(never)]
    fn dispatch_to_several(
        &mut self,
        registry: &Registry,
        retire: &dyn Fn(ListenerId),
        frame: Frame<'_>,
        buffer: Option<&Bytes>,
    ) {
        let mut errors = Vec::new();
        for index in 0..self.routes[self.current].slots.len() {
            let route = &self.routes[self.current];
            let Some(entry) = &mut self.entries[route.slots[index]] else { continue };
            if entry.removed {
                continue;
            }
            if entry.once {
                entry.removed = true;
                retire(entry.id);
            }
            let message = Message::new(&route.name, frame, buffer);
            let listener = &mut entry.listener;
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| listener(&message))) {
                errors.push(panicked(&route.name, &*panic));
            }
            if registry.generation() != self.generation {
                self.defer(registry);
            }
        }
        self.apply_deferred();
        for error in errors {
            self.tell(registry, &Lifecycle::Error(error));
        }
    }

    /// Tells the lifecycle listeners.
    pub(crate) fn tell(&mut self, registry: &Registry, event: &Lifecycle) {
        event.trace();
        self.synchronise(registry);
        for listener in &mut self.lifecycle {
            // There is nobody left to tell that a lifecycle listener panicked.
            let _ = catch_unwind(AssertUnwindSafe(|| listener(event)));
        }
    }

    /// Takes the commands that wait and carries them out.
    fn synchronise(&mut self, registry: &Registry) {
        self.defer(registry);
        self.apply_deferred();
    }

    /// Takes the commands that wait; only removals act at once.
    fn defer(&mut self, registry: &Registry) {
        let (commands, generation) = registry.take_commands();
        self.generation = generation;
        for command in &commands {
            if let Command::Remove(id) = command
                && let Some(&slot) = self.slots.get(id)
                && let Some(entry) = &mut self.entries[slot]
            {
                entry.removed = true;
            }
        }
        self.deferred.extend(commands);
    }

    fn apply_deferred(&mut self) {
        if self.deferred.is_empty() {
            return;
        }
        self.current = NONE;
        self.routes.clear();
        self.cache.clear();
        for command in std::mem::take(&mut self.deferred) {
            match command {
                Command::Add { id, pattern, order, once, listener } => {
                    self.add(Entry { id, pattern, order, once, removed: false, listener });
                }
                Command::Remove(id) => self.remove(id),
                Command::Lifecycle(listener) => self.lifecycle.push(listener),
            }
        }
    }

    fn add(&mut self, entry: Entry) {
        let slot = self.free.pop().unwrap_or(self.entries.len());
        if slot == self.entries.len() {
            self.entries.push(None);
        }
        self.slots.insert(entry.id, slot);
        if entry.pattern.is_literal() {
            self.literal.entry(entry.pattern.as_str().as_bytes().into()).or_default().push(slot);
        } else {
            self.wild.push(slot);
        }
        self.entries[slot] = Some(entry);
    }

    fn remove(&mut self, id: ListenerId) {
        let Some(slot) = self.slots.remove(&id) else { return };
        let Some(entry) = self.entries[slot].take() else { return };
        self.free.push(slot);
        let name = entry.pattern.as_str().as_bytes();
        if let Some(slots) = self.literal.get_mut(name) {
            slots.retain(|&other| other != slot);
            if slots.is_empty() {
                self.literal.remove(name);
            }
        }
        self.wild.retain(|&other| other != slot);
        // What a listener owns may panic when it goes.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(entry)));
    }

    #[cold]
    #[inline(never)]
    fn find(&mut self, name: &[u8]) -> Result<usize, Error> {
        if let Some(&route) = self.cache.get(name) {
            return Ok(route);
        }
        if self.routes.len() >= MAX_CACHED_ROUTES {
            self.routes.clear();
            self.cache.clear();
        }
        let text = std::str::from_utf8(name)
            .map_err(|_| Error::Protocol("an event's name is not UTF-8".into()))?;
        let mut slots = self.literal.get(name).cloned().unwrap_or_default();
        let entry = |slot: usize| self.entries[slot].as_ref();
        slots.extend(
            self.wild
                .iter()
                .copied()
                .filter(|&slot| entry(slot).is_some_and(|entry| entry.pattern.matches(name))),
        );
        slots.sort_by_key(|&slot| entry(slot).map(|entry| entry.order));
        let only = match slots[..] {
            [slot] if entry(slot).is_some_and(|entry| !entry.once) => slot,
            _ => NONE,
        };
        self.routes.push(Route { name: text.into(), slots, only });
        self.cache.insert(name.into(), self.routes.len() - 1);
        Ok(self.routes.len() - 1)
    }
}

fn panicked(event: &str, panic: &(dyn Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    Error::ListenerPanicked { event: event.to_owned(), message }
}
