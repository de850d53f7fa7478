//! One request on its way through Python: arguments, answer, tasks. Runs attached, on an endpoint thread or the event loop's.
//!
//! The straight way is taken here; whatever fails validation or is out of the ordinary is handed whole to a helper in
//! Python, which does what FastAPI does, with FastAPI's own functions.

use std::sync::{Arc, atomic::Ordering};

use afterload_core::ledger::{Gauge, Share};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use pyo3::{
    prelude::*,
    types::{PyBool, PyBytes, PyDict, PyInt, PyList, PyNone, PyString, PyTuple},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    asgi::{AsgiCall, Seed, Wanted},
    body::Ticket,
    core::{Core, LoopWork},
    exchange::{Exchange, Piece},
    panics::caught,
    policy::Policy,
    route::{Param, Route},
    scope::Asked,
    tasks::{Functions, Sealed, TaskList},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const DEEP: usize = 64;

type RawHeaders = Vec<(Vec<u8>, Vec<u8>)>;

/// What is sent to the client.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub content: Content,
    /// Of a whole answer: lets its tasks run when it has left.
    pub ticket: Option<Ticket>,
}

/// The body of an answer.
pub enum Content {
    Whole(Bytes),
    Stream(mpsc::UnboundedReceiver<Piece>, Arc<Exchange>),
}

impl Reply {
    /// A whole answer of one content type.
    pub fn of(status: u16, content_type: HeaderValue, body: Bytes) -> Self {
        let mut headers = HeaderMap::with_capacity(1);
        headers.insert(http::header::CONTENT_TYPE, content_type);
        Self { status, headers, content: Content::Whole(body), ticket: None }
    }
}

/// Why there are no arguments.
enum Trouble {
    /// Something about the request is out of the ordinary: the app has to look at it itself.
    HandOver,
    /// A Python exception that is no validation error.
    Raised(PyErr),
}

/// A request that waits for an endpoint.
pub struct Job {
    pub core: Arc<Core>,
    pub functions: Arc<Functions>,
    pub routes: Arc<Vec<Route>>,
    pub number: usize,
    /// How its tasks are run.
    pub policy: Arc<Policy>,
    pub op: u64,
    pub asked: Asked,
    pub path_values: Vec<String>,
    pub body: Bytes,
    pub reply: oneshot::Sender<Reply>,
    /// The server is not quiet before it is dropped.
    pub busy: BusyGuard,
}

/// Counts a request as under way, also when its connection has gone, until its tasks have been accepted.
pub struct BusyGuard {
    core: Arc<Core>,
    share: Option<Arc<Share>>,
    stands_by: bool,
}

impl BusyGuard {
    pub fn new(core: &Arc<Core>, policy: &Policy) -> Self {
        core.ledger.enter();
        if let Some(share) = policy.share() {
            share.enter();
        }
        Self { core: Arc::clone(core), share: policy.share().cloned(), stands_by: false }
    }

    /// It adds no task any more (but through tasks that it has): the server is not quiet before its end, but admission need not count it.
    pub fn stand_by(&mut self) {
        if std::mem::replace(&mut self.stands_by, true) {
            return;
        }
        if let Some(share) = self.share.take() {
            share.leave();
        }
        self.core.bystanders.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        if let Some(share) = &self.share {
            share.leave();
        }
        if self.stands_by {
            self.core.bystanders.fetch_sub(1, Ordering::AcqRel);
        }
        self.core.ledger.leave();
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
                self.hand_over(Wanted::Answer, None, 0);
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
            Ok(Some(reply)) => reply,
            Ok(None) => {
                let tasks = tasks.map(|tasks| tasks.clone_ref(py));
                return self.hand_over(Wanted::Send(value.clone().unbind()), tasks, 0);
            }
            Err(error) => return self.fail(py, error, tasks),
        };
        // The rows of the tasks are complete before the first byte of the answer can leave.
        match tasks.map_or(Ok(None), |tasks| tasks.get().accept(&self.core, self.op, 0)) {
            Ok(chain) => reply.ticket = chain.map(|chain| Ticket::new(Arc::clone(&self.core), chain)),
            Err(Sealed) => reply = stopping(),
        }
        self.send(reply);
    }

    /// Answers an exception of the endpoint; its tasks are discarded, as in FastAPI.
    pub fn fail(self, py: Python<'_>, error: PyErr, tasks: Option<&Py<TaskList>>) {
        let used = tasks.map_or(0, |tasks| tasks.get().discard(&self.core, self.op, 0));
        let error = error.into_value(py);
        let explained = self.core.helpers.explain.bind(py).call1((&error, self.number));
        if explained.as_ref().is_ok_and(|parts| parts.is_none()) {
            return self.hand_over(Wanted::Explain(error.into_any()), None, used);
        }
        let reply = explained.and_then(|parts| reply_from(&parts)).unwrap_or_else(|second| {
            second.display(py);
            internal_error()
        });
        self.send(reply);
    }

    fn route(&self) -> &Route {
        &self.routes[self.number]
    }

    /// Leaves the request to the ASGI app, which gets it as it came, or an exception or a response of its endpoint.
    pub fn hand_over(self, wanted: Wanted, tasks: Option<Py<TaskList>>, used: u16) {
        let Self { core, functions, policy, number, op, asked, body, reply, busy, .. } = self;
        let exchange = Exchange::with_body(&core, body);
        let call = AsgiCall::new(Seed {
            core: Arc::clone(&core),
            functions,
            policy,
            exchange,
            asked,
            op,
            route: Some(number),
            wanted,
            tasks,
            used,
            reply,
            busy,
        });
        core.push_to_loop(LoopWork::Asgi(Box::new(call)));
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
        let kwargs = match self.straight(py, route) {
            Ok(kwargs) => kwargs,
            Err(_) => return Err(Trouble::HandOver),
        };
        let tasks = match &route.tasks {
            None => None,
            Some(name) => {
                let list = self.core.helpers.task_list.bind(py).call0().map_err(Trouble::Raised)?;
                kwargs.set_item(name, &list).map_err(Trouble::Raised)?;
                let list = list.cast_into::<TaskList>().map_err(|error| Trouble::Raised(error.into()))?;
                list.get().belongs_to(&self.core, &self.functions, &self.policy);
                Some(list.unbind())
            }
        };
        Ok(Call { endpoint: route.endpoint.bind(py).clone(), kwargs, tasks })
    }

    /// Arguments of a request without any trouble; any error means that the careful way has to look at it.
    fn straight<'py>(&self, py: Python<'py>, route: &Route) -> PyResult<Bound<'py, PyDict>> {
        let kwargs = PyDict::new(py);
        for param in &route.params {
            let value = match self.raw(py, route, param) {
                Some(raw) => match &param.validate {
                    None => raw.into_any(),
                    Some(validate) => validate.bind(py).call1((raw,))?,
                },
                None if param.required => return Err(pyo3::exceptions::PyKeyError::new_err(param.alias.clone())),
                None => match &param.make_default {
                    None => param.default.bind(py).clone(),
                    Some(make) => make.bind(py).call0()?,
                },
            };
            kwargs.set_item(&param.name, value)?;
        }
        if let Some(body) = &route.body {
            if self.body.is_empty() || !self.is_json() {
                return Err(pyo3::exceptions::PyValueError::new_err("no JSON body"));
            }
            let value = body.validate_json.bind(py).call1((PyBytes::new(py, &self.body),))?;
            kwargs.set_item(&body.name, value)?;
        }
        Ok(kwargs)
    }

    fn raw<'py>(&self, py: Python<'py>, route: &Route, param: &Param) -> Option<Bound<'py, PyString>> {
        match param.source.as_str() {
            "path" => {
                let place = route.path_names.iter().position(|name| *name == param.alias)?;
                Some(PyString::new(py, self.path_values.get(place)?))
            }
            "query" => {
                // Of a repeated parameter the last one counts, as in Starlette.
                let pairs = form_urlencoded::parse(self.asked.uri.query()?.as_bytes());
                let (_, value) = pairs.filter(|(name, _)| *name == param.alias).last()?;
                Some(PyString::new(py, &value))
            }
            _ => {
                let value = self.asked.headers.get(&param.alias)?;
                // Header values are Latin-1: each byte is its own code point.
                let text: String = value.as_bytes().iter().map(|&byte| char::from(byte)).collect();
                Some(PyString::new(py, &text))
            }
        }
    }

    fn is_json(&self) -> bool {
        let content_type = self.asked.headers.get(http::header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        content_type == b"application/json" || content_type.starts_with(b"application/json;")
    }

    /// The answer. None: it is a `Response` of a kind that must send itself.
    fn encode(&self, value: &Bound<'_, PyAny>, tasks: Option<&Py<TaskList>>) -> PyResult<Option<Reply>> {
        let (py, route, helpers) = (value.py(), self.route(), &self.core.helpers);
        if !value.is_exact_instance_of::<PyDict>() && value.is_instance(helpers.response.bind(py))? {
            let parts = helpers.unpack.bind(py).call1((value, tasks))?;
            return if parts.is_none() { Ok(None) } else { reply_from(&parts).map(Some) };
        }
        if route.is_bodyless() {
            // The content type without content is what FastAPI's JSONResponse sends too.
            return Ok(Some(Reply::of(route.status, JSON, Bytes::new())));
        }
        let encoded = match &route.encode {
            Some(encode) => encode.bind(py).call1((value,))?,
            None if is_plain(value, DEEP) => helpers.to_json.bind(py).call1((value,))?,
            None => helpers.encode.bind(py).call1((value,))?,
        };
        let body = Bytes::copy_from_slice(encoded.cast::<PyBytes>()?.as_bytes());
        Ok(Some(Reply::of(route.status, JSON, body)))
    }
}

/// The thread of an endpoint: takes one request after another.
pub fn run_lane(py: Python<'_>, core: &Arc<Core>, number: usize) {
    loop {
        let job = match core.lanes.try_pop(number) {
            Some(job) => job,
            None => match py.detach(|| core.lanes.pop(number)) {
                Some(job) => job,
                None => return,
            },
        };
        core.lane_jobs_taken.fetch_add(1, Ordering::AcqRel);
        run_job(py, core, job);
    }
}

/// Runs one request on the thread that has taken it. A panic ends the request, with 500, and not the thread.
pub fn run_job(py: Python<'_>, core: &Core, job: Job) {
    core.down(Gauge::LanesWaiting);
    core.up(Gauge::LanesBusy);
    let outcome = caught(|| {
        job.run(py);
        Ok(())
    });
    if let Err(error) = outcome {
        error.display(py);
    }
    core.down(Gauge::LanesBusy);
}

/// An answer for a request whose tasks came after the drain deadline: it must not be acknowledged.
pub fn stopping() -> Reply {
    let mut reply = Reply::of(503, JSON, Bytes::from_static(br#"{"detail":"The server is stopping"}"#));
    reply.headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// An answer for when even the explanation failed.
pub fn internal_error() -> Reply {
    Reply::of(500, HeaderValue::from_static("text/plain; charset=utf-8"), Bytes::from_static(b"Internal Server Error"))
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
    // Left on every way out, or the thread's later requests would run in it.
    let result = caught(call);
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
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(&name).map_err(bad_header)?;
        if name != http::header::CONTENT_LENGTH {
            headers.append(name, HeaderValue::from_bytes(&value).map_err(bad_header)?);
        }
    }
    Ok(Reply { status, headers, content: Content::Whole(Bytes::copy_from_slice(body.as_bytes())), ticket: None })
}

pub fn bad_header(error: impl std::fmt::Display) -> PyErr {
    pyo3::exceptions::PyValueError::new_err(format!("a response header cannot be sent: {error}"))
}
