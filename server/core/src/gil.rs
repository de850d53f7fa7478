//! Since when one thread has kept the interpreter's lock (GIL) from others that want it. Pure: readings come in, a judgement goes out.

/// A lock that was free in between is never "held"; one that was not for so long is worth a name.
pub const HELD_AFTER_NS: u64 = 100_000_000;

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
}

impl Streak {
    /// Takes a reading: who waits, and which thread state has the lock right now (0: none, or it cannot be known).
    ///
    /// While a waiter starves among many threads that pass the lock around, the holder changes from reading to reading, and nobody is accused.
    pub fn look(&mut self, now_ns: u64, waiting: Option<Waiting>, holder: usize) {
        match waiting {
            None => *self = Self::default(),
            Some(Waiting { attempt, since_ns }) if attempt != self.attempt => *self = Self { attempt, holder, since_ns },
            Some(_) if holder != self.holder => (self.holder, self.since_ns) = (holder, now_ns),
            Some(_) => {}
        }
    }

    /// The thread state that holds the lock too long (0: unknown), and for how many nanoseconds.
    #[must_use]
    pub fn held(&self, now_ns: u64) -> Option<(usize, u64)> {
        let for_ns = now_ns.saturating_sub(self.since_ns);
        (self.since_ns > 0 && for_ns > HELD_AFTER_NS).then_some((self.holder, for_ns))
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
        let streak = after(&[(1_010, Some((1, 1_000)), 7), (1_040, Some((1, 1_000)), 7)]);
        assert_eq!(streak.held(1_090 * MS), None);
        assert_eq!(streak.held(1_200 * MS), Some((7, 200 * MS)));
    }

    #[test]
    fn a_lock_that_was_had_in_between_is_not_held() {
        let streak = after(&[(1_010, Some((1, 1_000)), 7), (1_150, None, 7)]);
        assert_eq!(streak.held(1_160 * MS), None);
        let streak = after(&[(1_010, Some((1, 1_000)), 7), (1_180, Some((2, 1_170)), 7)]);
        assert_eq!(streak.held(1_200 * MS), None);
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
        let streak = after(&[(1_010, Some((1, 1_000)), 0), (1_300, Some((1, 1_000)), 0)]);
        assert_eq!(streak.held(1_300 * MS), Some((0, 300 * MS)));
    }
}
