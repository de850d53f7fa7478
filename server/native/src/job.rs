//! One request on its way through Python: arguments, answer, tasks. Runs attached, on an endpoint thread or the event loop's.
//!
//! The straight way is taken here. A request that is not in order (it fails validation, its body is no JSON) is handed over whole to the
//! general way before anything of the user's has been called.

use std::sync::Arc;

use bytes::Bytes;
use pyo3::{
    prelude::*,
    types::{PyBool, PyBytes, PyDict, PyInt, PyList, PyNone, PyString},
};
use tokio::sync::oneshot;

use crate::{
    asgi::{AsgiCall, Seed, Wanted},
    body::Ticket,
    busy::BusyGuard,
    core::{Core, LoopWork},
    exchange::Exchange,
    panics::caught,
    params::Received,
    policy::Policy,
    presence::HasGone,
    reply::{JSON, Reply, internal_error, reply_from, stopping},
    route::Route,
    scope::{Asked, scope_of},
    tasks::{Functions, Sealed, TaskList},
};

const DEEP: usize = 64;

/// Why there are no arguments.
enum Trouble {
    /// The request is not in order: the app has to look at it itself.
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
    /// How its tasks are run.
    pub policy: Arc<Policy>,
    pub op: u64,
    pub asked: Asked,
    pub path_values: Vec<String>,
    pub body: Bytes,
    pub reply: oneshot::Sender<Reply>,
    /// For routes whose `Request` is injected.
    pub has_gone: Option<HasGone>,
    /// The server is not quiet before it is dropped.
    pub busy: BusyGuard,
}

/// What an endpoint was given that counts after its call, too.
#[derive(Default)]
pub struct Given {
    /// The list for its tasks.
    pub tasks: Option<Py<TaskList>>,
    /// The `Request`, on which dependencies may have left something for exception handlers.
    pub request: Option<Py<PyAny>>,
}

/// Arguments of an endpoint.
pub struct Call<'py> {
    pub endpoint: Bound<'py, PyAny>,
    pub kwargs: Bound<'py, PyDict>,
    pub given: Given,
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
                self.fail(py, error, &Given::default());
                None
            }
        }
    }

    /// Runs a `def` endpoint and answers.
    pub fn run(self, py: Python<'_>) {
        let Some((job, call)) = self.prepare(py) else { return };
        match in_fresh_context(py, || call.endpoint.call((), Some(&call.kwargs))) {
            Ok(value) => job.respond(&value, &call.given),
            Err(error) => job.fail(py, error, &call.given),
        }
    }

    /// Answers with what the endpoint returned and accepts its tasks.
    pub fn respond(self, value: &Bound<'_, PyAny>, given: &Given) {
        let (py, tasks) = (value.py(), given.tasks.as_ref());
        let mut reply = match caught(|| self.encode(value, tasks)) {
            Ok(Some(reply)) => reply,
            Ok(None) => {
                let tasks = tasks.map(|tasks| tasks.clone_ref(py));
                let request = self.request(py, given);
                return self.hand_over(Wanted::Send(value.clone().unbind(), request), tasks, 0);
            }
            Err(error) => return self.fail(py, error, given),
        };
        // The rows of the tasks are complete before the first byte of the answer can leave.
        match tasks.map_or(Ok(None), |tasks| tasks.get().accept(&self.core, self.op, 0)) {
            Ok(chain) => reply.ticket = chain.map(|chain| Ticket::new(Arc::clone(&self.core), chain)),
            Err(Sealed) => reply = stopping(),
        }
        self.send(reply);
    }

    /// Answers an exception of the endpoint; its tasks are discarded, as in FastAPI.
    pub fn fail(self, py: Python<'_>, error: PyErr, given: &Given) {
        let used = given.tasks.as_ref().map_or(0, |tasks| tasks.get().discard(&self.core, self.op, 0));
        let error = error.into_value(py);
        let explained = self.core.helpers.explain.bind(py).call1((&error, self.number));
        if explained.as_ref().is_ok_and(|parts| parts.is_none()) {
            let request = self.request(py, given);
            return self.hand_over(Wanted::Explain(error.into_any(), request), None, used);
        }
        let reply = explained.and_then(|parts| reply_from(&parts)).unwrap_or_else(|second| {
            second.display(py);
            internal_error()
        });
        self.send(reply);
    }

    /// The `Request` that handlers of the app get: the injected one, or one like it.
    fn request(&self, py: Python<'_>, given: &Given) -> Option<Py<PyAny>> {
        if let Some(request) = &given.request {
            return Some(request.clone_ref(py));
        }
        match self.make_request(py) {
            Ok(request) => request.map(Bound::unbind),
            Err(error) => {
                error.display(py);
                None
            }
        }
    }

    fn make_request<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(make) = &self.route().make_request else { return Ok(None) };
        let parts = (scope_of(py, &self.asked)?, &self.path_values, PyBytes::new(py, &self.body), self.has_gone.clone());
        make.bind(py).call1(parts).map(Some)
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
        if let Some(app) = &route.overridable
            && app.bind(py).getattr(pyo3::intern!(py, "dependency_overrides"))?.is_truthy()?
        {
            return Err(Trouble::HandOver);
        }
        let received = Received::new(&self.path_values, self.asked.uri.query(), &self.asked.headers, &self.body);
        let kwargs = received.arguments(py, route).map_err(|_| Trouble::HandOver)?;
        let mut request = None;
        if let Some(name) = &route.request
            && let Some(made) = self.make_request(py)?
        {
            kwargs.set_item(name, &made)?;
            request = Some(made.unbind());
        }
        let tasks = match &route.tasks {
            None => None,
            Some(name) => {
                let list = self.core.helpers.task_list.bind(py).call0()?;
                kwargs.set_item(name, &list)?;
                let list = list.cast_into::<TaskList>().map_err(PyErr::from)?;
                list.get().belongs_to(&self.core, &self.functions, &self.policy);
                Some(list.unbind())
            }
        };
        Ok(Call { endpoint: route.endpoint.bind(py).clone(), kwargs, given: Given { tasks, request } })
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
