//! The ledger of the server: every task between accepted and ended, told to the rows and the gauges in one place.
//!
//! Works without a row file too (then the gauges live in memory), so that the server has one code path whether it is watched or not.

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    clock::now_ns,
    functions::Functions,
    life::{Life, Was},
    rows::{GAUGES, Kind, NAMES, Row, RowFile},
};

/// The highest bit of an operation id: the request carried none.
pub const UNTAGGED: u64 = 1 << 63;

// Words of a task row.
const META: usize = 1;
const ACCEPTED: usize = 2;
const FLUSHED: usize = 3;
const STARTED: usize = 4;
const FINISHED: usize = 5;
const FAILED: usize = 6;
const DROPPED: usize = 7;

const REASON_SHIFT: u32 = 48;
const CLIENT_GONE: u64 = 1 << 56;

/// Words of the gauge page (docs/rows.md).
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
#[allow(missing_docs, reason = "docs/rows.md describes each")]
pub enum Gauge {
    Ready = 0,
    Draining = 1,
    PoolSize = 2,
    PoolBusy = 3,
    PoolWaiting = 4,
    Accepted = 5,
    Started = 6,
    Finished = 7,
    Failed = 8,
    Dropped = 9,
    RequestsInFlight = 10,
    Requests = 11,
    Lanes = 12,
    LanesBusy = 13,
    LanesWaiting = 14,
    LoopBeat = 15,
    LoopBeatPeriod = 16,
    LoopTasks = 17,
    Refused = 18,
    AbandonedQueued = 19,
    AbandonedRunning = 20,
    Drained = 21,
    SharedPool = 23,
    Overdue = 24,
}

/// How a task function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TaskKind {
    /// A `def` function, on a thread of the pool.
    Def = 1,
    /// An `async def` function, on the event loop.
    Async = 2,
}

/// Why a task is not run (to its end) by this boot.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum DropReason {
    /// An earlier task of the request raised, and the policy is to stop.
    Skipped = 1,
    /// Admission refused the request.
    Rejected = 2,
    /// The endpoint raised.
    Discarded = 3,
    /// The drain deadline passed.
    Abandoned = 4,
}

/// One task in the ledger.
#[derive(Debug, Default)]
pub struct Entry {
    life: Life,
    row: Option<Row>,
    share: Option<Arc<Share>>,
    func: u16,
    accepted: u64,
    flushed: AtomicU64,
}

impl Entry {
    /// When it was accepted, monotonic nanoseconds.
    pub fn accepted_ns(&self) -> u64 {
        self.accepted
    }

    /// Since when it has been free to run, monotonic nanoseconds.
    pub fn flushed_ns(&self) -> u64 {
        self.flushed.load(Ordering::Relaxed)
    }
}

/// What is under way for one route, counted beside the server's own account so that the route can have a limit of its own.
#[derive(Debug, Default)]
pub struct Share {
    pending: AtomicU64,
    busy: AtomicU64,
}

impl Share {
    /// Counts a request whose tasks may still be accepted.
    pub fn enter(&self) {
        self.busy.fetch_add(1, Ordering::AcqRel);
    }

    /// The request will add no task any more (but through tasks that it has).
    pub fn leave(&self) {
        self.busy.fetch_sub(1, Ordering::AcqRel);
    }

    /// Pending tasks, and requests under way, each of which may add one.
    pub fn under_way(&self) -> u64 {
        self.pending.load(Ordering::Acquire) + self.busy.load(Ordering::Acquire)
    }
}

/// The server's account of its tasks.
pub struct Ledger {
    /// Names of task functions, and how many calls of each are under way.
    pub functions: Functions,
    rows: Option<RowFile>,
    dropped: [AtomicU64; 5],
    gauges: Box<[AtomicU64]>,
    untagged: AtomicU64,
    pending: AtomicU64,
    busy: AtomicU64,
    quiet: Mutex<()>,
    became_quiet: Condvar,
}

impl Ledger {
    /// A ledger that writes rows to `path`, or keeps its gauges in memory only.
    ///
    /// # Errors
    /// If the row file cannot be made.
    pub fn open(path: Option<&Path>, boot: u64, label: &str) -> std::io::Result<Self> {
        let rows = path.map(|path| RowFile::create(path, Kind::Tasks, boot, label)).transpose()?;
        Ok(Self {
            functions: Functions::default(),
            rows,
            dropped: Default::default(),
            gauges: (0..GAUGES).map(|_| AtomicU64::new(0)).collect(),
            untagged: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            quiet: Mutex::new(()),
            became_quiet: Condvar::new(),
        })
    }

    /// A gauge.
    pub fn gauge(&self, gauge: Gauge) -> &AtomicU64 {
        match &self.rows {
            Some(rows) => rows.gauge(gauge as usize),
            None => &self.gauges[gauge as usize],
        }
    }

    /// What the harness asks for in a setting; 0 without a row file.
    pub fn setting(&self, number: usize) -> u64 {
        self.rows.as_ref().map_or(0, |rows| rows.setting(number))
    }

    /// The id of a task function's name. The row file knows the first ones under the same ids, and the rest as 0.
    pub fn name(&self, text: &str) -> u16 {
        self.functions.id(text, |text| {
            if let Some(rows) = &self.rows {
                rows.name(text);
            }
        })
    }

    /// Tasks dropped for a reason so far.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    /// The operation id of a request: the client's, or a placeholder with the highest bit set where it sent none.
    pub fn operation(&self, sent: Option<u64>) -> u64 {
        match sent {
            Some(op) if op != 0 && op & UNTAGGED == 0 => op,
            _ => UNTAGGED | (self.untagged.fetch_add(1, Ordering::Relaxed) + 1),
        }
    }

    /// Tasks accepted and not ended.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }

    /// Counts a request whose tasks may still be accepted.
    pub fn enter(&self) {
        self.busy.fetch_add(1, Ordering::AcqRel);
    }

    /// The request will add no task any more (but through tasks that it has).
    pub fn leave(&self) {
        if self.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake();
        }
    }

    /// Requests under way.
    pub fn busy(&self) -> u64 {
        self.busy.load(Ordering::Acquire)
    }

    /// Whether nothing is under way. A request that leaves has accepted its tasks before, so the order of the two looks matters.
    pub fn is_quiet(&self) -> bool {
        self.busy() == 0 && self.pending() == 0
    }

    /// Accepts a task. Comes before the first byte of the response is handed to the socket.
    pub fn accept(&self, op: u64, index: u16, func: u16, kind: Option<TaskKind>) -> Entry {
        self.accept_for(None, op, index, func, kind)
    }

    /// Accepts a task that counts in the share of its route too.
    pub fn accept_for(&self, share: Option<&Arc<Share>>, op: u64, index: u16, func: u16, kind: Option<TaskKind>) -> Entry {
        self.pending.fetch_add(1, Ordering::AcqRel);
        if let Some(share) = share {
            share.pending.fetch_add(1, Ordering::AcqRel);
        }
        self.functions.queued(func);
        let accepted = now_ns();
        let row = self.rows.as_ref().and_then(|rows| {
            let row = rows.claim()?;
            let kind = kind.map_or(0, |kind| kind as u64);
            let name = if usize::from(func) < NAMES { u64::from(func) } else { 0 };
            rows.store(row, META, u64::from(index) | name << 16 | kind << 32 | 1 << 40);
            rows.store(row, ACCEPTED, accepted);
            rows.store(row, 0, op);
            Some(row)
        });
        self.count(Gauge::Accepted);
        Entry { life: Life::default(), row, share: share.cloned(), func, accepted, flushed: AtomicU64::new(0) }
    }

    /// The response that the task waits for has left, or its client had gone before the last byte.
    pub fn flushed(&self, entry: &Entry, whole: bool) {
        let now = now_ns();
        entry.flushed.store(now, Ordering::Relaxed);
        if let (Some(rows), Some(row)) = (&self.rows, entry.row) {
            if !whole {
                rows.set_bits(row, META, CLIENT_GONE);
            }
            rows.store(row, FLUSHED, now);
        }
    }

    /// Starts a task. False: it has been abandoned and must not run.
    pub fn start(&self, entry: &Entry) -> bool {
        if !entry.life.start() {
            return false;
        }
        self.functions.started(entry.func);
        self.write(entry, STARTED);
        self.count(Gauge::Started);
        true
    }

    /// Ends a task that returned (`failed` false) or raised. False: it has been abandoned meanwhile, and nothing was recorded.
    pub fn end(&self, entry: &Entry, failed: bool) -> bool {
        if !entry.life.end() {
            return false;
        }
        self.functions.ended(entry.func);
        self.write(entry, if failed { FAILED } else { FINISHED });
        self.count(if failed { Gauge::Failed } else { Gauge::Finished });
        self.ended(entry);
        true
    }

    /// Ends a task that will not be started. False: it has been started or abandoned.
    pub fn drop_waiting(&self, entry: &Entry, reason: DropReason) -> bool {
        if !entry.life.drop_waiting() {
            return false;
        }
        self.functions.dropped(entry.func);
        self.write_dropped(entry, reason);
        true
    }

    /// Gives a task up at the drain deadline. None: it had ended.
    pub fn abandon(&self, entry: &Entry) -> Option<Was> {
        let was = entry.life.abandon()?;
        match was {
            Was::Waiting => self.functions.dropped(entry.func),
            Was::Running => self.functions.ended(entry.func),
        }
        self.write_dropped(entry, DropReason::Abandoned);
        self.count(match was {
            Was::Waiting => Gauge::AbandonedQueued,
            Was::Running => Gauge::AbandonedRunning,
        });
        Some(was)
    }

    /// Waits until no request is under way and no task pending. False: the time was up first.
    pub fn wait_quiet(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_quiet() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            quiet = self.became_quiet.wait_timeout(quiet, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Marks the row file as closed in good order.
    pub fn close(&self) {
        if let Some(rows) = &self.rows {
            rows.close();
        }
    }

    fn write(&self, entry: &Entry, word: usize) {
        if let (Some(rows), Some(row)) = (&self.rows, entry.row) {
            rows.store(row, word, now_ns());
        }
    }

    fn write_dropped(&self, entry: &Entry, reason: DropReason) {
        if let (Some(rows), Some(row)) = (&self.rows, entry.row) {
            rows.set_bits(row, META, (reason as u64) << REASON_SHIFT);
            rows.store(row, DROPPED, now_ns());
        }
        self.dropped[reason as usize].fetch_add(1, Ordering::Relaxed);
        self.count(Gauge::Dropped);
        self.ended(entry);
    }

    fn count(&self, gauge: Gauge) {
        self.gauge(gauge).fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self, entry: &Entry) {
        // Before the server's own count: who sees the server quiet sees the route quiet too.
        if let Some(share) = &entry.share {
            share.pending.fetch_sub(1, Ordering::AcqRel);
        }
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake();
        }
    }

    fn wake(&self) {
        // The lock orders this with a waiter that has just looked at the counts and is about to sleep.
        drop(self.quiet.lock().unwrap_or_else(PoisonError::into_inner));
        self.became_quiet.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::{DropReason, Gauge, Ledger, Share, TaskKind, UNTAGGED};
    use std::{
        sync::{Arc, atomic::Ordering},
        time::Duration,
    };

    fn ledger() -> Ledger {
        Ledger::open(None, 1, "").expect("no file is made")
    }

    #[test]
    fn every_accepted_task_ends_once_and_the_gauges_add_up() {
        let ledger = ledger();
        let entries: Vec<_> = (0..4).map(|index| ledger.accept(7, index, 0, Some(TaskKind::Def))).collect();
        assert!(ledger.start(&entries[0]) && ledger.end(&entries[0], false));
        assert!(ledger.start(&entries[1]) && ledger.end(&entries[1], true));
        assert!(ledger.drop_waiting(&entries[2], DropReason::Skipped));
        assert!(ledger.start(&entries[3]));
        assert!(!ledger.wait_quiet(Duration::ZERO));
        assert!(ledger.abandon(&entries[3]).is_some());
        assert!(!ledger.end(&entries[3], false), "an abandoned task no longer counts as finished");
        assert!(ledger.wait_quiet(Duration::ZERO));
        let read = |gauge| ledger.gauge(gauge).load(Ordering::Relaxed);
        assert_eq!(read(Gauge::Accepted), read(Gauge::Finished) + read(Gauge::Failed) + read(Gauge::Dropped));
        assert_eq!(read(Gauge::AbandonedRunning), 1);
        assert_eq!([DropReason::Skipped, DropReason::Abandoned].map(|reason| ledger.dropped(reason)), [1, 1]);
        assert_eq!(ledger.functions.under_way(), []);
    }

    #[test]
    fn however_a_task_ends_it_leaves_the_share_of_its_route_once() {
        let ledger = ledger();
        let share = Arc::new(Share::default());
        let entries: Vec<_> = (0..3).map(|index| ledger.accept_for(Some(&share), 7, index, 0, Some(TaskKind::Def))).collect();
        let _other = ledger.accept(7, 3, 0, Some(TaskKind::Def));
        assert_eq!((share.under_way(), ledger.pending()), (3, 4));
        assert!(ledger.start(&entries[0]) && ledger.end(&entries[0], true));
        assert!(ledger.drop_waiting(&entries[1], DropReason::Skipped) && ledger.abandon(&entries[1]).is_none());
        assert!(ledger.abandon(&entries[2]).is_some() && !ledger.drop_waiting(&entries[2], DropReason::Skipped));
        assert_eq!((share.under_way(), ledger.pending()), (0, 1));
    }

    #[test]
    fn a_request_without_an_operation_gets_a_placeholder_that_no_client_can_make() {
        let ledger = ledger();
        assert_eq!(ledger.operation(Some(5)), 5);
        let placeholders = [ledger.operation(None), ledger.operation(Some(0)), ledger.operation(Some(UNTAGGED | 5))];
        assert!(placeholders.iter().all(|op| op & UNTAGGED != 0));
        assert_ne!(placeholders[0], placeholders[1]);
    }
}
