//! Since when one thread has kept the interpreter's lock (GIL) from others that want it. Pure: readings come in, a judgement goes out.

/// A lock that was free in between is never "held"; one that was not for so long is worth a name.
pub const HELD_AFTER_NS: u64 = 100_000_000;
/// So many readings in a row must show the same holder, ...
const READINGS: u32 = 8;
/// ... each so long after the one before: as long as `CPython` lets a thread keep the lock once another one wants it.
const APART_NS: u64 = 5_000_000;

/// Somebody who wants the lock and has not got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The number of the attempt: another number means that the lock was had in between.
    pub attempt: u64,
    /// When it began, monotonic nanoseconds.
    pub since_ns: u64,
}

/// What the readings so far say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streak {
    attempt: u64,
    holder: usize,
    since_ns: u64,
    readings: u32,
    last_ns: u64,
}

impl Streak {
    /// Takes a reading: who waits, and which thread state has the lock right now (0: none, or it cannot be known).
    ///
    /// While a waiter starves among many threads that pass the lock around, the holder changes from reading to reading, and nobody is accused.
    pub fn look(&mut self, now_ns: u64, waiting: Option<Waiting>, holder: usize) {
        let Some(Waiting { attempt, since_ns }) = waiting else {
            *self = Self::default();
            return;
        };
        if attempt != self.attempt || holder != self.holder {
            // Another holder within one attempt took over at some moment before now.
            let since_ns = if attempt == self.attempt { now_ns } else { since_ns };
            *self = Self { attempt, holder, since_ns, readings: 1, last_ns: now_ns };
        } else if now_ns.saturating_sub(self.last_ns) >= APART_NS {
            (self.readings, self.last_ns) = (self.readings + 1, now_ns);
        }
    }

    /// The thread state that holds the lock too long (0: unknown), and for how many nanoseconds.
    #[must_use]
    pub fn held(&self, now_ns: u64) -> Option<(usize, u64)> {
        let for_ns = now_ns.saturating_sub(self.since_ns);
        (self.readings >= READINGS && for_ns > HELD_AFTER_NS).then_some((self.holder, for_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::{Streak, Waiting};

    const MS: u64 = 1_000_000;

    /// Milliseconds of the reading; attempt and its begin; holder.
    type Reading = (u64, Option<(u64, u64)>, usize);

    fn after(readings: &[Reading]) -> Streak {
        let mut streak = Streak::default();
        for &(now, waiting, holder) in readings {
            let waiting = waiting.map(|(attempt, since)| Waiting { attempt, since_ns: since * MS });
            streak.look(now * MS, waiting, holder);
        }
        streak
    }

    #[test]
    fn one_thread_that_has_the_lock_at_each_reading_of_an_attempt_holds_it_since_the_attempt_began() {
        let streak = after(&(0..8).map(|n| (1_050 + 7 * n, Some((1, 1_000)), 7)).collect::<Vec<_>>());
        assert_eq!(streak.held(1_090 * MS), None);
        assert_eq!(streak.held(1_200 * MS), Some((7, 200 * MS)));
    }

    #[test]
    fn a_few_readings_or_many_at_once_prove_nothing() {
        let streak = after(&(0..7).map(|n| (1_050 + 7 * n, Some((1, 1_000)), 7)).collect::<Vec<_>>());
        assert_eq!(streak.held(1_200 * MS), None);
        let streak = after(&[(1_150, Some((1, 1_000)), 7); 50]);
        assert_eq!(streak.held(1_200 * MS), None);
    }

    #[test]
    fn a_lock_that_was_had_in_between_is_not_held() {
        let mut readings: Vec<_> = (0..20).map(|n| (1_010 + 7 * n, Some((1, 1_000)), 7)).collect();
        readings.push((1_150, None, 7));
        assert_eq!(after(&readings).held(1_160 * MS), None);
        readings.extend((0..8).map(|n| (1_180 + 7 * n, Some((2, 1_170)), 7)));
        let streak = after(&readings);
        assert_eq!(streak.held(1_240 * MS), None);
        assert_eq!(streak.held(1_271 * MS), Some((7, 101 * MS)));
    }

    #[test]
    fn threads_that_pass_the_lock_around_are_not_accused() {
        let readings: Vec<_> = (0_usize..20).map(|n| (1_000 + 25 * n as u64, Some((1, 1_000)), 1 + n % 3)).collect();
        let streak = after(&readings);
        assert_eq!(streak.held(1_500 * MS), None);
    }

    #[test]
    fn where_the_holder_cannot_be_known_the_wait_itself_is_the_measure() {
        let streak = after(&(0..30).map(|n| (1_010 + 10 * n, Some((1, 1_000)), 0)).collect::<Vec<_>>());
        assert_eq!(streak.held(1_300 * MS), Some((0, 300 * MS)));
    }
}
