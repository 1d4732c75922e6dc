//! A point in time on the clock of a shard's loop.
//!
//! Spans are nanoseconds as a `u64`, whose names end in `_ns`; points are of this type,
//! so that neither is taken for the other. It is one `u64`, and costs what that costs.

use core::ops::{Add, AddAssign};

/// A point in time, in nanoseconds of a clock that never goes back.
///
/// Each shard has a clock of its own, and so has each machine: only points of one clock may
/// be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Instant(u64);

impl Instant {
    /// The point from which the clock counts. Nothing is before it.
    pub const START: Instant = Instant(0);

    /// The last point of all, which does not come: a deadline of what is not due.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// The point so many nanoseconds after [`Instant::START`].
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since [`Instant::START`], as in wire formats.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Nanoseconds from an earlier point to this one; 0 if that is not earlier.
    #[inline]
    pub const fn since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Nanoseconds from an earlier point to this one; none if that is later.
    #[inline]
    pub const fn checked_since(self, earlier: Instant) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// The point so many nanoseconds later, at most [`Instant::NEVER`].
    #[inline]
    pub const fn saturating_add(self, span_ns: u64) -> Instant {
        Instant(self.0.saturating_add(span_ns))
    }

    /// The point so many nanoseconds earlier, at least [`Instant::START`].
    #[inline]
    pub const fn saturating_sub(self, span_ns: u64) -> Instant {
        Instant(self.0.saturating_sub(span_ns))
    }
}

impl Add<u64> for Instant {
    type Output = Instant;

    /// The point so many nanoseconds later. There must be one: see
    /// [`Instant::saturating_add`].
    #[inline]
    fn add(self, span_ns: u64) -> Instant {
        Instant(self.0 + span_ns)
    }
}

impl AddAssign<u64> for Instant {
    #[inline]
    fn add_assign(&mut self, span_ns: u64) {
        *self = *self + span_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_lie_between_points_and_never_below_nothing() {
        let (early, late) = (Instant::from_nanos(3), Instant::from_nanos(10));
        assert!(Instant::START < early && early < late && late < Instant::NEVER);
        assert_eq!((late.since(early), early.since(late)), (7, 0));
        assert_eq!((late.checked_since(early), early.checked_since(late)), (Some(7), None));
        assert_eq!((early + 7, late.as_nanos()), (late, 10));
    }

    #[test]
    fn the_ends_of_time_are_not_passed() {
        assert_eq!(Instant::from_nanos(3).saturating_sub(4), Instant::START);
        assert_eq!(Instant::from_nanos(3).saturating_add(u64::MAX), Instant::NEVER);
        assert_eq!(Instant::NEVER.saturating_add(1), Instant::NEVER);
    }

    #[test]
    fn a_point_costs_what_a_number_costs() {
        assert_eq!(size_of::<Instant>(), size_of::<u64>());
    }
}
