//! Waiting without the interpreter's lock, such that Ctrl-C ends it.

use std::sync::mpsc::{RecvTimeoutError, SendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Time between two looks at signals, which only the main thread handles.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Returns whether this thread is the one that handles signals.
pub(crate) fn is_main(py: Python<'_>) -> PyResult<bool> {
    static THREADING: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();
    let (current, main) = THREADING.get_or_try_init(py, || {
        let threading = py.import("threading")?;
        PyResult::Ok((
            threading.getattr("get_ident")?.unbind(),
            threading.call_method0("main_thread")?.unbind(),
        ))
    })?;
    current.bind(py).call0()?.eq(main.bind(py).getattr("ident")?)
}

/// Reads a time in seconds; `None`: for ever.
///
/// # Errors
/// It is no time.
pub(crate) fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout else { return Ok(None) };
    let timeout = time(seconds)?;
    Ok(Instant::now().checked_add(timeout))
}

/// # Errors
/// It is no time.
pub(crate) fn time(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        let text = format!("{seconds} is no time in seconds: it is 0 or more");
        pyo3::exceptions::PyValueError::new_err(text)
    })
}

/// Waits until `wait`, which is given a deadline each time, has something; `None` at
/// `deadline`.
///
/// # Errors
/// A signal's handler raised.
pub(crate) fn until<T: Send>(
    py: Python<'_>,
    deadline: Option<Instant>,
    mut wait: impl FnMut(Option<Instant>) -> Option<T> + Send,
) -> PyResult<Option<T>> {
    if !is_main(py)? {
        return Ok(py.detach(|| wait(deadline)));
    }
    loop {
        let look = Instant::now() + LOOK_EVERY;
        let is_last = deadline.is_some_and(|deadline| deadline <= look);
        let until = if is_last { deadline } else { Some(look) };
        let had = py.detach(|| wait(until));
        if had.is_some() || is_last {
            return Ok(had);
        }
        py.check_signals()?;
    }
}

/// Runs a call that may wait and cannot be told to stop. If a signal's handler raises
/// meanwhile nobody waits for it any more: it goes on by itself, and `undo` is given what it
/// had.
///
/// # Errors
/// A signal's handler raised, or the system has no thread.
pub(crate) fn call<T: Send + 'static>(
    py: Python<'_>,
    call: impl FnOnce() -> T + Send + 'static,
    undo: impl FnOnce(T) + Send + 'static,
) -> PyResult<T> {
    if !is_main(py)? {
        return Ok(py.detach(call));
    }
    // Holds nothing, so that what is sent is taken or comes back.
    let (sender, receiver) = sync_channel(0);
    let run = move || {
        if let Err(SendError(had)) = sender.send(call()) {
            undo(had);
        }
    };
    let thread = thread::Builder::new().name("netcluster-call".into()).spawn(run)?;
    let taken = until(py, None, move |deadline| {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match receiver.recv_timeout(left.unwrap_or(LOOK_EVERY)) {
            Ok(had) => Some(Some(had)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(None),
        }
    })?;
    match taken.flatten() {
        Some(had) => Ok(had),
        None => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("it sends or panics"),
        },
    }
}
