//! Another broker in the place of this one, when the owner asks for it: the thread that
//! keeps the socket gives its name away, then this broker ends.
//!
//! The answer is on its way before anything ends; should it be lost all the same, the lock
//! of the socket says who serves.

use std::sync::atomic::Ordering;

use netcluster_platform::Io;

use crate::operator::Done;
use crate::request::TakeOver;
use crate::target::Target;

use super::Shard;

impl<I: Io> Shard<I> {
    /// Handles the wish of a client that the broker behind a socket of this name take over.
    pub(super) fn take_over_wanted(
        &mut self,
        target: Target,
        request: u64,
        TakeOver { socket, link }: TakeOver,
    ) -> Result<(), String> {
        if self.is_draining() || self.shared.shutdown.load(Ordering::Relaxed) {
            return Err("it is about to end already".to_owned());
        }
        let sender = self.takeovers.0.clone();
        let waker = self.io.waker();
        let answer = move |outcome: Result<(), String>| {
            let answer = outcome.map(|()| super::requests::DONE.to_owned());
            // A shard that is gone needs none.
            let _ = sender.send(Done { target, request, answer });
            waker.wake();
        };
        self.shared.heir.appoint(socket.into(), link, Box::new(answer))
    }

    /// Answers who asked to take over, and ends if the name is given away.
    pub(super) fn take_takeover(&mut self) {
        while let Ok(Done { target, request, answer }) = self.takeovers.1.try_recv() {
            let is_given = answer.is_ok();
            self.answer_request(target, request, answer.as_deref().map_err(String::as_str));
            if is_given {
                self.shutdown.claimant = Some(target);
                tracing::info!("another broker takes this one's place: shutting down");
                self.shared.heir.begin_end();
            }
        }
    }
}
