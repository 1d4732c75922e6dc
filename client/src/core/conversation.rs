//! The conversation after the welcome: frames that were received are dispatched to
//! listeners, or acted upon.

use std::sync::Arc;

use bytes::Bytes;

use netcluster_wire::ErrorCode;

use super::answers::Answer;
use super::machine::Machine;
use super::registry::Standing;
use super::session::SessionEvent;
use super::shared::Port;
use crate::error::{DisconnectReason, Error};
use crate::lifecycle::Lifecycle;
use crate::loss::Lost;

/// After so many messages the driver is asked whether to go on.
const ASK_EVERY_MESSAGES: u32 = 64;

impl<P: Port> Machine<P> {
    /// Dispatches the whole frames that were received. `Some`: the connection ends,
    /// and how.
    pub(super) fn dispatch_received(
        &mut self,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Option<DisconnectReason> {
        let (lent, range) = self.received.lend();
        let (used, end) = self.dispatch_frames(&lent[range], Some(&lent), go_on);
        self.received.give_back(lent, used);
        end
    }

    /// Dispatches the whole frames at the front of `bytes`, which lie in `buffer`, or in
    /// the broker's memory; how many bytes they had, and whether the connection ends.
    pub(super) fn dispatch_frames(
        &mut self,
        bytes: &[u8],
        buffer: Option<&Bytes>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> (usize, Option<DisconnectReason>) {
        let shared = Arc::clone(&self.shared);
        let retire = |id| {
            shared.remove_listener(id);
        };
        let mut at = 0;
        let mut messages = 0;
        let end = 'dispatching: loop {
            if self.connecting && self.inbound.next_event(&bytes[at..]).is_some() {
                self.connected();
            }
            let Machine { dispatcher, inbound, .. } = &mut *self;
            while let Some(frame) = inbound.next_event(&bytes[at..]) {
                let most = ASK_EVERY_MESSAGES - messages;
                let front = (&bytes[at..], buffer);
                match dispatcher.dispatch(&shared.registry, &retire, frame, front, most) {
                    Ok(done) => {
                        at += done.bytes;
                        messages += done.messages;
                    }
                    Err(error) => break 'dispatching Some(error.into_reason()),
                }
                if messages >= ASK_EVERY_MESSAGES {
                    messages = 0;
                    if !go_on() {
                        break 'dispatching Some(DisconnectReason::Requested);
                    }
                }
            }
            match inbound.next(&bytes[at..]) {
                Ok(Some((event, length))) => {
                    at += length;
                    if let SessionEvent::Shared(step) = event {
                        break self.step(step);
                    }
                    if let Some(end) = self.control(event) {
                        break Some(end);
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error.into_reason()),
            }
        };
        (at, end)
    }

    #[cold]
    #[inline(never)]
    fn control(&mut self, event: SessionEvent<'_>) -> Option<DisconnectReason> {
        let shared = &self.shared;
        match event {
            SessionEvent::Ack { request } => self.answered(request, Standing::InForce),
            SessionEvent::Refused { code: ErrorCode::Draining, text, .. } => {
                self.tell(&Lifecycle::Error(Error::Draining(text)));
            }
            SessionEvent::Refused { request, code: ErrorCode::Refused, text } => {
                shared.answer(request, Answer::Refused(text));
            }
            SessionEvent::Refused { request, code: ErrorCode::Forbidden, text } => {
                // Events that came, a pattern, or a question about an event.
                if !shared.answer(request, Answer::Forbidden(text.clone())) {
                    self.answered(request, Standing::Forbidden(text.clone()));
                    self.tell(&Lifecycle::Error(Error::Forbidden(text)));
                }
            }
            SessionEvent::Refused { request, text, .. } => {
                self.answered(request, Standing::Refused(text.clone()));
                self.tell(&Lifecycle::Error(Error::PatternRefused(text)));
            }
            SessionEvent::ClosedByBroker { code, text } => {
                return Some(DisconnectReason::ClosedByBroker { code, text });
            }
            SessionEvent::Ping { token } => {
                let pong = shared.port.with(|outgoing| {
                    outgoing.request(|outbound, out| {
                        outbound.pong(out, token);
                        token
                    })
                });
                // Full or over: then the broker need not be answered.
                if pong.is_ok() {
                    shared.port.requested();
                }
            }
            SessionEvent::Pong { token, .. } => {
                shared.confirm(self.inbound.confirmed());
                shared.answer(token, Answer::Pong);
            }
            SessionEvent::Lost { source, count, reason } => {
                self.lost(Lost { source, count, reason });
            }
            SessionEvent::Bye { .. } if shared.is_leaving() => {
                // The broker has queued all of it.
                shared.confirm(shared.last_sequence());
                return Some(DisconnectReason::Requested);
            }
            SessionEvent::Bye { has_successor, .. } => {
                if has_successor {
                    self.attempts.has_successor();
                }
                shared.confirm(self.inbound.confirmed());
                return Some(DisconnectReason::BrokerShutDown);
            }
            SessionEvent::Cluster { token, missing } => {
                shared.answer(token, Answer::Missing(missing.to_owned()));
            }
            SessionEvent::Audience { token, audience } => {
                shared.answer(token, Answer::Audience(audience));
            }
            SessionEvent::Stats { token, json } => {
                shared.answer(token, Answer::Status(String::from_utf8_lossy(json).into_owned()));
            }
            SessionEvent::Control { token, json } => {
                let json = String::from_utf8_lossy(json).into_owned();
                shared.answer(token, Answer::Control(json));
            }
            // Events and steps were taken before, a second welcome is an error.
            SessionEvent::Event(_) | SessionEvent::Shared(_) | SessionEvent::Welcome { .. } => {}
        }
        None
    }

    fn answered(&mut self, request: u64, standing: Standing) {
        if self.shared.registry.lock().answered(request, standing) {
            self.shared.port.changed();
        }
        self.check_in_force();
    }
}
