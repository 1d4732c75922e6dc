//! Slope of a series by Theil and Sen: the median of the slopes of all pairs of points, with
//! the 95 % interval by Kendall's statistic. One point in four may be anywhere without moving
//! it much, as a sample that an allocator's garbage went into.

/// Normal quantile of a 95 % interval.
const Z_95: f64 = 1.96;
/// Points below which an interval says nothing.
pub const MIN_POINTS: usize = 8;
/// Points of which pairs are made; longer series are thinned.
const MAX_POINTS: usize = 600;

/// Slope, and the interval that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// Lower end of the interval.
    pub low: f64,
    /// Median of all pairs' slopes.
    pub median: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// Returns the slope of points (x, y); `None` if there are too few, or all have one x.
pub fn slope(points: &[(f64, f64)]) -> Option<Slope> {
    let step = points.len().div_ceil(MAX_POINTS).max(1);
    let points: Vec<(f64, f64)> = points.iter().copied().step_by(step).collect();
    if points.len() < MIN_POINTS {
        return None;
    }
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (place, a) in points.iter().enumerate() {
        for b in &points[place + 1..] {
            if b.0 != a.0 {
                slopes.push((b.1 - a.1) / (b.0 - a.0));
            }
        }
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let n = points.len() as f64;
    let width = Z_95 * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let middle = slopes.len() as f64 / 2.0;
    let at = |place: f64| {
        let last = slopes.len().checked_sub(1)?;
        slopes.get((place.max(0.0) as usize).min(last)).copied()
    };
    Some(Slope {
        low: at(middle - width / 2.0)?,
        median: at(middle)?,
        high: at(middle + width / 2.0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(of: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
        (0..40).map(|x| (x as f64, of(x))).collect()
    }

    #[test]
    fn a_leak_under_noise_is_found_and_noise_alone_is_none() {
        let noise = |x: usize| (x * 7919 % 13) as f64;
        let leak = slope(&series(|x| 5.0 * x as f64 + noise(x))).unwrap();
        assert!(leak.low > 4.0 && leak.high < 6.0, "{leak:?}");
        let none = slope(&series(noise)).unwrap();
        assert!(none.low <= 0.0 && none.high >= 0.0, "{none:?}");
    }

    #[test]
    fn single_peaks_move_nothing() {
        let flat = slope(&series(|x| if x % 10 == 9 { 1e6 } else { 100.0 })).unwrap();
        assert_eq!((flat.low, flat.median, flat.high), (0.0, 0.0, 0.0));
    }

    #[test]
    fn too_few_points_say_nothing() {
        assert_eq!(slope(&[(0.0, 1.0); 4]), None);
        assert_eq!(slope(&[(1.0, 1.0); 20]), None);
    }
}
