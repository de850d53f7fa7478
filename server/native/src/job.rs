//! One request on its way through Python: arguments, answer, tasks. Runs attached, on an endpoint thread or the event loop's.
//!
//! The straight way is taken here. A request that is not in order (it fails validation, its body is no JSON) is handed over whole to the
//! general way before anything of the user's has been called.

use std::sync::{Arc, atomic::Ordering};

use afterload_core::ledger::Gauge;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pyo3::{
    prelude::*,
    types::{PyBool, PyBytes, PyDict, PyInt, PyList, PyNone, PyString, PyTuple},
};
use tokio::sync::oneshot;

use crate::{
    body::Ticket,
    core::Core,
    params::Received,
    route::Route,
    scope::scope_of,
    tasks::{Functions, Sealed, TaskList},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const DEEP: usize = 64;

type RawHeaders = Vec<(Vec<u8>, Vec<u8>)>;

/// What is sent to the client.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    pub ticket: Option<Ticket>,
}

/// Why there are no arguments.
enum Trouble {
    /// The request is not in order.
    HandOver,
    /// A Python exception of our own making.
    Raised(PyErr),
}

impl From<PyErr> for Trouble {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// A request that waits for an endpoint.
pub struct Job {
    pub core: Arc<Core>,
    pub functions: Arc<Functions>,
    pub routes: Arc<Vec<Route>>,
    pub number: usize,
    pub op: u64,
    pub method: Method,
    pub path: String,
    pub path_values: Vec<String>,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub reply: oneshot::Sender<Reply>,
    /// The server is not quiet before it is dropped.
    pub busy: BusyGuard,
}

/// Counts a request as under way, also when its connection has gone, until its tasks have been accepted.
pub struct BusyGuard(Arc<Core>);

impl BusyGuard {
    pub fn new(core: &Arc<Core>) -> Self {
        core.ledger.enter();
        Self(Arc::clone(core))
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.ledger.leave();
    }
}

/// Arguments of an endpoint, and the list that it was given for its tasks.
pub struct Call<'py> {
    pub endpoint: Bound<'py, PyAny>,
    pub kwargs: Bound<'py, PyDict>,
    pub tasks: Option<Py<TaskList>>,
}

impl Job {
    /// The number of the route and the answer's sender stay with the job; everything else was read. None: it has been answered.
    pub fn prepare<'py>(self, py: Python<'py>) -> Option<(Self, Call<'py>)> {
        match self.arguments(py) {
            Ok(call) => Some((self, call)),
            Err(Trouble::HandOver) => {
                self.hand_over(py);
                None
            }
            Err(Trouble::Raised(error)) => {
                self.fail(py, error, None);
                None
            }
        }
    }

    /// Runs a `def` endpoint and answers.
    pub fn run(self, py: Python<'_>) {
        let Some((job, call)) = self.prepare(py) else { return };
        match in_fresh_context(py, || call.endpoint.call((), Some(&call.kwargs))) {
            Ok(value) => job.respond(&value, call.tasks.as_ref()),
            Err(error) => job.fail(py, error, call.tasks.as_ref()),
        }
    }

    /// Answers with what the endpoint returned and accepts its tasks.
    pub fn respond(self, value: &Bound<'_, PyAny>, tasks: Option<&Py<TaskList>>) {
        let py = value.py();
        let mut reply = match self.encode(value, tasks) {
            Ok(reply) => reply,
            Err(error) => return self.fail(py, error, tasks),
        };
        // The rows of the tasks are complete before the first byte of the answer can leave.
        match tasks.map_or(Ok(None), |tasks| tasks.get().accept(&self.core, self.op)) {
            Ok(chain) => reply.ticket = chain.map(|chain| Ticket::new(Arc::clone(&self.core), chain)),
            Err(Sealed) => reply = stopping(),
        }
        self.send(reply);
    }

    /// Answers an exception of the endpoint; its tasks are discarded, as in FastAPI.
    pub fn fail(self, py: Python<'_>, error: PyErr, tasks: Option<&Py<TaskList>>) {
        if let Some(tasks) = tasks {
            tasks.get().discard(&self.core, self.op);
        }
        let error = error.into_value(py);
        let explained = self.core.helpers.explain.bind(py).call1((&error, self.number));
        let reply = match explained {
            Ok(parts) if parts.is_none() => return self.raise_in_app(py, error.bind(py)),
            Ok(parts) => reply_from(&parts),
            Err(second) => Err(second),
        };
        self.send(reply.unwrap_or_else(|second| displayed(py, &second)));
    }

    /// Raises an exception inside the app, whose own handlers answer.
    fn raise_in_app(self, py: Python<'_>, error: &Bound<'_, PyAny>) {
        let outcome = scope_of(py, &self).and_then(|scope| {
            let body = PyBytes::new(py, &self.body);
            reply_from(&self.core.helpers.raise_in_app.bind(py).call1((scope, body, error))?)
        });
        self.send(outcome.unwrap_or_else(|second| displayed(py, &second)));
    }

    fn route(&self) -> &Route {
        &self.routes[self.number]
    }

    fn send(self, reply: Reply) {
        let Self { reply: sender, busy, .. } = self;
        // Its tasks are pending by now. Before the answer can be read: the client's next request must not find this one counted too.
        drop(busy);
        // A client that has gone does not stop the tasks: the ticket in the refused reply lets them run.
        drop(sender.send(reply));
    }

    fn arguments<'py>(&self, py: Python<'py>) -> Result<Call<'py>, Trouble> {
        let route = self.route();
        if let Some(app) = &route.overridable
            && app.bind(py).getattr(pyo3::intern!(py, "dependency_overrides"))?.is_truthy()?
        {
            return Err(Trouble::HandOver);
        }
        let received = Received::new(&self.path_values, self.query.as_deref(), &self.headers, &self.body);
        let kwargs = received.arguments(py, route).map_err(|_| Trouble::HandOver)?;
        if let (Some(name), Some(make)) = (&route.request, &route.make_request) {
            let parts = (scope_of(py, self)?, &self.path_values, PyBytes::new(py, &self.body));
            kwargs.set_item(name, make.bind(py).call1(parts)?)?;
        }
        let tasks = match &route.tasks {
            None => None,
            Some(name) => {
                let list = self.core.helpers.task_list.bind(py).call0()?;
                kwargs.set_item(name, &list)?;
                let list = list.cast_into::<TaskList>().map_err(PyErr::from)?;
                list.get().belongs_to(&self.core, &self.functions);
                Some(list.unbind())
            }
        };
        Ok(Call { endpoint: route.endpoint.bind(py).clone(), kwargs, tasks })
    }

    /// Lets FastAPI itself answer.
    fn hand_over(self, py: Python<'_>) {
        let outcome = scope_of(py, &self).and_then(|scope| {
            let body = PyBytes::new(py, &self.body);
            reply_from(&self.core.helpers.hand_over.bind(py).call1((scope, body))?)
        });
        self.send(outcome.unwrap_or_else(|error| displayed(py, &error)));
    }

    fn encode(&self, value: &Bound<'_, PyAny>, tasks: Option<&Py<TaskList>>) -> PyResult<Reply> {
        let (py, route, helpers) = (value.py(), self.route(), &self.core.helpers);
        if !value.is_exact_instance_of::<PyDict>() && value.is_instance(helpers.response.bind(py))? {
            return reply_from(&helpers.unpack.bind(py).call1((value, tasks))?);
        }
        if route.is_bodyless() {
            // The content type without content is what FastAPI's JSONResponse sends too.
            return Ok(Reply {
                status: route.status,
                headers: vec![(http::header::CONTENT_TYPE, JSON)],
                body: Bytes::new(),
                ticket: None,
            });
        }
        let encoded = match &route.encode {
            Some(encode) => encode.bind(py).call1((value,))?,
            None if is_plain(value, DEEP) => helpers.to_json.bind(py).call1((value,))?,
            None => helpers.encode.bind(py).call1((value,))?,
        };
        let body = Bytes::copy_from_slice(encoded.cast::<PyBytes>()?.as_bytes());
        Ok(Reply { status: route.status, headers: vec![(http::header::CONTENT_TYPE, JSON)], body, ticket: None })
    }
}

/// Work for an endpoint thread.
pub enum LaneWork {
    /// A request whose endpoint, and everything that it depends on, is `def`.
    Job(Box<Job>),
    /// A `def` function that a request on the event loop waits for.
    Call(Py<PyAny>),
}

impl LaneWork {
    fn run(self, py: Python<'_>) {
        match self {
            Self::Job(job) => job.run(py),
            Self::Call(call) => {
                if let Err(error) = call.bind(py).call0() {
                    error.display(py);
                }
            }
        }
    }
}

/// The thread of an endpoint: takes one request after another.
pub fn run_lane(py: Python<'_>, core: &Arc<Core>, number: usize) {
    loop {
        let work = match core.lanes.try_pop(number) {
            Some(work) => work,
            None => match py.detach(|| core.lanes.pop(number)) {
                Some(work) => work,
                None => return,
            },
        };
        core.lane_jobs_taken.fetch_add(1, Ordering::AcqRel);
        core.down(Gauge::LanesWaiting);
        core.up(Gauge::LanesBusy);
        work.run(py);
        core.down(Gauge::LanesBusy);
    }
}

/// An answer for a request whose tasks came after the drain deadline: it must not be acknowledged.
fn stopping() -> Reply {
    let headers = vec![(http::header::CONTENT_TYPE, JSON), (http::header::CONNECTION, HeaderValue::from_static("close"))];
    Reply { status: 503, headers, body: Bytes::from_static(br#"{"detail":"The server is stopping"}"#), ticket: None }
}

/// An answer for when even the explanation failed.
pub fn internal_error() -> Reply {
    let headers = vec![(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))];
    Reply { status: 500, headers, body: Bytes::from_static(b"Internal Server Error"), ticket: None }
}

fn displayed(py: Python<'_>, error: &PyErr) -> Reply {
    error.display(py);
    internal_error()
}

/// Context variables set by one request are not seen by the next on the same thread.
fn in_fresh_context<'py>(py: Python<'py>, call: impl FnOnce() -> PyResult<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    use pyo3::ffi;
    // SAFETY: attached; a new reference or null with an exception set.
    let context = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? };
    // SAFETY: a context of our own that is entered nowhere else.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    let result = call();
    // SAFETY: entered above on this thread.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    result
}

/// Whether JSON text of the value is the same whoever writes it: only exact `dict` with `str` keys, `list`, `str`, `int`, `bool`, `None`.
fn is_plain(value: &Bound<'_, PyAny>, depth: usize) -> bool {
    if value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyNone>()
    {
        return true;
    }
    if depth == 0 {
        return false;
    }
    if let Ok(dict) = value.cast_exact::<PyDict>() {
        // FastAPI's encoder leaves out keys that begin with `_sa` (SQLAlchemy's), so that such a dict is not plain.
        return dict.iter().all(|(key, item)| {
            let is_text = key.cast_exact::<PyString>().is_ok_and(|key| key.to_str().is_ok_and(|key| !key.starts_with("_sa")));
            is_text && is_plain(&item, depth - 1)
        });
    }
    value.cast_exact::<PyList>().is_ok_and(|list| list.iter().all(|item| is_plain(&item, depth - 1)))
}

fn reply_from(parts: &Bound<'_, PyAny>) -> PyResult<Reply> {
    let (status, pairs, body): (u16, RawHeaders, Bound<'_, PyBytes>) = parts.cast::<PyTuple>()?.extract()?;
    let mut headers = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(&name).map_err(bad_header)?;
        if name != http::header::CONTENT_LENGTH {
            headers.push((name, HeaderValue::from_bytes(&value).map_err(bad_header)?));
        }
    }
    Ok(Reply { status, headers, body: Bytes::copy_from_slice(body.as_bytes()), ticket: None })
}

fn bad_header(error: impl std::fmt::Display) -> PyErr {
    pyo3::exceptions::PyValueError::new_err(format!("a response header cannot be sent: {error}"))
}
