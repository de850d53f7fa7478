//! How the tasks of one route are run: what the server was told, or the route for itself (server/_policies.py).

use std::{sync::Arc, time::Duration};

use afterload_core::ledger::Share;
use pyo3::prelude::*;

/// A `TaskPolicy` as Python resolved it.
#[derive(FromPyObject)]
pub struct PolicySpec {
    parallel: bool,
    stop_on_error: bool,
    queue_limit: Option<u64>,
    timeout_s: Option<f64>,
}

/// What to do with the tasks of a request. Shared by all requests of a route.
#[derive(Default)]
pub struct Policy {
    /// Tasks of one request run side by side instead of one after another.
    pub parallel: bool,
    /// After a task raised, the later ones of its request are skipped.
    pub stop_on_error: bool,
    /// How long a task may run: an `async def` one is cancelled then, a `def` one reported.
    pub timeout: Option<Duration>,
    limit: Option<Limit>,
}

/// The route's own limit of pending tasks, and what it counts.
struct Limit {
    most: u64,
    share: Arc<Share>,
}

impl Policy {
    /// The policy of a route that has no say in the number of its pending tasks.
    pub fn new(parallel: bool, stop_on_error: bool, timeout_s: Option<f64>) -> Self {
        let timeout = timeout_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self { parallel, stop_on_error, timeout, limit: None }
    }

    /// Where the route's tasks are counted, if it has a limit of its own.
    pub fn share(&self) -> Option<&Arc<Share>> {
        self.limit.as_ref().map(|limit| &limit.share)
    }

    /// With the requests under way, the asking one among them, more of the route's tasks could be pending than may be.
    pub fn is_full(&self) -> bool {
        self.limit.as_ref().is_some_and(|limit| limit.share.under_way() > limit.most)
    }
}

/// The policy of one route, for Python to hand about.
#[pyclass(frozen, module = "server._native")]
pub struct RoutePolicy(pub Arc<Policy>);

#[pymethods]
impl RoutePolicy {
    #[new]
    fn new(spec: PolicySpec) -> Self {
        Self(Arc::new(Policy::from(spec)))
    }
}

impl From<PolicySpec> for Policy {
    fn from(spec: PolicySpec) -> Self {
        let limit = spec.queue_limit.map(|most| Limit { most, share: Arc::default() });
        Self { limit, ..Self::new(spec.parallel, spec.stop_on_error, spec.timeout_s) }
    }
}
