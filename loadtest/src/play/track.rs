//! Track of the events that one listening client has got of each emitting client: gaps,
//! repeats, late ones, broken ones.
//!
//! ```text
//!   sequence   … 40 41 42 43 44 | 45        next = 45
//!   seen           1  1  0  1  1            the last 64, to tell late from again
//! ```
//! An event that comes after a later one was counted as lost before; it is taken back and
//! counted as disordered. What comes more than 64 late counts as again.

use netcluster_wire::Pattern;

use super::plan::SourcePlan;
use crate::delivery_check::Emitted;
use crate::stamp::Stamp;

/// Number of sequence numbers back that are remembered.
const REMEMBERED: u64 = 64;

/// Counters of one client.
#[derive(Debug, Default)]
pub struct Track {
    /// Place of each emitter in `sources`, plus one.
    places: Vec<u32>,
    sources: Vec<Source>,
    streams: Vec<Stream>,
    received: u64,
    bytes: u64,
    lost: u64,
    duplicated: u64,
    disordered: u64,
    corrupt: u64,
}

/// Emitting client.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    id: u16,
    first: usize,
    events: usize,
    /// Whether the client is on another machine.
    pub is_remote: bool,
    /// Whether the client's payloads tell when they were due.
    pub is_timed: bool,
    /// Time by which the client's clock is behind.
    pub behind_ns: i64,
}

/// Events of one name of one emitting client.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    /// First pattern that the event matches, plus one; others do not count it.
    pattern: u32,
    next: u64,
    seen: u64,
}

/// Totals of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that came, each once and whole.
    pub received: u64,
    /// Bytes of these events.
    pub bytes: u64,
    /// Events that never came.
    pub lost: u64,
    /// Events that came again.
    pub duplicated: u64,
    /// Events that came after later ones.
    pub disordered: u64,
    /// Events that were not as emitted.
    pub corrupt: u64,
}

impl Track {
    /// Makes the track of a client with these patterns on this channel.
    pub fn new(sources: &[SourcePlan], channel: &str, patterns: &[Pattern]) -> Track {
        let mut track = Track::default();
        for plan in sources.iter().filter(|plan| plan.channel == channel) {
            let first = track.streams.len();
            track.streams.extend(plan.events.iter().map(|event| {
                let place = patterns.iter().position(|pattern| pattern.matches(event.as_bytes()));
                Stream { pattern: place.map_or(0, |place| place as u32 + 1), ..Stream::default() }
            }));
            track.sources.push(Source {
                id: plan.id,
                first,
                events: plan.events.len(),
                is_remote: plan.is_remote,
                is_timed: plan.is_timed,
                behind_ns: plan.behind_ns,
            });
            let id = usize::from(plan.id);
            track.places.resize(track.places.len().max(id + 1), 0);
            track.places[id] = track.sources.len() as u32;
        }
        track
    }

    /// Counts an event that came for the `pattern`-th pattern; returns its source if the
    /// event was whole and new.
    #[inline]
    pub fn record(&mut self, stamp: Option<Stamp>, pattern: usize, bytes: usize) -> Option<Source> {
        let Some((source, stream)) = stamp.and_then(|stamp| self.find(stamp)) else {
            self.corrupt += 1;
            return None;
        };
        let stamp = stamp?;
        let stream = &mut self.streams[stream];
        if stream.pattern as usize != pattern + 1 {
            return None;
        }
        if stamp.sequence < stream.next {
            let back = stream.next - 1 - stamp.sequence;
            if back >= REMEMBERED || stream.seen >> back & 1 == 1 {
                self.duplicated += 1;
                return None;
            }
            stream.seen |= 1 << back;
            self.lost -= 1;
            self.disordered += 1;
        } else {
            let gap = stamp.sequence - stream.next;
            self.lost += gap;
            let shift = gap + 1;
            stream.seen = if shift >= REMEMBERED { 0 } else { stream.seen << shift };
            stream.seen |= 1;
            stream.next = stamp.sequence + 1;
        }
        self.received += 1;
        self.bytes += bytes as u64;
        Some(self.sources[source])
    }

    fn find(&self, stamp: Stamp) -> Option<(usize, usize)> {
        let place = *self.places.get(usize::from(stamp.emitter))?;
        let source = usize::try_from(place).ok()?.checked_sub(1)?;
        let of = &self.sources[source];
        let event = usize::from(stamp.event);
        (event < of.events).then_some((source, of.first + event))
    }

    /// Returns events and bytes so far.
    pub fn received(&self) -> (u64, u64) {
        (self.received, self.bytes)
    }

    /// Counts the events that were emitted and are behind the last one that came.
    pub fn missing(&self, totals: &[Emitted]) -> u64 {
        let missing = |total: &Emitted| {
            let stamp = Stamp { sequence: 0, emitter: total.emitter, event: total.event };
            let stream = &self.streams[self.find(stamp)?.1];
            (stream.pattern > 0).then(|| total.count.saturating_sub(stream.next))
        };
        totals.iter().filter_map(missing).sum()
    }

    /// Returns the totals, if no event comes any more.
    pub fn counts(&self, totals: &[Emitted]) -> Counts {
        Counts {
            received: self.received,
            bytes: self.bytes,
            lost: self.lost + self.missing(totals),
            duplicated: self.duplicated,
            disordered: self.disordered,
            corrupt: self.corrupt,
        }
    }

    /// Returns the numbers of the emitters that the client hears.
    pub fn emitters(&self) -> impl Iterator<Item = u16> + '_ {
        self.sources.iter().map(|source| source.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(patterns: &[&str]) -> Track {
        let source = SourcePlan {
            id: 5,
            channel: "c".into(),
            events: vec!["a.x".into(), "b".into()],
            machine: 0,
            is_remote: false,
            is_timed: true,
            behind_ns: 0,
        };
        let other = SourcePlan { id: 6, channel: "d".into(), ..source.clone() };
        let patterns: Vec<Pattern> =
            patterns.iter().map(|text| Pattern::new(text.as_bytes()).unwrap()).collect();
        Track::new(&[source, other], "c", &patterns)
    }

    fn came(track: &mut Track, event: u16, sequences: &[u64]) -> Counts {
        for &sequence in sequences {
            track.record(Some(Stamp { sequence, emitter: 5, event }), 0, 10);
        }
        track.counts(&[Emitted { emitter: 5, event, count: 6 }])
    }

    #[test]
    fn each_once_is_clean() {
        let counts = came(&mut track(&["a.*"]), 0, &[0, 1, 2, 3, 4, 5]);
        assert_eq!(counts, Counts { received: 6, bytes: 60, ..Counts::default() });
    }

    #[test]
    fn late_repeated_and_missing_ones_are_told_apart() {
        let counts = came(&mut track(&["a.*"]), 0, &[0, 2, 1, 2, 4]);
        let expected = Counts {
            received: 4,
            bytes: 40,
            lost: 2,
            duplicated: 1,
            disordered: 1,
            ..Counts::default()
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn what_is_not_listened_to_is_not_missing() {
        let track = track(&["a.*"]);
        assert_eq!(track.missing(&[Emitted { emitter: 5, event: 1, count: 9 }]), 0);
        assert_eq!(track.missing(&[Emitted { emitter: 6, event: 0, count: 9 }]), 0);
        assert_eq!(track.missing(&[Emitted { emitter: 5, event: 0, count: 9 }]), 9);
    }

    #[test]
    fn an_event_of_two_patterns_counts_once() {
        let mut track = track(&["a.*", "**"]);
        let stamp = Stamp { sequence: 0, emitter: 5, event: 0 };
        assert!(track.record(Some(stamp), 0, 1).is_some());
        assert!(track.record(Some(stamp), 1, 1).is_none());
        assert_eq!(track.counts(&[]), Counts { received: 1, bytes: 1, ..Counts::default() });
    }

    #[test]
    fn broken_ones_and_strangers_are_corrupt() {
        let mut track = track(&["**"]);
        assert!(track.record(None, 0, 1).is_none());
        for (emitter, event) in [(6, 0), (5, 2), (900, 0)] {
            assert!(track.record(Some(Stamp { sequence: 0, emitter, event }), 0, 1).is_none());
        }
        assert_eq!(track.counts(&[]).corrupt, 4);
    }
}
