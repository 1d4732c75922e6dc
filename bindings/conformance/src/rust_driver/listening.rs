//! Listeners of the driver, and subscriptions, each taken from by a thread of its own.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use netcluster_client::{Client, Error, ListenerId, Message, RecvError};
use serde_json::Value;

use super::output::Output;

/// Time between two looks whether a subscription is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One that listens.
pub enum Listening {
    /// A listener.
    Pushed(ListenerId),
    /// A subscription, and whether it still reports.
    Pulled(Arc<Mutex<bool>>),
}

impl Listening {
    /// Adds a listener as a request says.
    ///
    /// # Errors
    /// Those of the client.
    pub fn begin(client: &Client, request: &Value, output: &Output) -> Result<Listening, Error> {
        let text = |key: &str| request[key].as_str().unwrap_or_default();
        let is = |key: &str| request[key].as_bool().unwrap_or_default();
        let (name, output) = (text("listener").to_owned(), output.clone());
        let own_id = Arc::new(OnceLock::new());
        let then = Then::read(&request["then"], client, &own_id);
        let listener = move |message: &Message<'_>| {
            output.event(&name, &message.into_owned());
            then.act(message);
        };
        let pattern = text("pattern");
        let id = match (is("once"), is("prepend")) {
            (false, false) => client.on(pattern, listener),
            (true, false) => client.once(pattern, listener),
            (false, true) => client.prepend_listener(pattern, listener),
            (true, true) => client.prepend_once_listener(pattern, listener),
        }?;
        let _ = own_id.set(id);
        Ok(Listening::Pushed(id))
    }

    /// Begins a subscription as a request says.
    ///
    /// # Errors
    /// Those of the client.
    pub fn pull(client: &Client, request: &Value, output: &Output) -> Result<Listening, Error> {
        let text = |key: &str| request[key].as_str().unwrap_or_default();
        let subscription = client.subscribe(text("pattern"))?;
        let (name, output) = (text("listener").to_owned(), output.clone());
        let reports = Arc::new(Mutex::new(true));
        let asked = Arc::clone(&reports);
        thread::spawn(move || {
            loop {
                let taken = subscription.recv_timeout(LOOK_EVERY);
                let reports = asked.lock().unwrap_or_else(PoisonError::into_inner);
                match taken {
                    _ if !*reports => return,
                    Ok(message) => output.event(&name, &message),
                    Err(RecvError::Lost(lost)) => {
                        output.lost(Some(&name), lost.source, lost.count, lost.reason);
                    }
                    Err(RecvError::Empty) => {}
                    Err(_) => return,
                }
            }
        });
        Ok(Listening::Pulled(reports))
    }

    /// Ends it; whether it was there.
    pub fn end(self, client: &Client) -> bool {
        match self {
            Listening::Pushed(id) => client.remove_listener(id),
            Listening::Pulled(reports) => {
                let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *reports)
            }
        }
    }
}

/// What a listener does behind its report.
enum Then {
    Nothing,
    Throw,
    Off(Client, Arc<OnceLock<ListenerId>>),
    Emit(Client, String),
}

impl Then {
    fn read(then: &Value, client: &Client, own_id: &Arc<OnceLock<ListenerId>>) -> Then {
        match (then.as_str(), then["emit"].as_str()) {
            (Some("throw"), _) => Then::Throw,
            (Some("off"), _) => Then::Off(client.clone(), Arc::clone(own_id)),
            (_, Some(event)) => Then::Emit(client.clone(), event.to_owned()),
            _ => Then::Nothing,
        }
    }

    fn act(&self, message: &Message<'_>) {
        match self {
            Then::Nothing => {}
            Then::Throw => panic!("as the runner asked"),
            Then::Off(client, own_id) => {
                own_id.get().map(|id| client.remove_listener(*id));
            }
            Then::Emit(client, event) => {
                let emitted = client.emit_encoded(event, message.encoding(), message.payload());
                assert!(emitted.is_ok(), "one event is never too much");
            }
        }
    }
}
