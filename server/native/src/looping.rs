//! The event loop's side: what the loop thread takes from the queue and drives in Python (server/_loop.py).

use std::sync::{Arc, Mutex};

use afterload_core::{
    ledger::{Gauge, TaskKind},
    watch::PieceKind,
};
use pyo3::{
    prelude::*,
    types::{PyDict, PyTuple},
};

use crate::{
    chain::{Chain, Task},
    core::{Core, lock},
    job::Job,
    tasks::TaskList,
    worker::task_failed,
};

/// A piece of Python that has begun on the event loop; it ends when this is dropped.
pub struct Running {
    core: Arc<Core>,
    number: usize,
}

impl Running {
    /// The endpoint of route `number` begins; without a number, the app.
    pub fn endpoint(core: &Arc<Core>, number: Option<usize>, op: u64) -> Self {
        let id = number.and_then(|number| u32::try_from(number).ok()).unwrap_or(u32::MAX);
        Self { core: Arc::clone(core), number: core.watch.begin_on_loop(PieceKind::Endpoint, id, op) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.core.watch.end_on_loop(self.number);
    }
}

/// Function, arguments, and for how many seconds it may run.
type Step = (Py<PyAny>, Py<PyTuple>, Option<Py<PyDict>>, Option<f64>);

/// The task that has been begun, its place among those with a time limit, and what the watch knows it by.
type Current = (Arc<Task>, Option<usize>, Running);

/// Tasks of one request whose next one is `async def`.
#[pyclass(frozen, module = "server._native")]
pub struct AsyncChain {
    core: Arc<Core>,
    chain: Arc<Chain>,
    /// The task, its place among those with a time limit, and among what runs.
    current: Mutex<Option<Current>>,
}

impl AsyncChain {
    pub fn new(core: Arc<Core>, chain: Arc<Chain>) -> Self {
        Self { core, chain, current: Mutex::default() }
    }

    fn end(&self, failed: bool) -> Option<Arc<Task>> {
        let (task, place, running) = lock(&self.current).take()?;
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
    fn context(&self, py: Python<'_>) -> Option<Py<PyAny>> {
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
                let number = self.core.watch.begin_task_on_loop(task.name, self.chain.op, task.entry.flushed_ns());
                *lock(&self.current) = Some((task, place, Running { core: Arc::clone(&self.core), number }));
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
    job: Mutex<Option<Job>>,
    tasks: Mutex<Option<Py<TaskList>>>,
    running: Mutex<Option<Running>>,
}

impl AsyncJob {
    pub fn new(job: Job) -> Self {
        Self { job: Mutex::new(Some(job)), tasks: Mutex::default(), running: Mutex::default() }
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
        *lock(&self.tasks) = call.tasks;
        Some((call.endpoint, call.kwargs))
    }

    /// Answers with what the endpoint returned.
    fn respond(&self, value: Bound<'_, PyAny>) {
        let _ends_here = lock(&self.running).take();
        let (job, tasks) = (lock(&self.job).take(), lock(&self.tasks).take());
        if let Some(job) = job {
            job.respond(&value, tasks.as_ref());
        }
    }

    /// Answers an exception of the endpoint.
    fn fail(&self, error: Bound<'_, PyAny>) {
        let py = error.py();
        let _ends_here = lock(&self.running).take();
        let (job, tasks) = (lock(&self.job).take(), lock(&self.tasks).take());
        if let Some(job) = job {
            job.fail(py, PyErr::from_value(error), tasks.as_ref());
        }
    }
}
