//! Rates of messages: of each kind some are told in each span of time, then they are
//! counted,
//! and summed up in one line at the end of the span.
//!
//! A kind is a place in the program and, where several kinds come from one place, the
//! field `kind`. What debug and trace tell is not limited: who asks for it wants it all.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netcluster::internals::LogCounts;
use netcluster_wire::escape::Escaped;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of one kind that are told in one [`SPAN`].
pub const LINES_PER_SPAN: u32 = 20;

/// The span.
pub const SPAN: Duration = Duration::from_secs(10);

/// Part of a message that the sum tells, in bytes.
const MAX_EXAMPLE_BYTES: usize = 200;

/// A kind. There are as many as the program has, whatever others do.
type Kind = (Identifier, String);

/// Messages of each kind that were told lately.
pub struct Rates {
    spans: Mutex<HashMap<Kind, Span>>,
    counts: Arc<LogCounts>,
}

struct Span {
    began: Instant,
    level: Level,
    told: u32,
    /// Number of messages that were not told.
    left_out: u64,
    /// The last message that was told, once no more are.
    example: String,
}

/// A line that says what was left out.
#[derive(Debug, PartialEq, Eq)]
pub struct Sum {
    /// The level of those lines.
    pub level: Level,
    /// Text of the line.
    pub text: String,
}

impl Rates {
    /// Makes rates that have told nothing yet.
    pub fn new(counts: Arc<LogCounts>) -> Rates {
        Rates { spans: Mutex::default(), counts }
    }

    /// Whether to tell one more; `example` is what it says.
    fn allow(
        &self,
        now: Instant,
        kind: Kind,
        level: Level,
        example: impl FnOnce() -> String,
    ) -> bool {
        let mut spans = self.lock();
        let new = Span { began: now, level, told: 0, left_out: 0, example: String::new() };
        let span = spans.entry(kind).or_insert(new);
        if span.told == LINES_PER_SPAN {
            // Its sum, which begins the next span, is due at the latest now.
            span.left_out += 1;
            drop(spans);
            self.counts.summed_up();
            return false;
        }
        if now >= span.began + SPAN {
            (span.began, span.told) = (now, 0);
        }
        span.told += 1;
        if span.told == LINES_PER_SPAN {
            span.example = example();
        }
        true
    }

    /// Time at which the next sum is due.
    pub fn due(&self) -> Option<Instant> {
        let spans = self.lock();
        let used_up = spans.values().filter(|span| span.told == LINES_PER_SPAN);
        used_up.map(|span| span.began + SPAN).min()
    }

    /// The sums that are due. Their kinds are told again.
    pub fn sums(&self, now: Instant) -> Vec<Sum> {
        let mut sums = Vec::new();
        self.lock().retain(|_, span| {
            let lasted = now.saturating_duration_since(span.began);
            if span.told < LINES_PER_SPAN || lasted < SPAN {
                return true;
            }
            if span.left_out > 0 {
                let Span { left_out, example, .. } = span;
                let seconds = lasted.as_secs();
                let text =
                    format!("{left_out} more messages in the last {seconds} s like: {example}");
                sums.push(Sum { level: span.level, text });
            }
            false
        });
        sums
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets events pass as [`Rates`] allow.
pub struct Limiter(pub Arc<Rates>);

impl<S: Subscriber> Layer<S> for Limiter {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Levels are ordered by how much they tell.
        if *metadata.level() > Level::INFO {
            return true;
        }
        let mut kind = String::new();
        if metadata.fields().field("kind").is_some() {
            event.record(&mut Read { name: "kind", text: &mut kind });
        }
        let key = (metadata.callsite(), kind);
        self.0.allow(Instant::now(), key, *metadata.level(), || {
            let mut message = String::new();
            event.record(&mut Read { name: "message", text: &mut message });
            let end = (0..=MAX_EXAMPLE_BYTES.min(message.len()))
                .rev()
                .find(|&end| message.is_char_boundary(end));
            Escaped::text(&message[..end.unwrap_or(0)]).to_string()
        })
    }
}

/// Reads one field.
struct Read<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Visit for Read<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == self.name {
            *self.text = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> Kind {
        static CALLSITE: tracing::callsite::DefaultCallsite =
            tracing::callsite::DefaultCallsite::new(METADATA);
        static METADATA: &tracing::Metadata<'static> = &tracing::metadata! {
            name: "test", target: "test", level: Level::WARN, fields: &[],
            callsite: &CALLSITE, kind: tracing::metadata::Kind::EVENT,
        };
        (METADATA.callsite(), name.to_owned())
    }

    fn told(rates: &Rates, now: Instant, name: &str, times: usize) -> usize {
        let one = |_: &usize| rates.allow(now, kind(name), Level::WARN, || format!("{name} it is"));
        (0..times).filter(one).count()
    }

    #[test]
    fn a_flood_is_summed_up_and_other_kinds_are_told() {
        let counts = Arc::new(LogCounts::default());
        let rates = Rates::new(Arc::clone(&counts));
        let start = Instant::now();
        assert_eq!(told(&rates, start, "flood", 37_000), LINES_PER_SPAN as usize);
        assert_eq!(told(&rates, start, "rare", 3), 3);
        assert_eq!(counts.status().summed_up, 36_980);
        assert_eq!(rates.due(), Some(start + SPAN));
        assert_eq!(rates.sums(start + SPAN / 2), []);
        let text = "36980 more messages in the last 10 s like: flood it is".to_owned();
        assert_eq!(rates.sums(start + SPAN), [Sum { level: Level::WARN, text }]);
        assert_eq!(rates.due(), None);
        // And it is told again.
        assert_eq!(told(&rates, start + SPAN, "flood", 5), 5);
    }

    #[test]
    fn what_comes_now_and_then_is_always_told() {
        let rates = Rates::new(Arc::default());
        let start = Instant::now();
        for second in 0..100 {
            assert_eq!(told(&rates, start + Duration::from_secs(second), "now and then", 1), 1);
        }
        assert_eq!(rates.sums(start + Duration::from_secs(200)), []);
    }

    #[test]
    fn a_kind_that_is_used_up_without_more_needs_no_sum() {
        let rates = Rates::new(Arc::default());
        let start = Instant::now();
        told(&rates, start, "many", LINES_PER_SPAN as usize);
        assert_eq!(rates.sums(start + SPAN), []);
        assert_eq!(rates.due(), None);
    }
}
