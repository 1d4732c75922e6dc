//! Sizes of payloads: always the same, or drawn.

use std::fmt;

use netcluster_wire::limits::DEFAULT_MAX_PAYLOAD_BYTES;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};

use super::schedule::Random;
use crate::stamp::MIN_TIMED_BYTES;

const MAX_SIGMA: f64 = 5.0;

/// Sizes of payloads, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sizes {
    /// All of one size.
    Fixed(usize),
    /// Sizes from the first to the second, all equally likely.
    Uniform(usize, usize),
    /// Mostly small sizes, few large ones: the logarithm is normally distributed.
    LogNormal {
        /// Size that half of the payloads do not exceed.
        median: usize,
        /// Spread of the logarithm.
        sigma: f64,
        /// Largest size.
        max: usize,
    },
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes::Fixed(64)
    }
}

impl Sizes {
    /// Returns the largest size that there can be.
    pub fn largest(self) -> usize {
        match self {
            Sizes::Fixed(size) | Sizes::Uniform(_, size) => size,
            Sizes::LogNormal { max, .. } => max,
        }
    }

    /// Draws the next size.
    pub fn draw(self, random: &mut Random) -> usize {
        match self {
            Sizes::Fixed(size) => size,
            Sizes::Uniform(least, most) => {
                let span = (most - least + 1) as f64;
                least + ((random.unit() * span) as usize).min(most - least)
            }
            Sizes::LogNormal { median, sigma, max } => {
                let size = median as f64 * (sigma * random.normal()).exp();
                // A float beyond the range of the type is its end.
                (size as usize).clamp(MIN_TIMED_BYTES, max)
            }
        }
    }
}

/// Form in which drawn sizes are written.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Drawn {
    /// Form in which processes are told.
    Fixed(usize),
    Uniform([usize; 2]),
    LogNormal(LogNormal),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LogNormal {
    median: usize,
    sigma: f64,
    max: usize,
}

impl<'de> Deserialize<'de> for Sizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sizes, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Sizes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "bytes, { uniform = [LEAST, MOST] } or { log-normal = { median, sigma, max } }",
                )
            }

            fn visit_i64<E: Error>(self, size: i64) -> Result<Sizes, E> {
                let size = usize::try_from(size).map_err(|_| too_small(size))?;
                bytes(size).map(Sizes::Fixed)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Sizes, A::Error> {
                match Drawn::deserialize(MapAccessDeserializer::new(map))? {
                    Drawn::Fixed(size) => bytes(size).map(Sizes::Fixed),
                    Drawn::Uniform([least, most]) => {
                        if least > most {
                            return Err(A::Error::custom("uniform: the first is the smaller one"));
                        }
                        Ok(Sizes::Uniform(bytes(least)?, bytes(most)?))
                    }
                    Drawn::LogNormal(LogNormal { median, sigma, max }) => {
                        if !(0.0..=MAX_SIGMA).contains(&sigma) {
                            return Err(A::Error::custom(format_args!(
                                "sigma must be from 0 to {MAX_SIGMA}"
                            )));
                        }
                        if median > max {
                            return Err(A::Error::custom("max must not be less than median"));
                        }
                        Ok(Sizes::LogNormal { median: bytes(median)?, sigma, max: bytes(max)? })
                    }
                }
            }
        }
        deserializer.deserialize_any(Written)
    }
}

fn bytes<E: Error>(size: usize) -> Result<usize, E> {
    if !(MIN_TIMED_BYTES..=DEFAULT_MAX_PAYLOAD_BYTES).contains(&size) {
        return Err(too_small(size as i64));
    }
    Ok(size)
}

fn too_small<E: Error>(size: i64) -> E {
    E::custom(format_args!(
        "{size} bytes: a payload has from {MIN_TIMED_BYTES} (its number and its time) to \
         {DEFAULT_MAX_PAYLOAD_BYTES}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(sizes: Sizes) -> f64 {
        let mut random = Random::new(7);
        (0..10_000).map(|_| sizes.draw(&mut random) as f64).sum::<f64>() / 10_000.0
    }

    #[test]
    fn drawn_sizes_stay_in_their_range_and_have_their_mean() {
        let mut random = Random::new(1);
        let uniform = Sizes::Uniform(100, 300);
        let log_normal = Sizes::LogNormal { median: 200, sigma: 1.0, max: 5000 };
        for _ in 0..10_000 {
            assert!((100..=300).contains(&uniform.draw(&mut random)));
            assert!((MIN_TIMED_BYTES..=5000).contains(&log_normal.draw(&mut random)));
        }
        assert!((195.0..205.0).contains(&mean(uniform)));
        // exp(1/2) times the median, less what is cut off.
        assert!((300.0..335.0).contains(&mean(log_normal)), "{}", mean(log_normal));
    }

    #[test]
    fn processes_are_told_the_same_sizes() {
        let log_normal = Sizes::LogNormal { median: 200, sigma: 1.0, max: 5000 };
        for sizes in [Sizes::Fixed(64), Sizes::Uniform(24, 99), log_normal] {
            let told = serde_json::to_string(&sizes).unwrap();
            assert_eq!(serde_json::from_str::<Sizes>(&told).unwrap(), sizes);
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..10).map(|_| Sizes::Uniform(24, 9000).draw(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }
}
