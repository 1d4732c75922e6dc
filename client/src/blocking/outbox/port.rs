//! The outbox as the core's port: where it writes to, and what becomes of its contents when
//! that changes.

use std::sync::Arc;

use super::super::stream::Socket;
use super::{EMITTED, Outbox};
use crate::core::{Link, Outgoing, Port};

impl Port for Outbox {
    fn with<T>(&self, act: impl FnOnce(&mut Outgoing) -> T) -> T {
        act(&mut self.lock().out)
    }

    fn requested(&self) {
        if self.on_reader() {
            // With what listeners emit.
            EMITTED.set(true);
        } else {
            self.push();
        }
    }

    fn link_changed(&self) {
        let mut state = self.lock();
        match state.out.link {
            Link::Up => state.unclaimed = true,
            Link::Resuming => {}
            Link::Down => shut_down(&mut state.socket),
            Link::Closed(_) => {
                shut_down(&mut state.socket);
                state.parked = false;
                self.work.notify_all();
            }
        }
        self.room.notify_all();
        drop(state);
        self.push();
    }

    fn changed(&self) {
        self.bell.ring();
    }
}

impl Outbox {
    /// Takes a new connection: what is written goes there, once it is welcomed.
    pub(crate) fn attach(&self, socket: &Arc<Socket>) {
        let mut state = self.lock();
        // The socket of that write is shut down, so it will not be long.
        while state.writing {
            state = self.wait_for_room(state);
        }
        state.socket = Some(Arc::clone(socket));
        if matches!(state.out.link, Link::Closed(_)) {
            shut_down(&mut state.socket);
        }
    }

    /// Lets go of the connection, if there is one still: it is over.
    pub(crate) fn detach(&self) {
        shut_down(&mut self.lock().socket);
    }
}

fn shut_down(socket: &mut Option<Arc<Socket>>) {
    if let Some(socket) = socket.take() {
        socket.shut_down();
    }
}
