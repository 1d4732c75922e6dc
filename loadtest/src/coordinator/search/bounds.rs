//! Bounds of a search: the rates that it is between. They know nothing of what is
//! measured.

/// Most doublings or halvings: beyond 2^16 times the start, or below, something is wrong
/// with the scenario.
const MAX_DOUBLINGS: usize = 16;
/// Number of times that the gap is narrowed: to within 5 %.
const NARROWINGS: usize = 4;

/// State of a search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Lowest rate that is tried.
    lowest: f64,
    /// The highest rate that held.
    pub holds: Option<f64>,
    fails: Option<f64>,
    doublings: usize,
    narrowings: usize,
}

impl Bounds {
    /// Begins a search of which nothing is known yet.
    pub fn new(lowest: f64) -> Bounds {
        Bounds { lowest, holds: None, fails: None, doublings: 0, narrowings: 0 }
    }

    /// Takes the outcome at a rate and returns the rate to try next, if any.
    pub fn next(&mut self, rate: f64, holds: bool) -> Option<f64> {
        if holds {
            self.holds = Some(self.holds.map_or(rate, |known| known.max(rate)))
        } else {
            self.fails = Some(self.fails.map_or(rate, |known| known.min(rate)))
        }
        match (self.holds, self.fails) {
            (Some(holds), Some(fails)) => {
                self.narrowings += 1;
                // By ratio: the same share of either.
                (self.narrowings <= NARROWINGS && fails > holds).then(|| (holds * fails).sqrt())
            }
            (holds, fails) => {
                self.doublings += 1;
                let next = holds.map(|rate| rate * 2.0).or(fails.map(|rate| rate / 2.0));
                next.filter(|next| self.doublings <= MAX_DOUBLINGS && *next >= self.lowest)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(start: f64, limit: f64) -> (Option<f64>, usize) {
        let mut bounds = Bounds::new(1.0);
        let (mut rate, mut tries) = (start, 1);
        while let Some(next) = bounds.next(rate, rate <= limit) {
            rate = next;
            tries += 1;
        }
        (bounds.holds, tries)
    }

    #[test]
    fn the_limit_is_found_from_below_and_from_above() {
        for start in [10.0, 1000.0, 50_000.0] {
            let (found, tries) = search(start, 1000.0);
            let found = found.unwrap();
            assert!((950.0..=1000.0).contains(&found), "from {start}: {found}");
            assert!(tries < 16, "from {start}: {tries}");
        }
    }

    #[test]
    fn what_never_holds_and_what_always_holds_ends() {
        // Down to the lowest rate that can be judged: 1000, 500 and so on to 1.95.
        assert_eq!(search(1000.0, 0.0), (None, 10));
        let (found, tries) = search(1.0, f64::INFINITY);
        assert!(found.unwrap() >= 65_536.0);
        assert_eq!(tries, MAX_DOUBLINGS + 1);
    }
}
