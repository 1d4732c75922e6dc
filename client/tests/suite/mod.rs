//! The suite that both drivers pass: what a client promises, however it is driven.

mod connection;
mod emitting;
mod listeners;

use std::path::Path;
use std::sync::LazyLock;
use std::task::{Context, Waker};
use std::time::Duration;

use netcluster_client::{
    AsyncClient, AsyncSubscription, Audience, Client, ClientBuilder, Encoding, Error, Lifecycle,
    ListenerId, Lost, Message, OwnedMessage, RecvError, Source, Subscription,
};
use tokio::runtime::Runtime;

/// A client, called from threads.
pub trait Bus: Clone + std::fmt::Debug + Send + Sync + 'static {
    type Pull: Pull;
    fn build(builder: ClientBuilder, path: impl AsRef<Path>) -> Result<Self, Error>;
    fn connect(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::build(Client::builder(), path)
    }
    fn emit(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error>;
    /// Emits as listeners may.
    fn emit_inside(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error>;
    /// Adds a listener as listeners may: it is there when this returns.
    fn on_inside(&self, pattern: &str, listener: impl FnMut(&Message<'_>) + Send + 'static);
    fn emit_text(&self, event: &str, text: &str) -> Result<(), Error>;
    fn emit_encoded(&self, event: &str, encoding: Encoding, data: &[u8]) -> Result<(), Error>;
    fn emit_json(&self, event: &str, value: &[u32]) -> Result<(), Error>;
    fn flush(&self) -> Result<(), Error>;
    fn on(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error>;
    fn once(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error>;
    fn prepend_listener(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error>;
    fn prepend_once_listener(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error>;
    fn remove_listener(&self, id: ListenerId) -> bool;
    fn remove_all_listeners(&self, pattern: Option<&str>) -> usize;
    fn listener_count(&self, pattern: &str) -> usize;
    fn event_names(&self) -> Vec<String>;
    fn subscribe(&self, pattern: &str) -> Result<Self::Pull, Error>;
    fn on_lifecycle(&self, listener: impl FnMut(&Lifecycle) + Send + 'static);
    fn disconnect(&self) -> Result<(), Error>;
    fn audience(&self, event: &str) -> Result<Audience, Error>;
    fn status(&self) -> Result<String, Error>;
    fn ping(&self) -> Result<Duration, Error>;
    fn source(&self) -> Source;
    fn last_sequence(&self) -> u64;
    fn confirmed_sequence(&self) -> u64;
    fn is_closed(&self) -> bool;
    fn max_payload(&self) -> usize;
}

/// A subscription, taken from by a thread.
pub trait Pull: std::fmt::Debug + Iterator<Item = Result<OwnedMessage, Lost>> + Send {
    fn recv_timeout(&mut self, timeout: Duration) -> Result<OwnedMessage, RecvError>;
    fn try_recv(&mut self) -> Result<OwnedMessage, RecvError>;
}

impl Pull for Subscription {
    fn recv_timeout(&mut self, timeout: Duration) -> Result<OwnedMessage, RecvError> {
        Subscription::recv_timeout(self, timeout)
    }

    fn try_recv(&mut self) -> Result<OwnedMessage, RecvError> {
        Subscription::try_recv(self)
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Runs one call of an async client to its end.
fn wait<T>(call: impl Future<Output = T>) -> T {
    RUNTIME.block_on(call)
}

/// The stream, as an iterator.
#[derive(Debug)]
pub struct Blocked(AsyncSubscription);

impl Pull for Blocked {
    fn recv_timeout(&mut self, timeout: Duration) -> Result<OwnedMessage, RecvError> {
        let taken = wait(async { tokio::time::timeout(timeout, self.0.recv()).await });
        taken.unwrap_or(Err(RecvError::Empty))
    }

    fn try_recv(&mut self) -> Result<OwnedMessage, RecvError> {
        self.0.try_recv()
    }
}

impl Iterator for Blocked {
    type Item = Result<OwnedMessage, Lost>;

    fn next(&mut self) -> Option<Result<OwnedMessage, Lost>> {
        match wait(self.0.recv()) {
            Ok(message) => Some(Ok(message)),
            Err(RecvError::Lost(lost)) => Some(Err(lost)),
            Err(_) => None,
        }
    }
}

/// Has a trait's method call the type's own of the same name; `wait` those that are
/// async.
macro_rules! forward {
    ($client:ident, $wait:ident, $pull:expr) => {
        fn emit(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error> {
            $wait!($client::emit(self, event, data))
        }
        fn emit_text(&self, event: &str, text: &str) -> Result<(), Error> {
            $wait!($client::emit_text(self, event, text))
        }
        fn emit_encoded(&self, event: &str, encoding: Encoding, data: &[u8]) -> Result<(), Error> {
            $wait!($client::emit_encoded(self, event, encoding, data))
        }
        fn emit_json(&self, event: &str, value: &[u32]) -> Result<(), Error> {
            $wait!($client::emit_json(self, event, value))
        }
        fn flush(&self) -> Result<(), Error> {
            $wait!($client::flush(self))
        }
        fn on(
            &self,
            pattern: &str,
            listener: impl FnMut(&Message<'_>) + Send + 'static,
        ) -> Result<ListenerId, Error> {
            $wait!($client::on(self, pattern, listener))
        }
        fn once(
            &self,
            pattern: &str,
            listener: impl FnMut(&Message<'_>) + Send + 'static,
        ) -> Result<ListenerId, Error> {
            $wait!($client::once(self, pattern, listener))
        }
        fn prepend_listener(
            &self,
            pattern: &str,
            listener: impl FnMut(&Message<'_>) + Send + 'static,
        ) -> Result<ListenerId, Error> {
            $wait!($client::prepend_listener(self, pattern, listener))
        }
        fn prepend_once_listener(
            &self,
            pattern: &str,
            listener: impl FnMut(&Message<'_>) + Send + 'static,
        ) -> Result<ListenerId, Error> {
            $wait!($client::prepend_once_listener(self, pattern, listener))
        }
        fn remove_listener(&self, id: ListenerId) -> bool {
            $client::remove_listener(self, id)
        }
        fn remove_all_listeners(&self, pattern: Option<&str>) -> usize {
            $client::remove_all_listeners(self, pattern)
        }
        fn listener_count(&self, pattern: &str) -> usize {
            $client::listener_count(self, pattern)
        }
        fn event_names(&self) -> Vec<String> {
            $client::event_names(self)
        }
        fn subscribe(&self, pattern: &str) -> Result<Self::Pull, Error> {
            $wait!($client::subscribe(self, pattern)).map($pull)
        }
        fn on_lifecycle(&self, listener: impl FnMut(&Lifecycle) + Send + 'static) {
            $client::on_lifecycle(self, listener);
        }
        fn disconnect(&self) -> Result<(), Error> {
            $wait!($client::disconnect(self))
        }
        fn audience(&self, event: &str) -> Result<Audience, Error> {
            $wait!($client::audience(self, event))
        }
        fn status(&self) -> Result<String, Error> {
            $wait!($client::status(self))
        }
        fn ping(&self) -> Result<Duration, Error> {
            $wait!($client::ping(self))
        }
        fn source(&self) -> Source {
            $client::source(self)
        }
        fn last_sequence(&self) -> u64 {
            $client::last_sequence(self)
        }
        fn confirmed_sequence(&self) -> u64 {
            $client::confirmed_sequence(self)
        }
        fn is_closed(&self) -> bool {
            $client::is_closed(self)
        }
        fn max_payload(&self) -> usize {
            $client::max_payload(self)
        }
    };
}

macro_rules! called {
    ($call:expr) => {
        $call
    };
}

macro_rules! awaited {
    ($call:expr) => {
        wait($call)
    };
}

impl Bus for Client {
    type Pull = Subscription;

    fn build(builder: ClientBuilder, path: impl AsRef<Path>) -> Result<Self, Error> {
        builder.connect(path)
    }

    fn emit_inside(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error> {
        Client::emit(self, event, data)
    }

    fn on_inside(&self, pattern: &str, listener: impl FnMut(&Message<'_>) + Send + 'static) {
        Client::on(self, pattern, listener).unwrap();
    }

    forward!(Client, called, |subscription| subscription);
}

impl Bus for AsyncClient {
    type Pull = Blocked;

    fn build(builder: ClientBuilder, path: impl AsRef<Path>) -> Result<Self, Error> {
        wait(builder.connect_async(path))
    }

    fn emit_inside(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error> {
        AsyncClient::try_emit(self, event, data)
    }

    fn on_inside(&self, pattern: &str, listener: impl FnMut(&Message<'_>) + Send + 'static) {
        let (client, pattern) = (self.clone(), pattern.to_owned());
        let mut adding = Box::pin(async move {
            AsyncClient::on(&client, &pattern, listener).await.unwrap();
        });
        // Adds it; what is left is waiting.
        if adding.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            RUNTIME.spawn(adding);
        }
    }

    forward!(AsyncClient, awaited, Blocked);
}

/// Makes a test of each of these functions for each driver, and each use of shared memory.
macro_rules! both {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        $crate::suite::driven!(blocking, Client, $($(#[$attribute])* $name),*);
        $crate::suite::driven!(tokio, AsyncClient, $($(#[$attribute])* $name),*);
    };
}
macro_rules! driven {
    ($module:ident, $client:ident, $($(#[$attribute:meta])* $name:ident),*) => {
        mod $module {
            mod by_sockets {
                $($(#[$attribute])* #[test] fn $name() {
                    super::super::$name::<netcluster_client::$client>();
                })*
            }
            #[cfg(target_os = "linux")]
            mod by_memory {
                use crate::support::{Sharing, with_sharing};
                $($(#[$attribute])* #[test] fn $name() {
                    let test = super::super::$name::<netcluster_client::$client>;
                    with_sharing(Sharing::Everybody, test);
                })*
            }
            #[cfg(target_os = "linux")]
            mod by_both {
                use crate::support::{Sharing, with_sharing};
                $($(#[$attribute])* #[test] fn $name() {
                    let test = super::super::$name::<netcluster_client::$client>;
                    with_sharing(Sharing::Some, test);
                })*
            }
        }
    };
}
use both;
pub(crate) use driven;
