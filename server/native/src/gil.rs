//! The probe of the interpreter's lock: a thread that wants it twenty times a second and notes how long it had to wait.
//!
//! It owns its one thread state and nothing else in Python. It must have ended before the interpreter does, or it would be ended in the
//! middle of a Rust frame: [`Probe::stop`], then join.

use std::{
    ffi::c_void,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use afterload_core::{clock::now_ns, gil::Waiting, histogram::Histogram};
use pyo3::prelude::*;

const PERIOD: Duration = Duration::from_millis(50);

type Current = unsafe extern "C" fn() -> *mut c_void;

/// What the probe thread and the admin thread share.
#[derive(Default)]
pub struct Probe {
    attempt: AtomicU64,
    since: AtomicU64,
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
    /// How long each attempt took.
    pub waits: Histogram,
}

impl Probe {
    /// The life of the probe thread.
    pub fn run(&self) {
        let _first = self.thread.set(thread::current());
        // One thread state for the thread's life: only the lock itself is taken again and again.
        Python::attach(|py| {
            while !self.stopped.load(Ordering::Acquire) {
                py.detach(|| {
                    thread::park_timeout(PERIOD);
                    self.attempt.fetch_add(1, Ordering::Relaxed);
                    self.since.store(now_ns(), Ordering::Release);
                });
                let since = self.since.swap(0, Ordering::AcqRel);
                self.waits.observe(now_ns().saturating_sub(since));
            }
        });
    }

    /// Ends the thread as soon as it gets the lock once more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Whether it wants the lock right now.
    pub fn waiting(&self) -> Option<Waiting> {
        let attempt = self.attempt.load(Ordering::Relaxed);
        let since_ns = self.since.load(Ordering::Acquire);
        (since_ns > 0).then_some(Waiting { attempt, since_ns })
    }
}

/// Says which thread state has the lock, without having it.
#[derive(Clone, Copy)]
pub struct HolderReader(Option<Current>);

impl HolderReader {
    /// `CPython` 3.11 keeps the holder in one word that any thread may read. Later versions keep one word a thread, so that nothing can be known.
    pub fn new(py: Python<'_>) -> Self {
        if py.version_info() >= (3, 12) {
            return Self(None);
        }
        // SAFETY: looks a name up in what is loaded.
        let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_PyThreadState_UncheckedGet".as_ptr()) };
        // SAFETY: that function takes nothing and returns a pointer, which is only compared; in 3.11 it is one atomic load.
        Self((!symbol.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, Current>(symbol) }))
    }

    /// The thread state that has the lock. 0: none, or it cannot be known.
    pub fn now(self) -> usize {
        // SAFETY: as above.
        self.0.map_or(0, |current| unsafe { current() } as usize)
    }
}

/// The calling thread's state, as a number to compare.
pub fn identity(_attached: Python<'_>) -> usize {
    // SAFETY: attached, so there is one.
    unsafe { pyo3::ffi::PyThreadState_Get() as usize }
}
