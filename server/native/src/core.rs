//! What all threads of the server share: the ledger, the queues, the policies and the registry of requests with unfinished tasks.

use std::{
    collections::VecDeque,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering},
    },
};

use afterload_core::{
    ledger::{Entry, Gauge, Ledger},
    queue::Queue,
};
use pyo3::prelude::*;
use slab::Slab;

use crate::{
    chain::Chain,
    job::{Job, LaneWork},
};

/// What to do with the later tasks of a request, and how many tasks to admit.
pub struct Policy {
    /// Tasks of one request run side by side instead of one after another.
    pub parallel: bool,
    /// After a task raised, the later ones of its request are skipped.
    pub stop_on_error: bool,
    /// Requests that would add tasks are refused while this many are pending.
    pub queue_limit: Option<u64>,
}

/// Python callables that the compiled side calls; server/_serve.py describes each.
pub struct Helpers {
    /// The class whose instances are injected as `BackgroundTasks`.
    pub task_list: Py<PyAny>,
    /// `is_async_callable`, for callables that are no plain functions.
    pub is_async: Py<PyAny>,
    /// Lets FastAPI answer a request.
    pub hand_over: Py<PyAny>,
    /// Lets the app's exception handlers answer a request.
    pub raise_in_app: Py<PyAny>,
    /// Turns a returned `Response` into its parts.
    pub unpack: Py<PyAny>,
    /// Encodes a value that is no plain JSON.
    pub encode: Py<PyAny>,
    /// Turns an exception of an endpoint into an answer, or returns None if the app has a handler of its own for it.
    pub explain: Py<PyAny>,
    /// Logs the exception of a task.
    pub task_failed: Py<PyAny>,
    /// `starlette.responses.Response`.
    pub response: Py<PyAny>,
    /// `pydantic_core.to_json`.
    pub to_json: Py<PyAny>,
}

/// Work for the event loop's thread.
pub enum LoopWork {
    /// A request whose endpoint is `async def`.
    Job(Box<Job>),
    /// Tasks whose next one is `async def`.
    Chain(Arc<Chain>),
}

/// The requests with unfinished tasks. Sealed at the drain deadline: after that nothing is accepted.
#[derive(Default)]
pub struct Registry {
    chains: Slab<Arc<Chain>>,
    sealed: bool,
}

impl Registry {
    fn enter(&mut self, mut chain: Chain) -> Arc<Chain> {
        let place = self.chains.vacant_entry();
        chain.number = place.key();
        Arc::clone(place.insert(Arc::new(chain)))
    }
}

/// Shared by all threads of one server.
pub struct Core {
    pub ledger: Ledger,
    pub policy: Policy,
    pub helpers: Helpers,
    /// Requests for endpoints that are plain `def`, and `def` callables of other requests.
    pub lanes: Queue<LaneWork>,
    /// Chains whose next task is plain `def`.
    pub pool: Queue<Arc<Chain>>,
    pub lane_threads: AtomicUsize,
    pub lane_limit: usize,
    /// Requests that endpoint threads have taken so far: their progress.
    pub lane_jobs_taken: AtomicU64,
    for_loop: Mutex<VecDeque<LoopWork>>,
    doorbell: OwnedFd,
    control: AtomicI32,
    registry: Mutex<Registry>,
}

impl Core {
    pub fn new(ledger: Ledger, policy: Policy, helpers: Helpers, pool: usize, lane_limit: usize) -> std::io::Result<Self> {
        // SAFETY: a plain system call; the descriptor is owned from here on.
        let doorbell = match unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) } {
            -1 => return Err(std::io::Error::last_os_error()),
            // SAFETY: the descriptor has just been made and nobody else has it.
            descriptor => unsafe { OwnedFd::from_raw_fd(descriptor) },
        };
        Ok(Self {
            ledger,
            policy,
            helpers,
            lanes: Queue::new(lane_limit),
            pool: Queue::new(pool),
            lane_threads: AtomicUsize::new(0),
            lane_limit,
            lane_jobs_taken: AtomicU64::new(0),
            for_loop: Mutex::default(),
            doorbell,
            control: AtomicI32::new(-1),
            registry: Mutex::default(),
        })
    }

    /// Adds one to a gauge.
    pub fn up(&self, gauge: Gauge) {
        self.ledger.gauge(gauge).fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one from a gauge.
    pub fn down(&self, gauge: Gauge) {
        self.ledger.gauge(gauge).fetch_sub(1, Ordering::Relaxed);
    }

    /// Hands work to the event loop; its bell rings once per burst.
    pub fn push_to_loop(&self, work: LoopWork) {
        let mut waiting = lock(&self.for_loop);
        let first = waiting.is_empty();
        waiting.push_back(work);
        drop(waiting);
        if first {
            let one = 1_u64;
            // SAFETY: eight valid bytes to an open eventfd. It can only fail when the counter is full, and then the bell rings anyway.
            unsafe { libc::write(self.doorbell.as_raw_fd(), (&raw const one).cast(), 8) };
        }
    }

    /// Everything that waits for the event loop.
    pub fn take_for_loop(&self) -> VecDeque<LoopWork> {
        let mut count = 0_u64;
        // SAFETY: room for eight bytes; an empty bell returns an error, which says nothing new.
        unsafe { libc::read(self.doorbell.as_raw_fd(), (&raw mut count).cast(), 8) };
        std::mem::take(&mut *lock(&self.for_loop))
    }

    /// The descriptor that becomes readable when there is work for the event loop.
    pub fn doorbell(&self) -> RawFd {
        self.doorbell.as_raw_fd()
    }

    /// Where the main thread listens for single-byte requests.
    pub fn set_control(&self, descriptor: RawFd) {
        self.control.store(descriptor, Ordering::Release);
    }

    /// Asks the main thread for something that only Python can do.
    pub fn ask_main(&self, request: u8) {
        let descriptor = self.control.load(Ordering::Acquire);
        if descriptor >= 0 {
            // SAFETY: one valid byte to the main thread's socket; if it is full, the main thread is being woken already.
            unsafe { libc::write(descriptor, (&raw const request).cast(), 1) };
        }
    }

    /// Accepts tasks, unless the drain deadline has passed: then `build` is not called and there is nothing to run.
    pub fn admit(&self, build: impl FnOnce(&Ledger) -> Chain) -> Option<Arc<Chain>> {
        let mut registry = lock(&self.registry);
        if registry.sealed {
            // First the lock, then what `build` holds: dropping arguments runs Python code, which may come back here.
            drop(registry);
            return None;
        }
        let chain = build(&self.ledger);
        Some(registry.enter(chain))
    }

    /// Writes to the ledger, unless the drain deadline has passed: what was given up then must be all that was given up.
    pub fn while_open<R>(&self, write: impl FnOnce(&Ledger) -> R) -> Option<R> {
        let registry = lock(&self.registry);
        if registry.sealed {
            drop(registry);
            return None;
        }
        Some(write(&self.ledger))
    }

    /// Forgets a chain that has run to its end.
    pub fn forget(&self, chain: &Chain) {
        lock(&self.registry).chains.try_remove(chain.number);
    }

    /// Seals the registry and returns the chains that have not ended.
    pub fn seal(&self) -> Vec<Arc<Chain>> {
        let mut registry = lock(&self.registry);
        registry.sealed = true;
        registry.chains.iter().map(|(_, chain)| Arc::clone(chain)).collect()
    }

    /// Seals the registry if nothing is under way: then nothing can be accepted after the account is closed.
    pub fn seal_if_quiet(&self) -> bool {
        let mut registry = lock(&self.registry);
        registry.sealed |= self.ledger.is_quiet();
        registry.sealed
    }

    /// Lets the tasks of a request run; called when its response has left.
    pub fn release(&self, chain: Arc<Chain>, whole: bool) {
        chain.flushed(&self.ledger, whole);
        if self.policy.parallel {
            for single in self.split(&chain) {
                self.route(single);
            }
        } else {
            self.route(chain);
        }
    }

    /// One chain a task, for tasks that run side by side. In one step, so that at each moment every task is in a registered chain.
    fn split(&self, chain: &Chain) -> Vec<Arc<Chain>> {
        let mut registry = lock(&self.registry);
        if registry.sealed {
            return Vec::new();
        }
        registry.chains.try_remove(chain.number);
        chain.take_apart().into_iter().map(|single| registry.enter(single)).collect()
    }

    /// Sends a chain to where its next task runs; one without a next task has ended.
    pub fn route(&self, chain: Arc<Chain>) {
        use afterload_core::ledger::TaskKind;
        match chain.next_kind() {
            Some(TaskKind::Def) => {
                self.up(Gauge::PoolWaiting);
                self.pool.push(chain);
            }
            Some(TaskKind::Async) => self.push_to_loop(LoopWork::Chain(chain)),
            None => self.forget(&chain),
        }
    }

    /// Writes a request down that admission refused.
    pub fn refuse(&self, op: u64) {
        use afterload_core::ledger::DropReason;
        let entry: Entry = self.ledger.accept(op, 0, 0, None);
        self.ledger.drop_waiting(&entry, DropReason::Rejected);
        self.up(Gauge::Refused);
    }
}

/// Locks, also after a panic elsewhere: what these locks guard is changed by single calls that do not panic half-way.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
