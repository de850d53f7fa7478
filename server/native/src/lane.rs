//! The endpoint threads, and what they do.

use std::sync::{Arc, atomic::Ordering};

use afterload_core::{
    ledger::Gauge,
    watch::{PieceKind, Role, Thread},
};
use pyo3::prelude::*;

use crate::{core::Core, gil::identity, job::Job, pages::watched_as, panics::caught, worker::wait_detached};

/// Work for an endpoint thread.
pub enum LaneWork {
    /// A request whose endpoint, and everything that it depends on, is `def`.
    Job(Box<Job>),
    /// A `def` callable that a request on the event loop waits for.
    Call(Py<PyAny>),
}

impl LaneWork {
    fn route(&self) -> (Option<usize>, u64) {
        match self {
            Self::Job(job) => (Some(job.number), job.op),
            // Its request is named where it waits, on the event loop.
            Self::Call(_) => (None, 0),
        }
    }

    fn run(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Job(job) => job.run(py),
            Self::Call(call) => drop(call.bind(py).call0()?),
        }
        Ok(())
    }
}

/// The thread of an endpoint: takes one request after another.
pub fn run_lane(py: Python<'_>, core: &Arc<Core>, number: usize) {
    let page = core.watch.enter(Role::Lane, number, identity(py));
    loop {
        // Work is taken while attached: until this thread has the interpreter, another one that has it may be quicker.
        let Some(work) = core.lanes.try_pop(number) else {
            if wait_detached(py, &page, || core.lanes.wait(number)) {
                continue;
            }
            return;
        };
        core.lane_jobs_taken.fetch_add(1, Ordering::AcqRel);
        run_lane_work(py, core, &page, work);
    }
}

/// Runs what the thread has taken. A panic ends the request, with 500, and not the thread.
pub fn run_lane_work(py: Python<'_>, core: &Core, page: &Thread, work: LaneWork) {
    core.down(Gauge::LanesWaiting);
    core.up(Gauge::LanesBusy);
    let (number, op) = work.route();
    page.begin(PieceKind::Endpoint, watched_as(number), op);
    let outcome = caught(|| work.run(py));
    page.end();
    if let Err(error) = outcome {
        error.display(py);
    }
    core.down(Gauge::LanesBusy);
}
