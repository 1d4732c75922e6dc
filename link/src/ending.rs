//! Leaving in order: what was emitted is sent, then all are told where the
//! streams end.

use std::time::Duration;

use netcluster_wire::link::limits::MAX_ENTRIES;
use netcluster_wire::link::{ControlKind, Leave, Place};

use crate::Link;
use crate::stream::Position;

const MS_NS: u64 = 1_000_000;

/// How often it is looked whether they have.
const LOOK_NS: u64 = 5 * MS_NS;

/// A goodbye is said so many times, since nobody confirms it.
const GOODBYES: u32 = 3;

const GOODBYE_INTERVAL_NS: u64 = 10 * MS_NS;

#[derive(Default)]
pub(super) enum Ending {
    /// Not yet.
    #[default]
    Live,
    /// Waiting for what was sent to be confirmed.
    Draining { until_ns: u64, next_ns: u64 },
    /// Saying goodbye.
    Saying { times: u32, next_ns: u64 },
    /// All is said.
    Over,
}

impl Ending {
    pub fn next_ns(&self) -> u64 {
        match self {
            Ending::Live | Ending::Over => u64::MAX,
            Ending::Draining { next_ns, .. } | Ending::Saying { next_ns, .. } => *next_ns,
        }
    }
}

impl Link {
    /// Begins to leave: the rest is sent, until it is confirmed or this time has
    /// passed; then all peers are told. Nothing may be emitted any more. Again: it
    /// may take no longer than this from now on.
    pub fn leave(&mut self, now_ns: u64, within: Duration) {
        let until_ns = now_ns.saturating_add(within.as_nanos() as u64);
        match &mut self.ending {
            Ending::Live => {}
            Ending::Draining { until_ns: before_ns, next_ns } => {
                *before_ns = until_ns.min(*before_ns);
                *next_ns = now_ns;
                return self.due(now_ns);
            }
            Ending::Saying { .. } | Ending::Over => return,
        }
        self.ending = Ending::Draining { until_ns, next_ns: now_ns };
        // Heartbeats begin anew, and ask for statuses.
        for own in self.own.iter_mut().filter(|own| own.flow.is_wanted()) {
            own.beat.restart(now_ns);
        }
        self.due(now_ns);
    }

    /// Whether leaving is over, and the sockets may be closed.
    pub fn has_left(&self) -> bool {
        matches!(self.ending, Ending::Over)
            && self.mail.posts.is_empty()
            && !self.sending.has_post()
    }

    pub(super) fn is_ending(&self) -> bool {
        !matches!(self.ending, Ending::Live)
    }

    pub(super) fn run_ending(&mut self, now_ns: u64) {
        if let Ending::Draining { until_ns, next_ns } = self.ending {
            if now_ns < next_ns {
                return;
            }
            let wanted = || self.own.iter().filter(|own| own.flow.is_wanted());
            let is_drained = self.discovery.is_over()
                && wanted().all(|own| {
                    !own.egress.unsent() && !own.egress.is_blocked() && own.is_confirmed()
                });
            if !is_drained && now_ns < until_ns {
                let next_ns = until_ns.min(now_ns + LOOK_NS);
                self.ending = Ending::Draining { until_ns, next_ns };
                return;
            }
            self.ending = Ending::Saying { times: 0, next_ns: now_ns };
        }
        if let Ending::Saying { times, next_ns } = self.ending
            && now_ns >= next_ns
        {
            self.say_goodbye();
            let next_ns = now_ns + GOODBYE_INTERVAL_NS;
            self.ending = match times + 1 < GOODBYES {
                true => Ending::Saying { times: times + 1, next_ns },
                false => Ending::Over,
            };
        }
    }

    fn say_goodbye(&mut self) {
        let groups = self.peers.iter().fold(0, |groups, peer| groups | peer.wants.groups);
        let places: Vec<Place> = self
            .settings
            .streams_in(groups)
            .map(|stream| {
                let own = self.own_at.get(&stream).map(|&at| &self.own[at]);
                // What was not sent in time counts, so that receivers miss it.
                let end = own.map_or(Position::default(), |own| Position {
                    number: own.egress.next().number,
                    ordinal: own.egress.end_ordinal(),
                });
                Place { stream: stream.0, number: end.number, ordinal: end.ordinal }
            })
            .collect();
        let to = self.everybody();
        let chunks = places.chunks(MAX_ENTRIES).chain(places.is_empty().then_some(&places[..]));
        for chunk in chunks {
            self.mail.post(ControlKind::Leave, &to, |out| Leave::encode(chunk, out));
        }
    }
}
