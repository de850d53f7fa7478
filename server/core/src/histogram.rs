//! How long things took, in buckets whose bounds double: what the admin port shows as Prometheus histograms.
//!
//! One observation is a clock difference and two additions to words that (nearly) always belong to the observing thread's own cache.

use std::sync::atomic::{AtomicU64, Ordering};

/// log2 of the lowest bound in nanoseconds: 1.024 us, about what it takes to wake nobody.
const LOWEST: usize = 10;
/// log2 of the highest bound in nanoseconds: 68.7 s; what took longer is only in the count and the sum.
const HIGHEST: usize = 36;
/// Buckets, the last one without a bound.
pub const BUCKETS: usize = HIGHEST - LOWEST + 2;

/// Durations since the start, by size.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// What histograms held at one moment, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Observations a bucket, not cumulated.
    pub buckets: [u64; BUCKETS],
    /// Sum of all observations in nanoseconds.
    pub sum_ns: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, ns: u64) {
        self.buckets[bucket(ns)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(ns, Ordering::Relaxed);
    }

    /// What it holds.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let mut all = Distribution::default();
        self.add_to(&mut all);
        all
    }

    /// Adds what it holds to a distribution.
    pub fn add_to(&self, all: &mut Distribution) {
        for (sum, bucket) in all.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        all.sum_ns += self.sum.load(Ordering::Relaxed);
    }
}

impl Distribution {
    /// Pairs of (upper bound in nanoseconds, observations up to it); the last bound is None.
    pub fn cumulated(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let mut below = 0;
        self.buckets.iter().enumerate().map(move |(number, count)| {
            below += count;
            ((number + 1 < BUCKETS).then(|| 1 << (number + LOWEST)), below)
        })
    }

    /// All observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

fn bucket(ns: u64) -> usize {
    // Bits of the largest number that is still below: a bound belongs to its own bucket, as Prometheus' `le` has it.
    let bits = 64 - ns.saturating_sub(1).leading_zeros() as usize;
    bits.clamp(LOWEST, HIGHEST + 1) - LOWEST
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Distribution, Histogram};

    fn of(durations: &[u64]) -> Distribution {
        let histogram = Histogram::default();
        for &ns in durations {
            histogram.observe(ns);
        }
        histogram.distribution()
    }

    #[test]
    fn each_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        for ns in (0..40).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]).chain([u64::MAX]) {
            let all = of(&[ns]);
            for (bound, count) in all.cumulated() {
                assert_eq!(count == 1, bound.is_none_or(|bound| ns <= bound), "{ns} ns at the bound {bound:?}");
            }
        }
    }

    #[test]
    fn count_and_sum_are_those_of_what_was_observed() {
        let all = of(&[5, 2_000_000, 90_000_000_000]);
        assert_eq!((all.count(), all.sum_ns), (3, 90_002_000_005));
        assert_eq!(all.cumulated().last(), Some((None, 3)));
        assert_eq!(all.buckets[BUCKETS - 1], 1);
    }

    proptest::proptest! {
        #[test]
        fn added_up_it_is_what_was_observed(one in proptest::collection::vec(0..u64::MAX >> 16, 0..50), other in proptest::collection::vec(0..u64::MAX >> 16, 0..50)) {
            let both: Vec<u64> = one.iter().chain(&other).copied().collect();
            let all = of(&both);
            let (first, second) = (of(&one), of(&other));
            assert_eq!(all.sum_ns, both.iter().sum::<u64>());
            assert_eq!(all.count(), both.len() as u64);
            assert!(all.buckets.iter().zip(first.buckets.iter().zip(&second.buckets)).all(|(sum, (a, b))| *sum == a + b));
            for (bound, count) in all.cumulated() {
                assert_eq!(count, both.iter().filter(|&&ns| bound.is_none_or(|bound| ns <= bound)).count() as u64);
            }
        }
    }
}
