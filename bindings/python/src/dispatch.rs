//! Listeners that are Python's, and calling them: a batch under one holding of the
//! interpreter's lock.
//!
//! A listener that raises is told to `on_error`, or to `sys.unraisablehook`; it stays, and
//! so does the client.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use netcluster_client::ListenerId;
use pyo3::prelude::*;

use crate::forks::Process;
use crate::inbox::{Inbox, Item, Taken, lock};
use crate::lifecycle::Lifecycle;
use crate::message::{Message, Names};
use crate::wait;

/// Items that are taken at a time.
pub(crate) const BATCH: usize = 1024;

struct Entry {
    pattern: Box<str>,
    callback: Py<PyAny>,
    once: bool,
    /// The listener of the Rust client; `None` while it is being added.
    id: Option<ListenerId>,
}

#[derive(Default)]
struct Table {
    next: u64,
    entries: HashMap<u64, Entry>,
    lifecycle: Vec<Py<PyAny>>,
}

/// A listener that was removed: the Rust client's, unless it is still being added.
pub(crate) struct Removed(pub(crate) Option<ListenerId>);

/// The listeners of a client.
pub(crate) struct Listeners {
    table: Mutex<Table>,
    names: Names,
    on_error: Option<Py<PyAny>>,
}

impl Listeners {
    pub(crate) fn new(on_error: Option<Py<PyAny>>) -> Listeners {
        Listeners { table: Mutex::default(), names: Names::default(), on_error }
    }

    /// Adds a listener, which gets the items of the number that is returned.
    pub(crate) fn add(&self, pattern: &str, callback: Py<PyAny>, once: bool) -> u64 {
        let mut table = lock(&self.table);
        table.next += 1;
        let number = table.next;
        let entry = Entry { pattern: pattern.into(), callback, once, id: None };
        table.entries.insert(number, entry);
        number
    }

    /// Notes which listener of the Rust client it is; `false`: it was removed meanwhile.
    pub(crate) fn added(&self, number: u64, id: ListenerId) -> bool {
        let mut table = lock(&self.table);
        let entry = table.entries.get_mut(&number);
        entry.map(|entry| entry.id = Some(id)).is_some()
    }

    /// Removes a listener, if it is there.
    pub(crate) fn remove(&self, number: u64) -> Option<Removed> {
        let entry = lock(&self.table).entries.remove(&number);
        entry.map(|entry| Removed(entry.id))
    }

    /// Removes the listener of this pattern and callback that was added last.
    ///
    /// # Errors
    /// Comparing raised.
    pub(crate) fn remove_callback(
        &self,
        py: Python<'_>,
        pattern: &str,
        callback: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Removed>> {
        let mut of_pattern: Vec<(u64, Py<PyAny>)> = {
            let table = lock(&self.table);
            let same = table.entries.iter().filter(|(_, entry)| &*entry.pattern == pattern);
            same.map(|(number, entry)| (*number, entry.callback.clone_ref(py))).collect()
        };
        of_pattern.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        // Comparing runs Python, so that the table must not be locked.
        for (number, other) in of_pattern {
            if callback.eq(other.bind(py))? {
                return Ok(self.remove(number));
            }
        }
        Ok(None)
    }

    /// Removes the listeners of this pattern, or all.
    pub(crate) fn remove_all(&self, pattern: Option<&str>) -> Vec<ListenerId> {
        let is_kept = |entry: &Entry| pattern.is_some_and(|pattern| pattern != &*entry.pattern);
        let mut table = lock(&self.table);
        let entries = std::mem::take(&mut table.entries);
        let (kept, removed): (HashMap<_, _>, HashMap<_, _>) =
            entries.into_iter().partition(|(_, entry)| is_kept(entry));
        table.entries = kept;
        // Callbacks that go may run Python, which the lock must not see.
        drop(table);
        removed.into_values().filter_map(|entry| entry.id).collect()
    }

    pub(crate) fn add_lifecycle(&self, callback: Py<PyAny>) {
        lock(&self.table).lifecycle.push(callback);
    }

    fn callback(&self, py: Python<'_>, number: u64) -> Option<Py<PyAny>> {
        let mut table = lock(&self.table);
        let entry = table.entries.get(&number)?;
        if !entry.once {
            return Some(entry.callback.clone_ref(py));
        }
        table.entries.remove(&number).map(|entry| entry.callback)
    }

    /// Calls the listeners that these items are for.
    pub(crate) fn deliver(&self, py: Python<'_>, items: VecDeque<Item>) {
        for item in items {
            if ENDS.load(Ordering::Relaxed) {
                return;
            }
            match item {
                Item::Message(number, message) => {
                    let Some(callback) = self.callback(py, number) else { continue };
                    match Py::new(py, Message::new(py, message, &self.names)) {
                        Ok(message) => self.call(py, &callback, message.into_any()),
                        Err(error) => error.write_unraisable(py, None),
                    }
                }
                Item::Lifecycle(told) => match Lifecycle::new(py, &told) {
                    Ok(event) => self.tell(py, event),
                    Err(error) => error.write_unraisable(py, None),
                },
                // Told as a lifecycle event, too.
                Item::Lost(_) => {}
            }
        }
    }

    fn call(&self, py: Python<'_>, callback: &Py<PyAny>, argument: Py<PyAny>) {
        let Err(error) = callback.call1(py, (&argument,)) else { return };
        let Some(on_error) = &self.on_error else {
            return error.write_unraisable(py, Some(callback.bind(py)));
        };
        if let Err(error) = on_error.call1(py, (error, argument)) {
            error.write_unraisable(py, Some(on_error.bind(py)));
        }
    }

    fn tell(&self, py: Python<'_>, event: Lifecycle) {
        let event = match Py::new(py, event) {
            Ok(event) => event.into_any(),
            Err(error) => return error.write_unraisable(py, None),
        };
        let logged =
            py.import("netcluster._log").and_then(|log| log.call_method1("tell", (&event,)));
        if let Err(error) = logged {
            error.write_unraisable(py, None);
        }
        let callbacks: Vec<_> =
            lock(&self.table).lifecycle.iter().map(|callback| callback.clone_ref(py)).collect();
        for callback in callbacks {
            self.call(py, &callback, event.clone_ref(py));
        }
    }
}

thread_local! {
    static IS_DISPATCHER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs the listeners of some client.
pub(crate) fn is_dispatcher() -> bool {
    IS_DISPATCHER.get()
}

/// Something that happens once.
#[derive(Default)]
pub(crate) struct Once {
    happened: Mutex<bool>,
    rung: Condvar,
}

impl Once {
    pub(crate) fn set(&self) {
        *lock(&self.happened) = true;
        self.rung.notify_all();
    }

    /// Waits for it; tells whether it happened by then.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut happened = lock(&self.happened);
        while !*happened {
            let Some(deadline) = deadline else {
                happened = self.rung.wait(happened).unwrap_or_else(|poison| poison.into_inner());
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.rung.wait_timeout(happened, left);
            happened = waited.unwrap_or_else(|poison| poison.into_inner()).0;
        }
        true
    }
}

/// The interpreter ends: no further listener is called.
static ENDS: AtomicBool = AtomicBool::new(false);

/// The threads of dispatchers, as what they set when they are done. Locked while the
/// interpreter's lock is held alone, so that no fork finds it taken.
static THREADS: Mutex<Vec<(Process, Arc<Once>)>> = Mutex::new(Vec::new());

/// Starts a dispatcher's thread, which sets `finished` when it is done.
///
/// # Errors
/// The system has no thread.
pub(crate) fn start(
    inbox: Arc<Inbox>,
    listeners: Arc<Listeners>,
    finished: Arc<Once>,
) -> std::io::Result<()> {
    let done = Arc::clone(&finished);
    let run = move || run(&inbox, &listeners, &done);
    std::thread::Builder::new().name("netcluster-listen".into()).spawn(run)?;
    let mut threads = lock(&THREADS);
    threads.retain(|(_, finished)| !finished.wait(Some(Instant::now())));
    threads.push((Process::current(), finished));
    Ok(())
}

/// Runs a dispatcher's thread until nothing more comes, or the interpreter ends.
fn run(inbox: &Inbox, listeners: &Listeners, finished: &Once) {
    IS_DISPATCHER.set(true);
    while let Taken::Items(items) = inbox.take(BATCH, None)
        && !ENDS.load(Ordering::Relaxed)
        && Python::try_attach(|py| listeners.deliver(py, items)).is_some()
    {}
    finished.set();
}

/// Has no further listener called, and waits until those that run return: a thread that comes
/// back to an interpreter that is gone ends the process.
///
/// # Errors
/// A signal's handler raised.
pub(crate) fn end(py: Python<'_>) -> PyResult<()> {
    ENDS.store(true, Ordering::Relaxed);
    let threads = std::mem::take(&mut *lock(&THREADS));
    for (_, finished) in threads.iter().filter(|(process, _)| *process == Process::current()) {
        wait::until(py, None, |deadline| finished.wait(deadline).then_some(()))?;
    }
    Ok(())
}
