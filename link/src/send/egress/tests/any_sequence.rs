//! Any sequence of calls, seeded: what comes out is what went in.

use super::reader::Sent;
use super::*;

/// Seeded runs of each kind of stream.
const RUNS: u64 = 150;
/// Calls of one run.
const STEPS: usize = 120;

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A stream, what was put into it and what it brought.
struct Run {
    random: Random,
    egress: Egress,
    config: EgressConfig,
    ring_bytes: usize,
    channels: Vec<Arc<LinkChannel>>,
    ordinal: u64,
    /// Bytes, channel and ordinal of every event.
    emitted: Vec<(Vec<u8>, ChannelHash, u64)>,
    /// Places of joins, and the number of events before.
    joins: Vec<(Position, usize)>,
    sent: Vec<Vec<u8>>,
    blocked: usize,
    filling: u8,
}

impl Run {
    fn new(seed: u64, sealed: bool) -> Run {
        let mut random = Random(seed);
        let slots = 2 + random.below(12) as usize;
        let mut config = config(slots);
        config.datagram_bytes += [0, 140, 3_000][random.below(3) as usize];
        config.history_bytes = slots * config.datagram_bytes;
        if sealed {
            config.keys = keys();
        }
        Run {
            random,
            egress: Egress::new(STREAM, &config),
            ring_bytes: config.history_bytes,
            config,
            channels: ["a", "some channel", &"long".repeat(60)].map(channel).into(),
            ordinal: 0,
            emitted: Vec::new(),
            joins: Vec::new(),
            sent: Vec::new(),
            blocked: 0,
            filling: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(13) {
            0..4 => self.emit_run(),
            4 => self.emit_pieces(),
            5 => self.skip(),
            6 if self.random.one_in(2) => self.join(),
            6 | 7 => self.retransmit(),
            8 => self.free(),
            9 => self.resize(),
            _ => self.batch(),
        }
        self.blocked += usize::from(self.egress.is_blocked());
    }

    fn emit_run(&mut self) {
        let channel = self.pick_channel();
        let most = if self.random.one_in(3) { 100 } else { 4 };
        let frames = 1 + self.random.below(most);
        let bytes = 24 + 8 * self.random.below(20) as usize;
        let same = self.random.one_in(2);
        let mut run = Vec::new();
        for _ in 0..frames {
            let bytes = if same { bytes } else { 24 + 8 * self.random.below(50) as usize };
            run.extend_from_slice(&self.next_event(bytes, &channel));
        }
        let end = run.len();
        let slice = Slice::pooled(Bytes::from(run), 0, end);
        self.egress.emit(&channel, &[slice], frames as usize);
    }

    /// One frame, often large, in one or more pieces.
    fn emit_pieces(&mut self) {
        let channel = self.pick_channel();
        let most = if self.random.one_in(4) { 3 * self.ring_bytes } else { 4_000 } as u64;
        let bytes = 24 + 8 * self.random.below(most / 8) as usize;
        let mut rest = self.next_event(bytes, &channel);
        let mut pieces = Vec::new();
        while rest.len() > 48 && pieces.len() < 3 && !self.random.one_in(3) {
            let at = 24 + self.random.below(rest.len() as u64 - 24) as usize;
            let tail = rest.split_off(at);
            pieces.push(Slice::from(Bytes::from(std::mem::replace(&mut rest, tail))));
        }
        pieces.push(Slice::from(Bytes::from(rest)));
        self.egress.emit(&channel, &pieces, 1);
    }

    fn skip(&mut self) {
        let frames = self.random.below(4);
        self.ordinal += frames;
        self.egress.skip(frames as usize);
    }

    fn join(&mut self) {
        let position = self.egress.join_point();
        self.joins.push((position, self.emitted.len()));
    }

    fn retransmit(&mut self) {
        let sent = self.sent.len() as u64;
        assert!(self.egress.datagram(sent).is_none());
        let tail = self.egress.tail();
        assert!(tail <= sent);
        assert!(tail == 0 || self.egress.datagram(tail - 1).is_none());
        for number in tail..sent {
            assert_eq!(self.egress.datagram(number).unwrap(), self.sent[number as usize]);
        }
    }

    fn free(&mut self) {
        let sent = self.sent.len() as u64;
        let needed = match self.random.below(4) {
            0 => u64::MAX,
            1 => sent,
            _ => sent.saturating_sub(self.random.below(8)),
        };
        self.egress.set_needed(needed);
    }

    fn resize(&mut self) {
        let room = (self.config.datagram_bytes - DATAGRAM_BYTES) as u64;
        let bytes = DATAGRAM_BYTES + self.random.below(room + 1) as usize;
        self.egress.set_datagram_bytes(bytes);
    }

    fn batch(&mut self) {
        let next = self.egress.next();
        let limit = match self.random.below(3) {
            0 => next.number + self.random.below(6),
            _ => u64::MAX,
        };
        let most =
            if self.random.one_in(3) { self.random.below(9_000) as usize } else { usize::MAX };
        let before = self.egress.queued_bytes();
        let Some(batch) = self.egress.next_batch(limit, most) else {
            assert!(
                limit <= next.number
                    || most <= self.config.datagram_bytes
                    || before == 0
                    || !self.egress.unsent()
            );
            return;
        };
        assert!(batch.bytes.len() <= most.min(MAX_BATCH_BYTES));
        assert!(batch.first + u64::from(batch.datagrams) <= limit);
        assert_eq!(batch.first, next.number);
        let datagrams: Vec<Vec<u8>> =
            batch.bytes.chunks(batch.segment).map(<[u8]>::to_vec).collect();
        assert_eq!(datagrams.len(), batch.datagrams as usize);
        assert!(batch.segment <= self.config.datagram_bytes);
        // What the heartbeat before told of it holds.
        assert_eq!(header(&datagrams[0]).ordinal.get(), next.ordinal);
        let mut taken = datagrams.len();
        if self.random.one_in(4) {
            taken = self.random.below(taken as u64 + 1) as usize;
            let first = batch.first + taken as u64;
            self.egress.unsend(first);
            for (at, datagram) in datagrams[taken..].iter().enumerate() {
                assert!(self.egress.datagram(first + at as u64).is_none());
                assert_eq!(header(datagram).number.get(), first + at as u64);
            }
            let most = self.config.datagram_bytes;
            if let Some(again) = self.egress.next_batch(u64::MAX, most) {
                let again = again.bytes[..again.segment].to_vec();
                assert!(datagrams.get(taken).is_none_or(|datagram| *datagram == again));
                self.egress.unsend(first);
            }
        }
        self.sent.extend(datagrams.into_iter().take(taken));
    }

    fn finish(mut self) -> usize {
        self.egress.set_needed(u64::MAX);
        while let Some(batch) = self.egress.next_batch(u64::MAX, usize::MAX) {
            self.sent.extend(batch.bytes.chunks(batch.segment).map(<[u8]>::to_vec));
        }
        assert!(!self.egress.is_blocked());
        assert!(!self.egress.unsent());
        assert_eq!(self.egress.queued_bytes(), 0);
        let end = Position { number: self.sent.len() as u64, ordinal: self.ordinal };
        assert_eq!(self.egress.next(), end);

        let mut sent = Sent::default();
        if !self.config.keys.is_open() {
            sent = Sent::sealed(&self.config.keys, &self.config.session);
        }
        sent.extend(self.sent);
        let events = sent.events();
        assert_eq!(events.len(), self.emitted.len());
        for (event, (bytes, channel, _)) in events.iter().zip(&self.emitted) {
            assert!(event.bytes == *bytes);
            assert_eq!(event.channel, *channel);
        }
        let ordinals: Vec<u64> = self.emitted.iter().map(|(.., ordinal)| *ordinal).collect();
        sent.check_headers(&ordinals);
        for (join, before) in self.joins {
            sent.check_join(join);
            // Everything emitted later is owed, and has an ordinal to show it.
            assert!(events[before..].iter().all(|event| event.datagram >= join.number));
            assert!(ordinals[before..].iter().all(|ordinal| *ordinal >= join.ordinal));
        }
        self.blocked
    }

    fn pick_channel(&mut self) -> Arc<LinkChannel> {
        let most = self.channels.len() as u64;
        let at = if self.random.one_in(3) { self.random.below(most) } else { 0 };
        self.channels[at as usize].clone()
    }

    fn next_event(&mut self, bytes: usize, channel: &LinkChannel) -> Vec<u8> {
        self.filling = self.filling.wrapping_add(1);
        let frame = event(bytes, self.filling);
        self.emitted.push((frame.clone(), channel.hash, self.ordinal));
        self.ordinal += 1;
        frame
    }
}

#[test]
fn any_sequence_of_calls_gives_the_frames_back() {
    for sealed in [false, true] {
        let mut blocked = 0;
        for seed in 0..RUNS {
            let _audit = Audit::start();
            println!("seed {seed}, sealed {sealed}");
            let mut run = Run::new(seed, sealed);
            for _ in 0..STEPS {
                run.step();
            }
            blocked += run.finish();
        }
        assert!(blocked > RUNS as usize, "full rings are met often");
    }
}
