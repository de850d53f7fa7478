//! What all threads of the server share: the ledger, the queues, the policies and the registry of requests with unfinished tasks.

use std::{
    collections::VecDeque,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering},
    },
};

use afterload_core::{
    ledger::{Entry, Gauge, Ledger},
    ordered::Ordered,
    queue::Queue,
    watch::Watch,
};
use pyo3::prelude::*;

use crate::{
    asgi::AsgiCall, chain::Chain, job::Job, lane::LaneWork, outbox, overdue::Overdue, pages::RouteLine, policy::Policy,
    websocket::WebSocketCall,
};

/// So many requests are looked at for the oldest queued task, while the registry is locked.
const LOOKED_AT: usize = 1024;

/// Python callables that the compiled side calls; server/_serve.py describes each.
pub struct Helpers {
    /// The class whose instances are injected as `BackgroundTasks`.
    pub task_list: Py<PyAny>,
    /// `is_async_callable`, for callables that are no plain functions.
    pub is_async: Py<PyAny>,
    /// Turns a returned `Response` into its parts.
    pub unpack: Py<PyAny>,
    /// Encodes a value that is no plain JSON.
    pub encode: Py<PyAny>,
    /// Turns an exception of an endpoint into an answer, or returns None if the app has a handler of its own for it.
    pub explain: Py<PyAny>,
    /// Logs the exception of a task.
    pub task_failed: Py<PyAny>,
    /// Warns of a task that returned a generator or a coroutine, which nobody runs.
    pub task_never_ran: Py<PyAny>,
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
    /// A request for the ASGI app.
    Asgi(Box<AsgiCall>),
    /// A web socket for the ASGI app.
    WebSocket(Box<WebSocketCall>),
    /// The ASGI call with this number waits, and need not any more.
    Wake(u64),
}

/// Work for a thread of the pool.
pub enum PoolWork {
    /// Tasks whose next one is plain `def`.
    Chain(Arc<Chain>),
    /// What an endpoint thread would do, where endpoints share the pool.
    Lane(LaneWork),
}

/// How a server was told to be.
pub struct Shape {
    pub pool: usize,
    /// Endpoints run on the pool's threads, first come, first served together with tasks.
    pub shared_pool: bool,
    pub lane_limit: usize,
    /// Requests that would add tasks are refused while this many are pending.
    pub queue_limit: Option<u64>,
}

/// The requests with unfinished tasks. Sealed at the drain deadline: after that nothing is accepted.
#[derive(Default)]
pub struct Registry {
    chains: Ordered<Arc<Chain>>,
    sealed: bool,
}

impl Registry {
    fn enter(&mut self, mut chain: Chain) -> Arc<Chain> {
        chain.number = self.chains.next_number();
        let chain = Arc::new(chain);
        self.chains.insert(Arc::clone(&chain));
        chain
    }
}

/// Shared by all threads of one server.
pub struct Core {
    pub ledger: Ledger,
    /// What each thread is doing.
    pub watch: Watch,
    /// The routes as the admin port shows them.
    pub routes: OnceLock<Vec<RouteLine>>,
    /// For tasks of no particular route.
    pub policy: Arc<Policy>,
    pub queue_limit: Option<u64>,
    /// Requests that may yet add tasks.
    pub undecided: AtomicU64,
    pub helpers: Helpers,
    /// Requests for endpoints that are plain `def`, and `def` callables of other requests.
    pub lanes: Queue<LaneWork>,
    /// Chains whose next task is plain `def`, and what endpoint threads would do where endpoints share the pool.
    pub pool: Queue<PoolWork>,
    pub pool_limit: AtomicUsize,
    pub shared_pool: bool,
    pub overdue: Overdue,
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
    pub fn new(ledger: Ledger, policy: Policy, helpers: Helpers, shape: &Shape) -> std::io::Result<Self> {
        // SAFETY: a plain system call; the descriptor is owned from here on.
        let doorbell = match unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) } {
            -1 => return Err(std::io::Error::last_os_error()),
            // SAFETY: the descriptor has just been made and nobody else has it.
            descriptor => unsafe { OwnedFd::from_raw_fd(descriptor) },
        };
        Ok(Self {
            ledger,
            watch: Watch::default(),
            routes: OnceLock::new(),
            policy: Arc::new(policy),
            queue_limit: shape.queue_limit,
            undecided: AtomicU64::new(0),
            helpers,
            lanes: Queue::new(shape.lane_limit),
            pool: Queue::new(shape.pool),
            pool_limit: AtomicUsize::new(shape.pool),
            shared_pool: shape.shared_pool,
            overdue: Overdue::default(),
            lane_threads: AtomicUsize::new(0),
            lane_limit: shape.lane_limit,
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

    /// Hands work to the event loop: from an I/O thread at the end of its pass, otherwise at once.
    pub fn push_to_loop(&self, work: LoopWork) {
        if let Err(work) = outbox::keep_for_loop(work) {
            self.push_all_to_loop([work]);
        }
    }

    /// Hands work to the event loop at once; its bell rings once per burst.
    pub fn push_all_to_loop(&self, work: impl IntoIterator<Item = LoopWork>) {
        let mut waiting = lock(&self.for_loop);
        let first = waiting.is_empty();
        waiting.extend(work);
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

    /// Writes to the ledger, unless the drain deadline has passed: what was given up then must be all that was given up. `write` must not
    /// run Python code, nor let go of anything that does: other threads wait for the lock while they have the interpreter.
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
        lock(&self.registry).chains.remove(chain.number);
        chain.let_go_of_bell();
    }

    /// Seals the registry, empties it, and returns the chains that have not ended.
    pub fn seal(&self) -> Vec<Arc<Chain>> {
        let mut registry = lock(&self.registry);
        registry.sealed = true;
        let left = std::mem::take(&mut registry.chains);
        left.iter().map(Arc::clone).collect()
    }

    /// When the oldest queued task was accepted. Where the `LOOKED_AT` oldest requests have none, a bound: none is older than what is returned.
    pub fn oldest_queued(&self) -> Option<u64> {
        let registry = lock(&self.registry);
        let mut bound = None;
        for chain in registry.chains.iter().take(LOOKED_AT) {
            let accepted = chain.oldest_queued();
            if accepted.is_some() {
                return accepted;
            }
            bound = chain.last_accepted().or(bound);
        }
        bound
    }

    /// Seals the registry if nothing is under way: then nothing can be accepted after the account is closed.
    pub fn seal_if_quiet(&self) -> bool {
        let mut registry = lock(&self.registry);
        registry.sealed |= self.ledger.is_quiet();
        registry.sealed
    }

    /// The response of a request has left, or (`whole` false) its client has gone: lets its tasks run, unless they wait for more.
    pub fn release(&self, chain: Arc<Chain>, whole: bool) {
        chain.flushed(&self.ledger, whole);
        self.open_gate(chain);
    }

    /// One of the things that the tasks of a request wait for has happened.
    pub fn open_gate(&self, chain: Arc<Chain>) {
        if !chain.open_gate() {
            return;
        }
        if chain.policy.parallel {
            for single in self.split(&chain) {
                self.route(single);
            }
        } else {
            self.route(chain);
        }
    }

    /// Drops all tasks of a request: its app never called for them.
    pub fn discard(&self, chain: &Chain) {
        // Where nothing is open any more, they were given up, and are let go of by who did that.
        let Some(dropped) = self.while_open(|ledger| chain.discard(ledger)) else { return };
        self.forget(chain);
        // Not under the lock: letting go of arguments may run Python code, which gives other threads a turn, or comes back here.
        drop(dropped);
    }

    /// One chain a task, for tasks that run side by side. In one step, so that at each moment every task is in a registered chain.
    fn split(&self, chain: &Chain) -> Vec<Arc<Chain>> {
        let mut registry = lock(&self.registry);
        if registry.sealed {
            return Vec::new();
        }
        registry.chains.remove(chain.number);
        chain.take_apart().into_iter().map(|single| registry.enter(single)).collect()
    }

    /// Sends a chain to where its next task runs, from an I/O thread at the end of its pass; one without a next task has ended.
    pub fn route(&self, chain: Arc<Chain>) {
        if let Err(chain) = outbox::keep(chain) {
            self.route_all([chain]);
        }
    }

    /// As `route`, at once, with one wake-up for all.
    pub fn route_all(&self, chains: impl IntoIterator<Item = Arc<Chain>>) {
        use afterload_core::ledger::TaskKind;
        let (mut for_pool, mut for_loop) = (Vec::new(), Vec::new());
        for chain in chains {
            match chain.next_kind() {
                Some(TaskKind::Def) => for_pool.push(PoolWork::Chain(chain)),
                Some(TaskKind::Async) => for_loop.push(LoopWork::Chain(chain)),
                None => self.forget(&chain),
            }
        }
        if !for_loop.is_empty() {
            self.push_all_to_loop(for_loop);
        }
        if !for_pool.is_empty() {
            self.ledger.gauge(Gauge::PoolWaiting).fetch_add(for_pool.len() as u64, Ordering::Relaxed);
            self.pool.push_all(for_pool);
        }
    }

    /// Sends a request with a `def` endpoint, or a `def` callable of another one, to where it runs. True: it has to wait for an
    /// endpoint thread.
    pub fn push_to_lanes(&self, work: LaneWork) -> bool {
        self.up(Gauge::LanesWaiting);
        if self.shared_pool {
            self.pool.push(PoolWork::Lane(work));
            return false;
        }
        self.lanes.push(work) > 0
    }

    /// Lets `size` pool threads take work.
    pub fn set_pool(&self, size: usize) {
        self.pool_limit.store(size, Ordering::Release);
        self.pool.set_limit(size);
        self.ledger.gauge(Gauge::PoolSize).store(size as u64, Ordering::Release);
    }

    /// Whether a request that would add tasks, and is counted as under way already, must be refused. All requests under way may each
    /// add a task: they count, or a burst would overshoot the limit.
    pub fn is_full(&self, policy: &Policy) -> bool {
        let under_way = || self.ledger.pending() + self.undecided.load(Ordering::Acquire);
        self.queue_limit.is_some_and(|limit| under_way() > limit) || policy.is_full()
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
