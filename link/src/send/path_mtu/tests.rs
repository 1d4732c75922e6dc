use super::*;
use crate::tests::time::{millis, ns};

const LIMIT: usize = 1372;

/// A way that takes so many bytes and loses so many thousandths, both ways together.
struct Way {
    takes: usize,
    loses: u64,
    random: u64,
    probes: usize,
}

impl Way {
    fn new(takes: usize) -> Way {
        Way { takes, loses: 0, random: 1, probes: 0 }
    }

    fn carries(&mut self, bytes: usize) -> bool {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.probes += 1;
        bytes <= self.takes && (self.random >> 33) % 1000 >= self.loses
    }

    /// Probes until then; what is to be told.
    fn run(&mut self, size: &mut PathMtu, until: Instant) -> Vec<News> {
        let mut told = Vec::new();
        while size.next_at() < until {
            let now = size.next_at();
            let probes = size.poll(now);
            assert!(probes.iter().flatten().all(|bytes| (BASE_BYTES..=size.limit).contains(bytes)));
            for bytes in probes.into_iter().flatten() {
                if self.carries(bytes) {
                    told.extend(size.answered(now, bytes));
                }
            }
            assert!(size.passes < size.fails && size.passes <= size.limit);
        }
        told
    }
}

fn begun(limit: usize) -> PathMtu {
    let mut size = PathMtu::new(limit, [7; NONCE_BYTES]);
    assert_eq!((size.bytes(), size.next_at()), (BASE_BYTES, Instant::NEVER));
    size.begin(ns(0));
    size
}

fn found(takes: usize, limit: usize) -> (PathMtu, Vec<News>) {
    let mut size = begun(limit);
    let told = Way::new(takes).run(&mut size, millis(10_000));
    (size, told)
}

#[test]
fn one_answer_is_enough_where_the_whole_size_passes() {
    let mut size = begun(LIMIT);
    let mut way = Way::new(9000);
    assert_eq!(way.run(&mut size, ns(u64::MAX)), []);
    assert_eq!((size.bytes(), way.probes), (LIMIT, 1));
    assert!(!size.is_narrow());
}

#[test]
fn the_size_that_passes_is_found_and_told_once() {
    for (takes, limit) in [(1272, LIMIT), (1240, LIMIT), (1371, LIMIT), (1472, 8952), (5000, 8952)]
    {
        let (size, told) = found(takes, limit);
        assert!((takes - STEP_BYTES..=takes).contains(&size.bytes()), "{size:?}");
        assert_eq!(told, [News::Narrow(size.bytes())]);
        assert!(size.is_narrow());
    }
    let (size, told) = found(BASE_BYTES, LIMIT);
    assert_eq!((size.bytes(), told), (BASE_BYTES, vec![News::Narrow(BASE_BYTES)]));
}

#[test]
fn loss_makes_no_way_narrow() {
    for seed in 0..200 {
        let mut size = begun(LIMIT);
        let mut way = Way { loses: 600, random: seed, ..Way::new(9000) };
        assert_eq!(way.run(&mut size, millis(20_000)), []);
        assert_eq!(size.bytes(), LIMIT);
    }
}

#[test]
fn who_never_answers_is_sent_the_smallest_and_asked_rarely() {
    let mut size = begun(LIMIT);
    let mut way = Way::new(0);
    way.run(&mut size, millis(60_000));
    assert!(size.is_unanswered() && !size.is_narrow());
    assert_eq!(size.bytes(), BASE_BYTES);
    assert!(way.probes < 200, "{}", way.probes);
    assert_eq!(Way::new(9000).run(&mut size, millis(70_000)), []);
    assert_eq!(size.bytes(), LIMIT);
    assert!(!size.is_unanswered());
}

#[test]
fn a_size_in_doubt_is_kept_until_it_is_refuted() {
    let (mut size, _) = found(9000, LIMIT);
    let mut now = 20_000 * MS_NS;
    size.doubt(ns(now));
    size.doubt(ns(now));
    let mut same = Way { loses: 300, ..Way::new(9000) };
    assert_eq!(same.run(&mut size, ns(u64::MAX)), []);
    assert_eq!(size.bytes(), LIMIT);

    now *= 2;
    size.doubt(ns(now));
    let mut narrow = Way::new(1272);
    assert_eq!(narrow.run(&mut size, ns(now + ROUND_NS * u64::from(PROOFS))), []);
    assert_eq!(size.bytes(), LIMIT, "still under test");
    narrow.run(&mut size, ns(now + ROUND_NS * u64::from(PROOFS + 1)));
    assert!(size.bytes() < LIMIT);
    let told = narrow.run(&mut size, ns(now + 10_000 * MS_NS));
    assert_eq!(told, [News::Narrow(size.bytes())]);
    // What is found by now is no news again.
    size.doubt(ns(now + 10_000 * MS_NS));
    assert_eq!(narrow.run(&mut size, ns(now + 30_000 * MS_NS)), []);
}

#[test]
fn it_rises_again_when_more_passes() {
    let (mut size, _) = found(1272, LIMIT);
    let before = size.bytes();
    let mut way = Way::new(before);
    assert_eq!(way.run(&mut size, millis(60_000)), []);
    assert!(way.probes <= 11, "one now and then: {}", way.probes);
    assert_eq!(size.bytes(), before);
    let told = Way::new(9000).run(&mut size, ns(60_000 * MS_NS + RAISE_NS + ROUND_NS));
    assert_eq!((size.bytes(), told), (LIMIT, vec![News::Whole]));
}

#[test]
fn another_limit_is_kept_at_once_and_searched_up_to() {
    let (mut size, _) = found(9000, LIMIT);
    size.set_limit(millis(20_000), 1272);
    assert_eq!(size.bytes(), 1272);
    assert_eq!(size.next_at(), Instant::NEVER, "it is known to pass");
    size.set_limit(millis(30_000), LIMIT);
    assert_eq!(size.bytes(), 1272);
    assert_eq!(Way::new(9000).run(&mut size, ns(u64::MAX)), [News::Whole; 0]);
    assert_eq!(size.bytes(), LIMIT);
    let mut idle = PathMtu::new(LIMIT, [0; NONCE_BYTES]);
    idle.set_limit(ns(0), 1300);
    assert_eq!(idle.next_at(), Instant::NEVER, "not begun");
}

#[test]
fn another_way_is_looked_at_while_the_old_size_is_used() {
    let (mut size, _) = found(9000, LIMIT);
    size.begin(millis(20_000));
    assert_eq!(size.bytes(), LIMIT);
    Way::new(1272).run(&mut size, millis(30_000));
    assert!((1272 - STEP_BYTES..=1272).contains(&size.bytes()));
    size.begin(millis(40_000));
    let mut way = Way::new(9000);
    way.run(&mut size, millis(50_000));
    assert_eq!(size.bytes(), LIMIT);
}
