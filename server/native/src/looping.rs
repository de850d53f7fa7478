//! The event loop's side: what the loop thread takes from the queue and drives in Python (server/_loop.py).

use std::sync::{Arc, Mutex};

use afterload_core::{
    ledger::{Gauge, TaskKind},
    watch::PieceKind,
};
use pyo3::{
    ffi, intern,
    prelude::*,
    types::{PyDict, PyTuple},
};

use crate::{
    chain::{Chain, Task},
    core::{Core, lock},
    job::{Given, Job},
    pages::watched_as,
    worker::task_failed,
};

/// A piece of Python that has begun on the event loop; it ends when this is dropped.
pub struct Running {
    core: Arc<Core>,
    kind: PieceKind,
    number: usize,
}

impl Running {
    /// A request's way through Python begins. `route`: None, if only the app knows which one it takes.
    pub fn endpoint(core: &Arc<Core>, route: Option<usize>, op: u64) -> Self {
        let kind = PieceKind::Endpoint;
        Self { core: Arc::clone(core), kind, number: core.watch.begin_on_loop(kind, watched_as(route), op) }
    }

    fn task(core: &Arc<Core>, chain: &Chain, task: &Task) -> Self {
        let number = core.watch.begin_task_on_loop(task.name, chain.op, task.entry.flushed_ns());
        Self { core: Arc::clone(core), kind: PieceKind::Task, number }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.core.watch.end_on_loop(self.kind, self.number);
    }
}

/// The task that runs.
struct Current {
    task: Arc<Task>,
    /// Its place among those with a time limit.
    place: Option<usize>,
    running: Running,
}

/// Function, arguments, and for how many seconds it may run.
type Step = (Py<PyAny>, Py<PyTuple>, Option<Py<PyDict>>, Option<f64>);

/// Tasks of one request whose next one is `async def`.
#[pyclass(frozen, module = "server._native")]
pub struct AsyncChain {
    core: Arc<Core>,
    chain: Arc<Chain>,
    current: Mutex<Option<Current>>,
}

impl AsyncChain {
    pub fn new(core: Arc<Core>, chain: Arc<Chain>) -> Self {
        Self { core, chain, current: Mutex::default() }
    }

    fn end(&self, failed: bool) -> Option<Arc<Task>> {
        let Current { task, place, running } = lock(&self.current).take()?;
        self.core.overdue.end(&self.core, place);
        drop(running);
        let counts = self.core.ledger.end(&task.entry, failed);
        self.core.down(Gauge::LoopTasks);
        // The end of a task that was given up is no news.
        counts.then_some(task)
    }
}

#[pymethods]
impl AsyncChain {
    /// The context in which to run.
    fn context<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.chain.context(py)
    }

    /// Starts the next `async def` task; its end must be told. None: there is none any more; what is left goes its own way.
    fn begin(&self, py: Python<'_>) -> Option<Step> {
        while let Some(task) = self.chain.take(TaskKind::Async) {
            if self.core.ledger.start(&task.entry) {
                self.core.up(Gauge::LoopTasks);
                let kwargs = task.kwargs.as_ref().map(|kwargs| kwargs.clone_ref(py));
                let timeout_s = self.chain.policy.timeout.map(|timeout| timeout.as_secs_f64());
                let step = (task.func.clone_ref(py), task.args.clone_ref(py), kwargs, timeout_s);
                let place = self.core.overdue.begin(&self.chain, &task);
                let running = Running::task(&self.core, &self.chain, &task);
                *lock(&self.current) = Some(Current { task, place, running });
                return Some(step);
            }
        }
        self.core.route(Arc::clone(&self.chain));
        None
    }

    /// The task has returned. The tasks after it go their way: an `async def` one comes back in a context of its own.
    fn finished(&self) {
        self.end(false);
        self.core.route(Arc::clone(&self.chain));
    }

    /// The task has raised.
    fn failed(&self, error: Bound<'_, PyAny>) {
        let py = error.py();
        if let Some(task) = self.end(true) {
            task_failed(py, &self.core, &self.chain, &task.func, PyErr::from_value(error));
        }
        self.core.route(Arc::clone(&self.chain));
    }
}

/// A request whose endpoint is `async def`.
#[pyclass(frozen, module = "server._native")]
pub struct AsyncJob {
    /// The number of its route.
    #[pyo3(get)]
    route: usize,
    job: Mutex<Option<Job>>,
    given: Mutex<Given>,
    running: Mutex<Option<Running>>,
}

impl AsyncJob {
    pub fn new(job: Job) -> Self {
        Self { route: job.number, job: Mutex::new(Some(job)), given: Mutex::default(), running: Mutex::default() }
    }
}

#[pymethods]
impl AsyncJob {
    /// The endpoint and its arguments. None: the request has been answered.
    fn prepare<'py>(&self, py: Python<'py>) -> Option<(Bound<'py, PyAny>, Bound<'py, PyDict>)> {
        let job = lock(&self.job).take()?;
        let running = Running::endpoint(&job.core, Some(job.number), job.op);
        let (job, call) = job.prepare(py)?;
        *lock(&self.running) = Some(running);
        *lock(&self.job) = Some(job);
        *lock(&self.given) = call.given;
        Some((call.endpoint, call.kwargs))
    }

    /// Answers with what the endpoint returned.
    fn respond(&self, value: Bound<'_, PyAny>) {
        let _ends_here = lock(&self.running).take();
        let (job, given) = (lock(&self.job).take(), std::mem::take(&mut *lock(&self.given)));
        if let Some(job) = job {
            job.respond(&value, &given);
        }
    }

    /// Answers an exception of the endpoint.
    fn fail(&self, error: Bound<'_, PyAny>) {
        let py = error.py();
        let _ends_here = lock(&self.running).take();
        let (job, given) = (lock(&self.job).take(), std::mem::take(&mut *lock(&self.given)));
        if let Some(job) = job {
            job.fail(py, PyErr::from_value(error), &given);
        }
    }
}

/// Whether what has just run in the current task of asyncio, without ever waiting, left nothing behind that the next thing in it could find:
/// no more than `n_references` references to the task, no attribute of it, callback, request to cancel, name other than `name`, and no context
/// variable.
#[pyfunction]
pub fn is_untouched(task: &Bound<'_, PyAny>, n_references: isize, name: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = task.py();
    // SAFETY: attached, and the task is alive.
    if unsafe { ffi::Py_REFCNT(task.as_ptr()) } != n_references {
        return Ok(false);
    }
    // SAFETY: attached; a new reference to the object's attributes, or null with an exception set. asyncio.Task has them, without `__dict__`.
    let attributes =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyObject_GenericGetDict(task.as_ptr(), std::ptr::null_mut()))? };
    // SAFETY: as above; a copy of the current context, which takes the same time whatever it holds.
    let context = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? };
    Ok(attributes.is_empty()?
        && context.is_empty()?
        && task.getattr(intern!(py, "_callbacks"))?.is_none()
        && !task.call_method0(intern!(py, "cancelling"))?.is_truthy()?
        && task.call_method0(intern!(py, "get_name"))?.is(name))
}
