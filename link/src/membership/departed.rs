//! Sessions that were peers and fell silent, were taken for dead, or said goodbye: what
//! must not be forgotten of them, as they may come back.
//!
//! - Which of their control datagrams came: else a recording of the time before
//!   would count as new.
//! - Which of their streams were joined: their listeners were told of a loss then,
//!   and are not told again of what came before.
//! - Whether they were told: not after a goodbye. Who comes back from that never said it,
//!   or it was forged: events are missing since.
//!
//! Invariant: at most [`MAX_DEPARTED`]; the ones that went first make room.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::crypto::{ControlOpener, Keys, ReplayWindow};
use crate::peer_id::Session;
use crate::stream::StreamId;

/// Sessions that are remembered.
pub const MAX_DEPARTED: usize = 256;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct One {
    session: Session,
    window: ReplayWindow,
    streams: Vec<StreamId>,
    /// Listeners of the streams were told that events may be missing.
    is_told: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DepartedSessions(VecDeque<One>);

impl DepartedSessions {
    /// Remembers a session that is a peer no more.
    pub fn push(
        &mut self,
        session: &Session,
        opener: &ControlOpener,
        streams: impl Iterator<Item = StreamId>,
        is_told: bool,
    ) {
        let at = self.0.iter().position(|one| one.session == *session);
        let mut known = at.and_then(|at| self.0.remove(at)).map_or(Vec::new(), |one| one.streams);
        known.extend(streams);
        known.sort_unstable();
        known.dedup();
        if self.0.len() == MAX_DEPARTED {
            self.0.pop_front();
        }
        let window = opener.window().clone();
        self.0.push_back(One { session: *session, window, streams: known, is_told });
    }

    /// Opener of the control datagrams of a session that is no peer.
    pub fn opener(&self, keys: &Keys, session: &Session) -> ControlOpener {
        match self.find(session) {
            Some(one) => ControlOpener::resumed(keys, session, one.window.clone()),
            None => ControlOpener::new(keys, session),
        }
    }

    /// Whether a stream of a session was joined when that was a peer before.
    pub fn had_joined(&self, session: &Session, stream: StreamId) -> bool {
        self.find(session).is_some_and(|one| one.streams.contains(&stream))
    }

    /// Whether a stream of a session was joined until that said goodbye.
    pub fn had_left(&self, session: &Session, stream: StreamId) -> bool {
        self.find(session).is_some_and(|one| !one.is_told && one.streams.contains(&stream))
    }

    fn find(&self, session: &Session) -> Option<&One> {
        self.0.iter().find(|one| one.session == *session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_went_makes_room_and_who_goes_again_is_one() {
        let session = |index: u16| {
            let mut session = [0; 16];
            session[..2].copy_from_slice(&index.to_le_bytes());
            session
        };
        let opener = ControlOpener::new(&Keys::open_link(), &session(0));
        let mut departed = DepartedSessions::default();
        let stream = |group| StreamId::new(group, 0);
        for index in 0..MAX_DEPARTED as u16 {
            departed.push(&session(index), &opener, [stream(1)].into_iter(), true);
        }
        departed.push(&session(0), &opener, [stream(2)].into_iter(), false);
        assert_eq!(departed.0.len(), MAX_DEPARTED);
        assert!(departed.had_joined(&session(0), stream(1)));
        assert!(departed.had_joined(&session(0), stream(2)));
        assert!(departed.had_left(&session(0), stream(2)), "its last end counts");
        assert!(!departed.had_left(&session(1), stream(1)));
        departed.push(&session(u16::MAX), &opener, std::iter::empty(), true);
        assert_eq!(departed.0.len(), MAX_DEPARTED);
        assert!(!departed.had_joined(&session(1), stream(1)), "it went first");
        assert!(departed.had_joined(&session(0), stream(1)));
    }
}
