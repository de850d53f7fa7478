//! Start, drain and stop, as server/_serve.py asks for them.

use std::{
    net::TcpListener,
    os::fd::RawFd,
    sync::{Arc, Condvar, Mutex, OnceLock, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use afterload_core::{
    clock::now_ns,
    ledger::{Gauge, TaskKind},
    life::Was,
    proxies::Proxies,
    router::Router,
};
use pyo3::{
    IntoPyObjectExt,
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
};
use tokio::sync::watch;

use crate::{
    admin::Admin,
    connection::Limits,
    core::{Core, Helpers, LoopWork, lock},
    gil::{HolderReader, identity},
    io::{self, Io, MORE_LANES, Phase},
    lane::{LaneWork, run_lane},
    listen::{adopt, open, os_error},
    looping::{AsyncChain, AsyncJob},
    policy::RoutePolicy,
    route::Route,
    settings::{HelperSet, Settings},
    tasks::{Functions, name_of},
    worker::run_worker,
};

const FORCED_POLL: Duration = Duration::from_millis(100);

struct IoThreads {
    running: Mutex<usize>,
    ended: Condvar,
}

/// The bundled server.
#[pyclass(frozen, module = "server._native")]
pub struct Server {
    core: Arc<Core>,
    io: OnceLock<Arc<Io>>,
    listener: Mutex<Option<TcpListener>>,
    phase: watch::Sender<Phase>,
    io_threads: Arc<IoThreads>,
    io_handles: Mutex<Vec<thread::JoinHandle<()>>>,
    n_io_threads: usize,
    max_body: usize,
    limits: Limits,
    proxies: Arc<Proxies>,
    overdue_watch: Mutex<Option<thread::JoinHandle<()>>>,
    admin_listener: Mutex<Option<TcpListener>>,
    admin: Mutex<Option<Admin>>,
}

#[pymethods]
impl Server {
    #[new]
    fn new(settings: &Bound<'_, PyAny>, helpers: &Bound<'_, PyAny>) -> PyResult<Self> {
        let settings: Settings = settings.extract()?;
        let helpers: Helpers = helpers.extract::<HelperSet>()?.into();
        let proxies = settings.proxies()?;
        let (policy, shape, limits) = (settings.policy(), settings.shape(), settings.limits());
        let ledger = settings.ledger()?;
        let core = Core::new(ledger, policy, helpers, &shape).map_err(|error| os_error(&error, String::new()))?;
        core.ledger.gauge(Gauge::SharedPool).store(u64::from(settings.shared_pool), Ordering::Release);
        core.ledger.gauge(Gauge::PoolSize).store(settings.pool as u64, Ordering::Release);
        Ok(Self {
            core: Arc::new(core),
            io: OnceLock::new(),
            listener: Mutex::default(),
            phase: watch::channel(Phase::Serving).0,
            io_threads: Arc::new(IoThreads { running: Mutex::new(0), ended: Condvar::new() }),
            io_handles: Mutex::default(),
            n_io_threads: settings.io_threads.max(1),
            max_body: settings.max_body,
            limits,
            proxies: Arc::new(proxies),
            overdue_watch: Mutex::default(),
            admin_listener: Mutex::default(),
            admin: Mutex::default(),
        })
    }

    /// Freezes the routes and, in the same order, how their tasks are run. What no route takes is answered here, or by the app if
    /// `misses_to_app`. Raises ValueError for a path that cannot be routed.
    fn set_routes(
        &self,
        routes: Vec<Route>,
        policies: Vec<Py<RoutePolicy>>,
        redirect_slashes: bool,
        misses_to_app: bool,
    ) -> PyResult<()> {
        if routes.len() != policies.len() {
            return Err(PyValueError::new_err("each route needs a policy"));
        }
        let mut router = Router::default();
        for (number, route) in routes.iter().enumerate() {
            if route.is_other {
                router.add_other(&route.path, number);
                continue;
            }
            for method in &route.methods {
                router
                    .add(method, &route.path, number)
                    .map_err(|bad| PyValueError::new_err(format!("{method} {} cannot be routed: {}", route.path, bad.0)))?;
            }
        }
        let _shown_once = self.core.routes.set(routes.iter().map(Route::line).collect());
        let io = Io {
            core: Arc::clone(&self.core),
            functions: Arc::new(Functions::default()),
            router,
            routes: Arc::new(routes),
            policies: policies.iter().map(|policy| Arc::clone(&policy.get().0)).collect(),
            redirect_slashes,
            misses_to_app,
            max_body: self.max_body,
            limits: self.limits,
            seats: Arc::default(),
            proxies: Arc::clone(&self.proxies),
        };
        self.io.set(Arc::new(io)).map_err(|_| PyRuntimeError::new_err("the routes are frozen already"))
    }

    /// Opens the port, not yet answering on it, and returns its number. Raises OSError.
    fn bind(&self, host: &str, port: u16) -> PyResult<u16> {
        open("", host, port, &self.listener)
    }

    /// Opens the admin port on loopback, not yet answering on it, and returns its number. Raises OSError.
    fn bind_admin(&self, port: u16) -> PyResult<u16> {
        open("the admin port ", "127.0.0.1", port, &self.admin_listener)
    }

    /// Starts answering on the admin port; nothing happens where none was bound. Called on the thread that serves.
    fn start_admin(&self, py: Python<'_>) -> PyResult<()> {
        let Some(listener) = lock(&self.admin_listener).take() else { return Ok(()) };
        self.core.watch.serving_identity.store(identity(py), Ordering::Relaxed);
        let admin = Admin::start(Arc::clone(&self.core), listener, HolderReader::new(py))
            .map_err(|error| os_error(&error, String::new()))?;
        *lock(&self.admin) = Some(admin);
        Ok(())
    }

    /// Ends the admin thread. Comes last, so that everything before it can be watched.
    fn close_admin(&self, py: Python<'_>) {
        let admin = lock(&self.admin).take();
        py.detach(|| admin.map(Admin::stop));
    }

    /// Takes over a listening socket that was opened for this process, and returns its port. Raises OSError.
    fn adopt(&self, descriptor: RawFd) -> PyResult<u16> {
        let place = || format!("descriptor {descriptor}");
        let listener = adopt(descriptor).map_err(|error| os_error(&error, place()))?;
        let port = listener.local_addr().map_err(|error| os_error(&error, place()))?.port();
        *lock(&self.listener) = Some(listener);
        Ok(port)
    }

    /// Starts answering. `control` is the descriptor through which the main thread is asked for things.
    fn start(&self, control: RawFd) -> PyResult<()> {
        let (Some(io), Some(listener)) = (self.io.get(), lock(&self.listener).take()) else {
            return Err(PyRuntimeError::new_err("set_routes() and bind() come before start()"));
        };
        self.core.set_control(control);
        if self.core.policy.timeout.is_some() || io.policies.iter().any(|policy| policy.timeout.is_some()) {
            let core = Arc::clone(&self.core);
            let watch = thread::Builder::new().name("overdue".into()).spawn(move || core.overdue.watch(&core));
            *lock(&self.overdue_watch) = Some(watch.map_err(|error| os_error(&error, String::new()))?);
        }
        for number in 0..self.n_io_threads {
            let listener = listener.try_clone().map_err(|error| os_error(&error, String::new()))?;
            let (io, phase, threads) = (Arc::clone(io), self.phase.subscribe(), Arc::clone(&self.io_threads));
            *lock(&threads.running) += 1;
            let name = format!("io-{number}");
            let body = move || {
                if let Err(error) = io::run(&io, listener, phase) {
                    eprintln!("error: an I/O thread ended: {error}");
                }
                // The routes hold Python objects: whoever is told of this end may let go of the last but this one.
                drop(io);
                *lock(&threads.running) -= 1;
                threads.ended.notify_all();
            };
            let spawned = thread::Builder::new().name(name).spawn(body);
            if spawned.is_err() {
                *lock(&self.io_threads.running) -= 1;
            }
            lock(&self.io_handles).push(spawned.map_err(|error| os_error(&error, String::new()))?);
        }
        self.core.ledger.gauge(Gauge::Ready).store(now_ns(), Ordering::Release);
        Ok(())
    }

    /// The life of pool thread `number`; returns when the server stops.
    fn run_worker(&self, py: Python<'_>, number: usize) {
        run_worker(py, &self.core, number);
    }

    /// The life of endpoint thread `number`; returns when the server stops.
    fn run_lane(&self, py: Python<'_>, number: usize) {
        run_lane(py, &self.core, number);
    }

    /// Counts one more endpoint thread. None: there are as many as there may be.
    fn add_lane(&self) -> Option<usize> {
        let limit = self.core.lane_limit;
        let add = |threads: usize| (threads < limit).then_some(threads + 1);
        let number = self.core.lane_threads.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok()?;
        self.core.up(Gauge::Lanes);
        Some(number)
    }

    /// The thread that `add_lane` counted could not be started.
    fn lane_failed(&self) {
        self.core.lane_threads.fetch_sub(1, Ordering::AcqRel);
        self.core.down(Gauge::Lanes);
    }

    /// Has `call` called on an endpoint thread. True: it has to wait, so that more threads may be needed.
    fn lend(&self, call: Py<PyAny>) -> bool {
        self.core.push_to_lanes(LaneWork::Call(call))
    }

    /// How much endpoint threads have taken so far; None if nothing waits for them. If that is `before`, and none of them is about to come,
    /// one more thread is asked for.
    fn lane_progress(&self, before: Option<u64>) -> Option<u64> {
        if self.core.lanes.is_empty() || self.core.lane_threads.load(Ordering::Acquire) >= self.core.lane_limit {
            return None;
        }
        let taken = self.core.lane_jobs_taken.load(Ordering::Acquire);
        // As in io.rs: a thread that waits for the interpreter, which the event loop may have had all the time, is not stuck.
        if before == Some(taken) && self.core.lanes.is_stuck() {
            self.core.ask_main(MORE_LANES);
        }
        Some(taken)
    }

    /// Lets `size` pool threads take tasks; their threads must exist.
    fn set_pool(&self, size: usize) {
        self.core.set_pool(size);
    }

    /// Tasks that have become overdue since the last call: function, operation, whether `async def`, seconds since its start.
    fn take_overdue(&self, py: Python<'_>) -> Vec<(Py<PyAny>, u64, bool, f64)> {
        let late = self.core.overdue.untold().into_iter();
        late.map(|late| (late.task.func.clone_ref(py), late.op, late.task.kind == TaskKind::Async, late.age.as_secs_f64()))
            .collect()
    }

    /// What the harness asks for in setting `number` (docs/rows.md).
    fn setting(&self, number: usize) -> u64 {
        self.core.ledger.setting(number)
    }

    /// The descriptor that becomes readable when the event loop has work.
    fn doorbell(&self) -> RawFd {
        self.core.doorbell()
    }

    /// The event loop's work: `AsyncJob` and `AsyncChain` objects, oldest first.
    fn take(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        let work = self.core.take_for_loop();
        work.into_iter()
            .map(|work| match work {
                LoopWork::Job(job) => AsyncJob::new(*job).into_py_any(py),
                LoopWork::Chain(chain) => AsyncChain::new(Arc::clone(&self.core), chain).into_py_any(py),
                LoopWork::Asgi(call) => (*call).into_py_any(py),
                LoopWork::WebSocket(call) => (*call).into_py_any(py),
                LoopWork::Wake(id) => id.into_py_any(py),
            })
            .collect()
    }

    /// The event loop is alive; it beats again in `period_s`.
    fn beat(&self, py: Python<'_>, period_s: f64) {
        self.core.watch.loop_identity.store(identity(py), Ordering::Relaxed);
        let period = Duration::from_secs_f64(period_s).as_nanos();
        self.core.ledger.gauge(Gauge::LoopBeatPeriod).store(u64::try_from(period).unwrap_or(0), Ordering::Relaxed);
        self.core.ledger.gauge(Gauge::LoopBeat).store(now_ns(), Ordering::Release);
    }

    /// Requests that have not been answered.
    fn in_flight(&self) -> u64 {
        self.core.ledger.gauge(Gauge::RequestsInFlight).load(Ordering::Acquire)
    }

    /// Tasks accepted and not ended.
    fn pending(&self) -> u64 {
        self.core.ledger.pending()
    }

    /// Whether nothing is under way: no request, no task.
    fn is_quiet(&self) -> bool {
        self.core.ledger.is_quiet()
    }

    /// Stops accepting connections and waits, detached, until everything accepted has ended. False: `drain_s` were over first.
    fn drain(&self, py: Python<'_>, drain_s: f64) -> bool {
        let time = Duration::try_from_secs_f64(drain_s.max(0.0)).unwrap_or(Duration::MAX);
        py.detach(|| {
            let end = Instant::now().checked_add(time);
            let left = || end.map_or(Duration::from_secs(1 << 30), |end| end.saturating_duration_since(Instant::now()));
            self.core.ledger.gauge(Gauge::Draining).store(now_ns(), Ordering::Release);
            self.advance(Phase::Draining);
            if !self.wait_io(left()) {
                return false;
            }
            // Looks up now and then: whoever gives up earlier does not want to be waited for.
            while left() > Duration::ZERO && *self.phase.borrow() != Phase::Forced {
                if self.core.ledger.wait_quiet(left().min(FORCED_POLL)) && self.core.seal_if_quiet() {
                    return true;
                }
            }
            self.core.ledger.is_quiet() && self.core.seal_if_quiet()
        })
    }

    /// Gives up what is left: starts no task any more, drops every connection, and returns the abandoned tasks as
    /// (name of the function, whether it was running).
    fn abandon(&self, py: Python<'_>) -> Vec<(String, bool)> {
        // First, because tasks whose answers are dropped below would be free to start.
        let abandoned = self.give_up(py);
        py.detach(|| {
            self.advance(Phase::Forced);
            self.wait_io(Duration::from_secs(1));
        });
        abandoned
    }

    /// Ends the I/O threads, and the pool and endpoint threads once they are idle, and marks the row file as closed in good order.
    fn close(&self, py: Python<'_>) {
        // Nothing is left after a drain, or after `abandon`. Something is if the server ends because somebody's code raised.
        drop(self.give_up(py));
        self.core.overdue.close();
        let watch = lock(&self.overdue_watch).take();
        py.detach(|| {
            // It waits for nothing but the end that it has just been told of.
            let _ended = watch.map(thread::JoinHandle::join);
            self.advance(Phase::Forced);
            if self.wait_io(Duration::from_secs(1)) {
                // They have said that they are at their end; what is left of them takes no time.
                lock(&self.io_handles).drain(..).for_each(|thread| drop(thread.join()));
            }
        });
        self.core.set_control(-1);
        drop(lock(&self.listener).take());
        self.core.pool.close();
        self.core.lanes.close();
        self.core.ledger.gauge(Gauge::Drained).store(now_ns(), Ordering::Release);
        self.core.ledger.close();
        // What nobody began holds Python objects, some of it also the core that holds the queue; it is dropped here, attached.
        drop(self.core.pool.take_rest());
        drop(self.core.lanes.take_rest());
        drop(self.core.take_for_loop());
    }
}

impl Server {
    /// Accepts nothing any more and abandons what has not ended: name of the function, whether it was running.
    fn give_up(&self, py: Python<'_>) -> Vec<(String, bool)> {
        let mut abandoned = Vec::new();
        for chain in self.core.seal() {
            for task in chain.tasks() {
                if let Some(was) = self.core.ledger.abandon(&task.entry) {
                    abandoned.push((name_of(task.func.bind(py)), was == Was::Running));
                }
            }
            // Arguments may hold the list that holds this chain.
            chain.clear();
        }
        abandoned
    }

    /// Phases only go on: a drain that begins late must not take back that everything is to be dropped.
    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|now| {
            let goes_on = *now < to;
            if goes_on {
                *now = to;
            }
            goes_on
        });
    }

    /// False: the time was up before the last I/O thread had ended.
    fn wait_io(&self, time: Duration) -> bool {
        let running = lock(&self.io_threads.running);
        let outcome = self.io_threads.ended.wait_timeout_while(running, time, |running| *running > 0);
        outcome.is_ok_and(|(running, _)| *running == 0)
    }
}
