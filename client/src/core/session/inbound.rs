//! Reads frames in place and says what they mean.
//!
//! Invariant: no event is reported before the welcome, none after the end. No frame is
//! larger than its kind may be, and its header alone says so: nobody need make room for
//! what is refused.

use netcluster_wire::bye::Bye;
use netcluster_wire::control::{self, Audience};
use netcluster_wire::limits::{HARD_MAX_PAYLOAD_BYTES, MAX_CONTROL_PAYLOAD_BYTES, MAX_STATS_BYTES};
use netcluster_wire::{ErrorCode, Frame, Kind, LossReason, SharedStep, Source, Welcome};

use crate::error::Error;

/// The state of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// Hello was sent.
    Greeting,
    /// Welcomed.
    Open,
    /// The broker said bye or sent a fatal error: nothing more comes.
    Ended,
}

/// A statement of the broker.
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionEvent<'a> {
    /// An event of somebody.
    Event(Frame<'a>),
    /// The handshake succeeded.
    Welcome {
        /// The source that this client is.
        source: Source,
        /// Limits, and why the previous connection ended.
        welcome: Welcome,
    },
    /// A request is in force.
    Ack {
        /// The request's number.
        request: u64,
    },
    /// A request failed, or the broker says something without having been asked; the
    /// connection goes on.
    Refused {
        /// The request's number, or 0.
        request: u64,
        /// The subject of the error.
        code: ErrorCode,
        /// The broker's words.
        text: String,
    },
    /// The broker ends the connection.
    ClosedByBroker {
        /// The subject of the error.
        code: ErrorCode,
        /// The broker's words.
        text: String,
    },
    /// A ping, to be answered with [`Outbound::pong`](crate::session::Outbound::pong).
    Ping {
        /// To be echoed.
        token: u64,
    },
    /// The answer to a ping.
    Pong {
        /// Token of the ping.
        token: u64,
        /// Sequence of the last own event that is queued at every target.
        confirmed: u64,
    },
    /// Events are missing here.
    Lost {
        /// Whose; `None`: several or unknown. Client 0: all clients of a node.
        source: Option<Source>,
        /// The number of missing events; `None`: unknown.
        count: Option<u64>,
        /// The reason of the loss.
        reason: LossReason,
    },
    /// The orderly end: the answer to an own bye, or the broker shuts down.
    Bye {
        /// Token of the own bye.
        token: u64,
        /// The broker's successor listens already.
        has_successor: bool,
    },
    /// The other brokers know of all subscriptions, or it took too long.
    Cluster {
        /// Token of the question.
        token: u64,
        /// Those that do not know of them, one a line.
        missing: &'a str,
    },
    /// The audience of an event.
    Audience {
        /// Token of the question.
        token: u64,
        /// The number of clients and brokers.
        audience: Audience,
    },
    /// A step from sockets to shared memory.
    Shared(SharedStep),
    /// The answer to a request of whoever runs the broker.
    Control {
        /// Token of the request.
        token: u64,
        /// The answer as JSON.
        json: &'a [u8],
    },
    /// The broker's status.
    Stats {
        /// Token of the question.
        token: u64,
        /// The status as JSON.
        json: &'a [u8],
    },
}

/// The reading half of a session.
#[derive(Debug)]
pub struct Inbound {
    state: SessionState,
    /// Largest payload at the moment.
    max_payload_bytes: usize,
    /// Largest event that is taken, whatever the broker allows.
    max_event_bytes: usize,
    confirmed: u64,
}

impl Default for Inbound {
    fn default() -> Inbound {
        Inbound::new()
    }
}

impl Inbound {
    /// Before the welcome. Takes events as large as the broker allows.
    pub fn new() -> Inbound {
        Inbound::limited(HARD_MAX_PAYLOAD_BYTES)
    }

    /// Makes one before the welcome, which refuses larger events.
    pub fn limited(max_event_bytes: usize) -> Inbound {
        Inbound {
            state: SessionState::Greeting,
            max_payload_bytes: MAX_CONTROL_PAYLOAD_BYTES,
            max_event_bytes: max_event_bytes.min(HARD_MAX_PAYLOAD_BYTES),
            confirmed: 0,
        }
    }

    /// Tells the state of the conversation.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.state
    }

    /// Sequence of the last own event known to be queued at every target.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// The event at the front of `bytes`, if there is a whole one: the fast path
    /// of [`Inbound::next`], which says about all else what it is.
    #[inline(always)]
    pub fn next_event<'a>(&self, bytes: &'a [u8]) -> Option<Frame<'a>> {
        match Frame::read(bytes, self.max_payload_bytes) {
            Ok(Some(frame)) if frame.kind() == Kind::Event && self.state == SessionState::Open => {
                Some(frame)
            }
            _ => None,
        }
    }

    /// The whole frame at the front of `bytes` and its length; `None` until it
    /// is complete.
    ///
    /// # Errors
    /// The broker broke the protocol: close the connection.
    #[inline]
    pub fn next<'a>(
        &mut self,
        bytes: &'a [u8],
    ) -> Result<Option<(SessionEvent<'a>, usize)>, Error> {
        let Some(frame) = Frame::read(bytes, self.max_payload_bytes)? else { return Ok(None) };
        let length = frame.layout().frame_len;
        if frame.kind() == Kind::Event && self.state == SessionState::Open {
            return Ok(Some((SessionEvent::Event(frame), length)));
        }
        self.control(frame).map(|event| Some((event, length)))
    }

    #[cold]
    #[inline(never)]
    fn control<'a>(&mut self, frame: Frame<'a>) -> Result<SessionEvent<'a>, Error> {
        let number = frame.sequence();
        let payload = frame.payload();
        match (self.state, frame.kind()) {
            (SessionState::Ended, kind) => Err(Error::Protocol(format!("{kind:?} after the end"))),
            (_, Kind::Error) => {
                let (code, text) = control::decode_error(payload)?;
                if code == ErrorCode::Version {
                    self.state = SessionState::Ended;
                    return Err(Error::Version(text));
                }
                if code.is_fatal() {
                    self.state = SessionState::Ended;
                    return Ok(SessionEvent::ClosedByBroker { code, text });
                }
                Ok(SessionEvent::Refused { request: number, code, text })
            }
            (SessionState::Greeting, Kind::Welcome) => {
                let welcome = Welcome::decode(payload)?;
                let source = frame.source();
                if source == Source::NONE {
                    return Err(Error::Protocol("a welcome without a source".into()));
                }
                self.state = SessionState::Open;
                let limit = usize::try_from(welcome.max_payload).unwrap_or(usize::MAX);
                // The status may be larger than the largest event.
                self.max_payload_bytes = limit.min(self.max_event_bytes).max(MAX_STATS_BYTES);
                Ok(SessionEvent::Welcome { source, welcome })
            }
            (SessionState::Greeting, Kind::Bye) => {
                self.state = SessionState::Ended;
                let has_successor = Bye::decode(payload).has_successor;
                Ok(SessionEvent::Bye { token: number, has_successor })
            }
            (SessionState::Greeting, kind) => {
                Err(Error::Protocol(format!("{kind:?} instead of a welcome")))
            }
            (_, Kind::Ack) => Ok(SessionEvent::Ack { request: number }),
            (_, Kind::Ping) => Ok(SessionEvent::Ping { token: number }),
            (_, Kind::Pong) => {
                let confirmed = control::decode_pong(payload)?;
                self.confirmed = self.confirmed.max(confirmed);
                Ok(SessionEvent::Pong { token: number, confirmed })
            }
            (_, Kind::Lost) => {
                let reason = control::decode_lost(payload)?;
                let source = frame.source();
                Ok(SessionEvent::Lost {
                    source: (source.node != 0).then_some(source),
                    count: (number != 0).then_some(number),
                    reason,
                })
            }
            (_, Kind::Bye) => {
                self.state = SessionState::Ended;
                let bye = Bye::decode(payload);
                if number == 0 {
                    self.confirmed = self.confirmed.max(bye.confirmed);
                }
                Ok(SessionEvent::Bye { token: number, has_successor: bye.has_successor })
            }
            (_, Kind::Cluster) => Ok(SessionEvent::Cluster {
                token: number,
                missing: std::str::from_utf8(payload)
                    .map_err(|_| Error::Protocol("a name that is no UTF-8".into()))?,
            }),
            (_, Kind::Audience) => Ok(SessionEvent::Audience {
                token: number,
                audience: control::decode_audience(payload)?,
            }),
            (_, Kind::Control) => Ok(SessionEvent::Control { token: number, json: payload }),
            (_, Kind::Stats) => Ok(SessionEvent::Stats { token: number, json: payload }),
            (_, Kind::Shared) => Ok(SessionEvent::Shared(SharedStep::decode(payload)?)),
            (_, kind) => Err(Error::Protocol(format!("{kind:?} from a broker"))),
        }
    }
}
