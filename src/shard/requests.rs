//! Requests of whoever runs the broker, or looks at it: frames `control`.
//!
//! Each is answered once, by JSON or by an error (refused); the connection goes on in
//! both cases. What changes something is for root and the broker's own user alone.

use netcluster_platform::{Conn, Io};
use netcluster_wire::{ErrorCode, Kind, frame};

use crate::operator::{Done, Errand};
use crate::request::Request;
use crate::target::Target;

use super::Shard;
use super::survey::{Asker, Inquiry};

/// Answer to what was done and says nothing more.
pub(super) const DONE: &str = "{}";

impl<I: Io> Shard<I> {
    /// Handles a request of a client.
    pub(super) fn requested(&mut self, conn: Conn, number: u64, payload: &[u8]) {
        let target = self.connections.at(conn).target;
        let request = Request::read(payload).and_then(|request| {
            if !request.is_for_owner() || self.is_of_owner(conn) {
                return Ok(request);
            }
            Err("only root and the broker's own user may ask for that".to_owned())
        });
        let asker = Asker { target, request: number, kind: Kind::Control };
        let begun = match request {
            Err(text) => Err(text),
            Ok(Request::LinkOpen(link)) => self.link_wanted(target, number, *link),
            Ok(Request::Kick(kick)) => return self.inquire(asker, Inquiry::Kick(kick)),
            Ok(Request::Totals {}) => return self.inquire(asker, Inquiry::Totals),
            Ok(Request::Clients(wanted)) => return self.inquire(asker, Inquiry::Clients(wanted)),
            Ok(Request::Channels(wanted)) => return self.inquire(asker, Inquiry::Channels(wanted)),
            Ok(Request::Peers {}) => return self.inquire(asker, Inquiry::Peers),
            Ok(Request::Drain(drain)) => self.drain_wanted(target, number, &drain),
            Ok(Request::LogLevel(log)) => {
                self.begin_errand(target, number, Errand::LogLevel(log.level))
            }
            Ok(Request::Reload {}) => self.begin_errand(target, number, Errand::Reload),
            Ok(Request::TakeOver(successor)) => self.take_over_wanted(target, number, successor),
        };
        if let Err(text) = begun {
            self.answer_request(target, number, Err(&text));
        }
    }

    fn begin_errand(&mut self, target: Target, number: u64, errand: Errand) -> Result<(), String> {
        let is_owner = self.is_of_owner(target.conn);
        match &mut self.errands {
            Some(errands) => errands.begin(target, number, errand, is_owner),
            None => Err("the program that this broker runs in does not do that".to_owned()),
        }
    }

    /// Returns whether a connection is of root or the broker's own user.
    pub(super) fn is_of_owner(&mut self, conn: Conn) -> bool {
        self.acceptor.limits.is_trusted(&self.connections.at(conn).peer)
    }

    /// Answers who asked for an errand that was done.
    pub(super) fn take_errand(&mut self) {
        let done = self.errands.as_mut().and_then(|errands| errands.take_done());
        if let Some(Done { target, request, answer }) = done {
            self.answer_request(target, request, answer.as_deref().map_err(String::as_str));
        }
    }

    /// Answers a request of a client of this shard, by JSON or by the reason why not.
    pub(super) fn answer_request(
        &mut self,
        target: Target,
        number: u64,
        answer: Result<&str, &str>,
    ) {
        let Some(connection) = self.connections.find_open(target) else { return };
        let source = connection.source;
        match answer {
            Ok(json) => {
                let answer = frame::encode(Kind::Control, source, number, b"", json.as_bytes());
                self.reply(target.conn, &answer);
            }
            Err(text) => self.reply_error(target.conn, ErrorCode::Refused, number, text),
        }
    }
}
