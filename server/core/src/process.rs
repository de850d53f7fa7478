//! What the kernel knows about this process. Linux; elsewhere, what cannot be read is absent.

use std::fs;

/// Use of resources at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time of all threads, user and system, in nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory in bytes.
    pub rss_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// The limit of open file descriptors.
    pub max_fds: Option<u64>,
    /// Threads, those of Python and of Rust.
    pub threads: Option<u64>,
}

impl Usage {
    /// Reads it.
    #[must_use]
    pub fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a valid place for the result; the clock exists on every Linux and macOS.
        unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
        let cpu_ns = u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            cpu_ns,
            rss_bytes: field(&status, "VmRSS:").map(|kilobytes| kilobytes * 1024),
            open_fds: open_fds(),
            max_fds: max_fds(),
            threads: field(&status, "Threads:"),
        }
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

fn open_fds() -> Option<u64> {
    // Linux 6.2 and later say the number as the folder's size; before that they have to be counted.
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        known => Some(known),
    }
}

fn max_fds() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place for the result.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (outcome == 0).then_some(limit.rlim_cur)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::Usage;

    #[test]
    fn a_running_process_uses_something_of_everything() {
        let usage = Usage::now();
        assert!(usage.cpu_ns > 0);
        assert!(usage.rss_bytes.is_some_and(|bytes| bytes > 100_000));
        assert!(usage.open_fds.is_some_and(|fds| fds >= 3) && usage.max_fds > usage.open_fds);
        assert!(usage.threads.is_some_and(|threads| threads >= 1));
    }
}
