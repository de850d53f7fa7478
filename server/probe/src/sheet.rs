//! The rows and gauges of one process, in a file that Python has mapped: docs/rows.md. Claims rows, counts, stores instants.
//!
//! Each instant is one aligned 8-byte store; the store of the operation id publishes a row, last. Nothing here gives the
//! interpreter's lock away, which so is the lock of the counters.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pyo3::{exceptions::PyValueError, prelude::*};

use crate::held::Held;

/// The words of a row.
pub type Row = [AtomicU64; 8];
type Header = [AtomicU64; 2048];

const SEGMENT_BITS: usize = 14;
type Segment = [Row; 1 << SEGMENT_BITS];

const CLAIMED: usize = 7;
const GAUGES: usize = 32;
const ACCEPTED: usize = GAUGES + 5;
const STARTED: usize = GAUGES + 6;
const FINISHED: usize = GAUGES + 7;
const FAILED: usize = GAUGES + 8;
const REQUESTS: usize = GAUGES + 11;

/// Words of a row.
pub mod word {
    pub const OP: usize = 0;
    pub const META: usize = 1;
    pub const ACCEPTED: usize = 2;
    pub const FLUSHED: usize = 3;
    pub const STARTED: usize = 4;
    pub const FINISHED: usize = 5;
}

/// See the module. Its numbers go up under the interpreter's lock, so that each is given once.
#[pyclass(frozen, module = "afterload_probe._accelerator")]
pub struct Sheet {
    header: &'static Header,
    segments: Held<Vec<&'static Segment>>,
    is_open: AtomicBool,
    claimed: Held<u64>,
    started: Held<u64>,
    finished: Held<u64>,
    failed: Held<u64>,
    untagged: Held<u64>,
    requests: Held<u64>,
    answered: Held<u64>,
    /// The page as Python code has it, and its process.
    pub page: Py<PyAny>,
    process: Held<Option<Py<PyAny>>>,
    /// Known functions and the ids of their names.
    pub functions: Py<PyAny>,
    pub untagged_base: Held<u64>,
}

/// Words that stay where they are, at an address that Python gave.
fn words<T>(address: usize) -> PyResult<&'static T> {
    if address == 0 || !address.is_multiple_of(8) {
        return Err(PyValueError::new_err(format!("no words can be at address {address:#x}")));
    }
    // SAFETY: the caller (rows.py) gives the address of a shared mapping of at least this size, aligned to a page, which it keeps
    // for as long as the process lives. All words of it are atomic, also for other processes.
    Ok(unsafe { &*(address as *const T) })
}

/// Nanoseconds of the clock that all witnesses have.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the answer. This clock cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

fn up(py: Python<'_>, count: &Held<u64>) -> u64 {
    let number = count.get(py) + 1;
    count.set(py, number);
    number
}

impl Sheet {
    /// A row of its own for a new task, or none: there is no room yet.
    pub fn claim(&self, py: Python<'_>) -> Option<(u64, &'static Row)> {
        let position = self.claimed.get(py);
        let row = self.row(py, position)?;
        let claimed = up(py, &self.claimed);
        self.header[CLAIMED].store(claimed, Ordering::Relaxed);
        self.header[ACCEPTED].store(claimed, Ordering::Relaxed);
        Some((position, row))
    }

    /// The row at a position.
    pub fn row(&self, py: Python<'_>, position: u64) -> Option<&'static Row> {
        let position = usize::try_from(position).ok()?;
        self.segments.at(py, position >> SEGMENT_BITS).map(|segment| &segment[position & ((1 << SEGMENT_BITS) - 1)])
    }

    /// Whether anything is written.
    pub fn writes(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// One more request has been answered.
    pub fn count_answered(&self, py: Python<'_>) {
        up(py, &self.answered);
    }

    /// One more request has come in.
    pub fn count_request(&self, py: Python<'_>) {
        self.header[REQUESTS].store(up(py, &self.requests), Ordering::Relaxed);
    }

    /// One more task has started.
    pub fn count_started(&self, py: Python<'_>) {
        self.header[STARTED].store(up(py, &self.started), Ordering::Relaxed);
    }

    /// One more task has finished.
    pub fn count_finished(&self, py: Python<'_>) {
        self.header[FINISHED].store(up(py, &self.finished), Ordering::Relaxed);
    }
}

#[pymethods]
impl Sheet {
    #[new]
    fn new(page: Py<PyAny>, functions: Py<PyAny>, address: usize) -> PyResult<Self> {
        Ok(Self {
            header: words(address)?,
            segments: Held::new(Vec::new()),
            is_open: AtomicBool::new(true),
            claimed: Held::new(0),
            started: Held::new(0),
            finished: Held::new(0),
            failed: Held::new(0),
            untagged: Held::new(0),
            requests: Held::new(0),
            answered: Held::new(0),
            page,
            process: Held::new(None),
            functions,
            untagged_base: Held::new(0),
        })
    }

    /// The file has grown by a segment, mapped there.
    fn add(&self, py: Python<'_>, address: usize) -> PyResult<()> {
        let segment = words(address)?;
        self.segments.add(py, segment);
        Ok(())
    }

    /// Whose sheet it is, and what its numbers of requests without an id begin with.
    fn belongs_to(&self, py: Python<'_>, process: Py<PyAny>, untagged: u64) {
        self.process.set(py, Some(process));
        self.untagged_base.set(py, untagged);
    }

    #[getter]
    pub fn process(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.process.copy(py)
    }

    /// The position of a row that is the caller's from now on; -1: there is no room yet.
    fn take(&self, py: Python<'_>) -> i64 {
        self.claim(py).map_or(-1, |(position, _)| position.cast_signed())
    }

    /// Writes nothing any more.
    fn close(&self) {
        self.is_open.store(false, Ordering::Relaxed);
    }

    #[getter]
    fn answered(&self, py: Python<'_>) -> u64 {
        self.answered.get(py)
    }

    fn next_started(&self, py: Python<'_>) -> u64 {
        self.count_started(py);
        self.started.get(py)
    }

    fn next_finished(&self, py: Python<'_>) -> u64 {
        self.count_finished(py);
        self.finished.get(py)
    }

    fn next_failed(&self, py: Python<'_>) -> u64 {
        self.header[FAILED].store(up(py, &self.failed), Ordering::Relaxed);
        self.failed.get(py)
    }

    fn next_request(&self, py: Python<'_>) -> u64 {
        self.count_request(py);
        self.requests.get(py)
    }

    /// The number of a request without an id.
    pub fn next_untagged(&self, py: Python<'_>) -> u64 {
        up(py, &self.untagged)
    }
}

impl Held<Vec<&'static Segment>> {
    fn at(&self, py: Python<'_>, index: usize) -> Option<&'static Segment> {
        let segments = self.replace(py, Vec::new());
        let found = segments.get(index).copied();
        self.set(py, segments);
        found
    }

    fn add(&self, py: Python<'_>, segment: &'static Segment) {
        let mut segments = self.replace(py, Vec::new());
        segments.push(segment);
        self.set(py, segments);
    }
}
