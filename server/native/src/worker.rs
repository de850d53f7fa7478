//! The threads of the pool: each takes the tasks of one request after another and runs the `def` ones.

use std::sync::Arc;

use afterload_core::ledger::{DropReason, Gauge, TaskKind};
use pyo3::prelude::*;

use crate::{chain::Chain, core::Core};

/// The life of one pool thread.
pub fn run_worker(py: Python<'_>, core: &Arc<Core>, number: usize) {
    loop {
        let chain = match core.pool.try_pop(number) {
            Some(chain) => chain,
            None => match py.detach(|| core.pool.pop(number)) {
                Some(chain) => chain,
                None => return,
            },
        };
        core.down(Gauge::PoolWaiting);
        core.up(Gauge::PoolBusy);
        run_chain(py, core, &chain);
        core.down(Gauge::PoolBusy);
        core.route(chain);
    }
}

fn run_chain(py: Python<'_>, core: &Core, chain: &Chain) {
    while let Some(task) = chain.take(TaskKind::Def) {
        if !core.ledger.start(&task.entry) {
            continue;
        }
        let outcome = task.call(py);
        // The end of a task that was given up is no news.
        if core.ledger.end(&task.entry, outcome.is_err())
            && let Err(error) = outcome
        {
            task_failed(py, core, chain, &task.func, error);
        }
    }
}

/// Logs what a task raised and does what the policy says with the tasks after it.
pub fn task_failed(py: Python<'_>, core: &Core, chain: &Chain, func: &Py<PyAny>, error: PyErr) {
    if let Err(second) = core.helpers.task_failed.bind(py).call1((func, error.into_value(py))) {
        second.display(py);
    }
    if core.policy.stop_on_error {
        chain.drop_rest(&core.ledger, DropReason::Skipped);
    }
}
