//! State of the connection while `emit` reads lines: whether there is one, and
//! which events are in doubt because one broke.
//!
//! Invariant: an event whose number is in doubt was written when a connection broke, and
//! not confirmed. What had not been written by then is sent again.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use netcluster_client::{Client, DisconnectReason, Error, Lifecycle};

use super::failure::{Code, Failure};
use super::output::notice;

/// Time that what was emitted stays unconfirmed while nothing else is: so much is in
/// doubt when a broker dies.
const CONFIRM_EVERY: Duration = Duration::from_millis(100);

/// Time that a broker has to be back at the end of the lines: as long as a restart takes.
const RESTART_GRACE: Duration = Duration::from_secs(1);

/// A connection that is back need not have noticed it yet.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// State of the connection: the module says of what.
#[derive(Clone, Default)]
pub struct Standing {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_down: bool,
    closed: Option<Error>,
    /// Last event that was confirmed when the connection broke.
    confirmed: u64,
    /// Refusal by access rules that was told last.
    forbidden: Option<Error>,
    /// First and last number, and how many, of events in doubt.
    doubts: Option<(u64, u64, u64)>,
}

impl Standing {
    /// Listener that hears of the connection, and tells the user.
    pub fn listener(&self) -> impl FnMut(&Lifecycle) + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |happened| shared.heard(happened)
    }

    /// Runs `work`, and meanwhile has the broker confirm what it emits.
    pub fn while_confirming<T>(&self, client: &Client, work: impl FnOnce() -> T) -> T {
        let (ended, end) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                while end.recv_timeout(CONFIRM_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                    if client.last_sequence() > client.confirmed_sequence() {
                        // If it does not work now it is asked again.
                        let _ = client.ping();
                    }
                }
            });
            let done = work();
            drop(ended);
            done
        })
    }

    /// Waits until there is a connection, until `deadline` at the most.
    pub fn wait_connected(&self, deadline: Option<Instant>) -> Result<(), Failure> {
        let mut state = self.shared.lock();
        // At least once: the connection may be on its way.
        loop {
            let wait = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => LOOK_AGAIN,
            };
            let waited = self.shared.changed.wait_timeout(state, wait.min(LOOK_AGAIN));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if let Some(error) = &state.closed {
                return Err(error.clone().into());
            }
            if !state.is_down || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(());
            }
        }
    }

    /// Waits until the broker has confirmed everything; for `patience` while there is one, no
    /// longer than `wait` for another one.
    pub fn settle(
        &self,
        client: &Client,
        wait: Duration,
        patience: Duration,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + patience;
        let mut absent_until = None;
        loop {
            let error = match client.ping() {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let now = Instant::now();
            match error {
                Error::NotConnected => {
                    let until = *absent_until.get_or_insert(now + wait.max(RESTART_GRACE));
                    if now >= until {
                        return Err(gone(client));
                    }
                    self.wait_connected(Some(until))?;
                }
                Error::Timeout { .. } | Error::Backpressure if now < deadline => {
                    tell_slow();
                    self.wait_connected(Some(now + LOOK_AGAIN))?;
                }
                error => return Err(error.into()),
            }
        }
    }

    /// Listener that hears of refusals alone.
    pub fn refusals(&self) -> impl FnMut(&Lifecycle) + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |happened| {
            if let Lifecycle::Error(error @ Error::Forbidden(_)) = happened {
                shared.lock().forbidden = Some(error.clone());
            }
        }
    }

    /// Fails if events were refused, or are in doubt.
    pub fn check_doubts(&self) -> Result<(), Failure> {
        let state = self.shared.lock();
        if let Some(error) = &state.forbidden {
            return Err(error.clone().into());
        }
        match state.doubts {
            None => Ok(()),
            Some((first, last, count)) => Err(Failure::new(
                Code::Failure,
                format_args!(
                    "the connection broke before the broker had confirmed all events: of lines \
                     {first} to {last} up to {count} may not have arrived"
                ),
            )),
        }
    }
}

/// Tells that the broker does not answer yet.
pub fn tell_slow() {
    notice(
        "no answer yet: the broker, or a listener, does not keep up; still waiting, Ctrl-C ends it",
    );
}

/// Makes the failure that there is no broker to confirm what was emitted.
fn gone(client: &Client) -> Failure {
    let (confirmed, last) = (client.confirmed_sequence(), client.last_sequence());
    let lines = match last.saturating_sub(confirmed) {
        0 => String::new(),
        _ => format!("; lines {} to {last} may not have arrived", confirmed + 1),
    };
    let socket = client.socket().display();
    let text = format!("no broker answers at {socket} any more{lines}; --wait waits for another");
    Failure::new(Code::NoBroker, text)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, happened: &Lifecycle) {
        let mut state = self.lock();
        match happened {
            Lifecycle::Connect { resumed: true, doubtful: 0, .. } => {
                state.is_down = false;
                notice("connected again");
            }
            Lifecycle::Connect { resumed: true, doubtful, .. } => {
                state.is_down = false;
                // Those that an earlier break put in doubt are told already.
                let known = state.doubts.map_or(0, |(_, last, _)| last).max(state.confirmed);
                let (first, last) = (known + 1, known + doubtful);
                notice(format_args!(
                    "connected again; lines {first} to {last} may not have arrived"
                ));
                let (start, count) = state.doubts.map_or((first, 0), |it| (it.0, it.2));
                state.doubts = Some((start, last, count + doubtful));
            }
            Lifecycle::Connect { .. } => state.is_down = false,
            Lifecycle::Disconnect { reason: DisconnectReason::Requested, .. } => {}
            Lifecycle::Disconnect { reason, confirmed } => {
                state.is_down = true;
                state.confirmed = *confirmed;
                notice(format_args!("not connected: {reason}; waiting for a broker"));
            }
            // The last one is the failure in the end.
            Lifecycle::Error(error @ Error::Forbidden(_)) => {
                if let Some(before) = state.forbidden.replace(error.clone()) {
                    notice(format_args!("error: {before}"));
                }
            }
            Lifecycle::Error(error) => notice(format_args!("error: {error}")),
            Lifecycle::Closed(error) => state.closed = Some(error.clone()),
            _ => {}
        }
        drop(state);
        self.changed.notify_all();
    }
}
