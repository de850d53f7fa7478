//! The threads of the pool: each takes the tasks of one request after another and runs the `def` ones. Where endpoints share the pool,
//! they run here too, first come, first served.

use std::sync::{Arc, atomic::Ordering};

use afterload_core::{
    ledger::{Gauge, TaskKind},
    watch::{Role, Thread},
};
use pyo3::{ffi, prelude::*};

use crate::{
    chain::{Chain, Task},
    core::{Core, PoolWork},
    gil::identity,
    lane::run_lane_work,
    panics::caught,
};

/// The life of one pool thread.
pub fn run_worker(py: Python<'_>, core: &Arc<Core>, number: usize) {
    let page = core.watch.enter(Role::Pool, number, identity(py));
    loop {
        // Taken while attached: a thread that still waits for the interpreter must not sit on work that another could run.
        let Some(work) = core.pool.try_pop(number) else {
            if wait_detached(py, &page, || core.pool.wait(number)) {
                continue;
            }
            return;
        };
        match work {
            PoolWork::Chain(chain) => {
                core.down(Gauge::PoolWaiting);
                core.up(Gauge::PoolBusy);
                let outcome = caught(|| {
                    run_chain(py, core, &page, &chain, number);
                    Ok(())
                });
                if let Err(error) = outcome {
                    page.end();
                    error.display(py);
                }
                core.down(Gauge::PoolBusy);
                core.route(chain);
            }
            PoolWork::Lane(work) => run_lane_work(py, core, &page, work),
        }
    }
}

/// Waits without the interpreter, and tells the page how long it took to get it back.
pub fn wait_detached<T: Send>(py: Python<'_>, page: &Thread, wait: impl FnOnce() -> T + Send) -> T {
    let waited = py.detach(|| {
        let waited = wait();
        page.wants_to_attach();
        waited
    });
    page.attached();
    waited
}

fn run_chain(py: Python<'_>, core: &Core, page: &Thread, chain: &Chain, number: usize) {
    while let Some(task) = chain.take(TaskKind::Def) {
        if !core.ledger.start(&task.entry) {
            continue;
        }
        let place = core.overdue.begin(chain, &task);
        page.begin_task(task.name, chain.op, task.entry.flushed_ns());
        let outcome = task.call(py);
        page.end_task();
        core.overdue.end(core, place);
        // The end of a task that was given up is no news.
        let counts = core.ledger.end(&task.entry, outcome.is_err());
        match outcome {
            Ok(value) => look_at(py, core, &task, &value),
            Err(error) if counts => task_failed(py, core, chain, &task.func, error),
            Err(_) => {}
        }
        // A thread that the pool has lost meanwhile runs no further task. Of a pool that endpoints share, each task takes a turn of its
        // own, as in Starlette.
        if core.shared_pool || number >= core.pool_limit.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// A generator or a coroutine that a task returned is never run: somebody meant something else.
fn look_at(py: Python<'_>, core: &Core, task: &Task, value: &Bound<'_, PyAny>) {
    let object = value.as_ptr();
    // SAFETY: attached, and a valid object; these look at its type only.
    let never_runs = unsafe {
        ffi::PyGen_CheckExact(object) != 0 || ffi::PyCoro_CheckExact(object) != 0 || ffi::PyAsyncGen_CheckExact(object) != 0
    };
    if never_runs {
        say(py, || core.helpers.task_never_ran.bind(py).call1((&task.func, value)));
    }
}

/// Logs what a task raised and does what the policy says with the tasks after it.
pub fn task_failed(py: Python<'_>, core: &Core, chain: &Chain, func: &Py<PyAny>, error: PyErr) {
    say(py, || core.helpers.task_failed.bind(py).call1((func, error.into_value(py))));
    if chain.policy.stop_on_error {
        chain.skip_rest(&core.ledger);
    }
}

/// Logs. The user's handlers run there: whatever they do, the tasks go on.
fn say<'py>(py: Python<'py>, log: impl FnOnce() -> PyResult<Bound<'py, PyAny>>) {
    if let Err(error) = caught(log) {
        error.display(py);
    }
}
