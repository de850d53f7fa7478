//! The one clock of a run: `CLOCK_MONOTONIC`, which every process of a machine reads alike.

/// Monotonic time in nanoseconds. Never zero on a machine that has booted, so zero can mean "has not happened".
#[must_use]
pub fn now_ns() -> u64 {
    nanoseconds(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds since the Unix epoch, to place a run in the calendar; never used in arithmetic with [`now_ns`].
#[must_use]
pub fn unix_ns() -> u64 {
    nanoseconds(libc::CLOCK_REALTIME)
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result; both clocks exist on every Linux and macOS.
    unsafe { libc::clock_gettime(clock, &mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::now_ns;

    #[test]
    fn time_never_goes_back() {
        let first = now_ns();
        assert!(first > 0 && now_ns() >= first);
    }
}
