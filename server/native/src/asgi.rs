//! The general way: one HTTP request through the ASGI app. Driven by server/_bridge.py on the event loop.
//!
//! The tasks of an answer are accepted when the app starts it, before its first byte can leave; those added while it streams, before its end
//! can. They run once its last byte has left *and* the app has called for them (Starlette calls `response.background()` after the last
//! `send`); an app that never calls has given them up.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyBytes, PyDict},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    body::Ticket,
    busy::BusyGuard,
    chain::Chain,
    core::{Core, lock},
    exchange::{EndBell, Exchange, Piece, Pieces, Received},
    framing::{Answer, Frame, bytes_of},
    looping::Running,
    policy::{Policy, RoutePolicy},
    reply::{Content, Reply, bad_header, internal_error, stopping},
    scope::{Asked, scope_of},
    tasks::{Functions, Sealed, TaskList},
};

/// What the app is to do with the request.
pub enum Wanted {
    /// Answer it.
    Answer,
    /// Answer this exception of its endpoint, with its own handlers. They get the `Request`.
    Explain(Py<PyAny>, Option<Py<PyAny>>),
    /// Send this `Response`, which the endpoint returned, as the answer to the `Request`.
    Send(Py<PyAny>, Option<Py<PyAny>>),
}

#[derive(Default)]
struct Tasks {
    /// The list that is injected where the app asks for one.
    list: Option<Py<TaskList>>,
    /// Tasks of the request that were numbered before those of the chain.
    used: u16,
    chain: Option<Arc<Chain>>,
    /// Leaves with the end of the answer.
    ticket: Option<Ticket>,
    is_called: bool,
}

/// One HTTP request for the ASGI app.
#[pyclass(frozen, module = "server._native")]
pub struct AsgiCall {
    core: Arc<Core>,
    functions: Arc<Functions>,
    /// How its tasks are run.
    policy: Mutex<Arc<Policy>>,
    exchange: Arc<Exchange>,
    asked: Asked,
    op: u64,
    route: Option<usize>,
    wanted: Mutex<Wanted>,
    running: Mutex<Option<Running>>,
    answer: Mutex<Answer>,
    tasks: Mutex<Tasks>,
    /// The server is not quiet before it is dropped.
    busy: Mutex<Option<BusyGuard>>,
}

/// Everything that an `AsgiCall` is made of.
pub struct Seed {
    pub core: Arc<Core>,
    pub functions: Arc<Functions>,
    pub policy: Arc<Policy>,
    pub exchange: Arc<Exchange>,
    pub asked: Asked,
    pub op: u64,
    /// The number of its route, if it was found.
    pub route: Option<usize>,
    pub wanted: Wanted,
    /// The list that was injected already.
    pub tasks: Option<Py<TaskList>>,
    /// Tasks of the request that were numbered already.
    pub used: u16,
    pub reply: oneshot::Sender<Reply>,
    pub busy: BusyGuard,
}

impl AsgiCall {
    pub fn new(seed: Seed) -> Self {
        let Seed { core, functions, policy, exchange, asked, op, route, wanted, tasks, used, reply, busy } = seed;
        Self {
            core,
            functions,
            policy: Mutex::new(policy),
            exchange,
            asked,
            op,
            route,
            wanted: Mutex::new(wanted),
            running: Mutex::default(),
            answer: Mutex::new(Answer::Open(reply)),
            tasks: Mutex::new(Tasks { list: tasks, used, ..Tasks::default() }),
            busy: Mutex::new(Some(busy)),
        }
    }

    fn reply(&self, reply: oneshot::Sender<Reply>, head: Reply) {
        // A client that has gone does not stop the tasks: the ticket in the refused reply lets them run.
        if reply.send(head).is_err() {
            self.exchange.over();
        }
    }

    fn ticket(&self) -> Option<Ticket> {
        lock(&self.tasks).ticket.take()
    }

    /// Sends the head on its way, and says what comes after it.
    fn send_head(&self, reply: oneshot::Sender<Reply>, status: u16, headers: HeaderMap, frame: Frame) -> Answer {
        if matches!(frame, Frame::None) {
            self.whole(reply, status, headers, Bytes::new());
            return Answer::Bodyless;
        }
        let (out, pieces) = mpsc::unbounded_channel();
        let content = Content::Stream(Pieces::new(pieces, &self.exchange));
        self.reply(reply, Reply { status, headers, content, ticket: None });
        Answer::Streaming(out, frame)
    }

    fn whole(&self, reply: oneshot::Sender<Reply>, status: u16, headers: HeaderMap, body: Bytes) {
        self.exchange.over();
        let ticket = self.ticket();
        self.reply(reply, Reply { status, headers, content: Content::Whole(body), ticket });
    }

    fn accept(&self, list: &TaskList) -> Result<(), Sealed> {
        let used = lock(&self.tasks).used;
        let Some(chain) = list.accept(&self.core, self.op, used)? else { return Ok(()) };
        chain.hang_bell(EndBell(Arc::clone(&self.exchange)));
        let mut tasks = lock(&self.tasks);
        if !tasks.is_called {
            chain.add_gate();
        }
        tasks.ticket = Some(Ticket::new(Arc::clone(&self.core), Arc::clone(&chain)));
        tasks.chain = Some(chain);
        Ok(())
    }
}

#[pymethods]
impl AsgiCall {
    /// By this number the event loop is told whom to wake.
    #[getter]
    fn id(&self) -> u64 {
        self.exchange.id
    }

    /// Begins. What is wanted: ("answer", None, None), ("explain", exception, request) or ("send", response, request).
    fn wanted(&self) -> (&'static str, Option<Py<PyAny>>, Option<Py<PyAny>>) {
        *lock(&self.running) = Some(Running::endpoint(&self.core, self.route, self.op));
        match std::mem::replace(&mut *lock(&self.wanted), Wanted::Answer) {
            Wanted::Answer => ("answer", None, None),
            Wanted::Explain(error, request) => ("explain", Some(error), request),
            Wanted::Send(response, request) => ("send", Some(response), request),
        }
    }

    /// The ASGI scope, without `app` and `state`.
    fn scope<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        scope_of(py, &self.asked)
    }

    /// The next ASGI event; None: there is none yet, and the event loop will be told when there is.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let event = PyDict::new(py);
        match self.exchange.receive() {
            Received::Nothing => return Ok(None),
            Received::Disconnect => event.set_item(intern!(py, "type"), intern!(py, "http.disconnect"))?,
            Received::Body(chunk, more) => {
                event.set_item(intern!(py, "type"), intern!(py, "http.request"))?;
                event.set_item(intern!(py, "body"), PyBytes::new(py, &chunk))?;
                event.set_item(intern!(py, "more_body"), more)?;
            }
        }
        Ok(Some(event))
    }

    /// Whether the server has found no route for the request, so that the app has to say which policy counts.
    #[getter]
    fn needs_policy(&self) -> bool {
        Arc::ptr_eq(&lock(&self.policy), &self.core.policy)
    }

    /// Says how its tasks are run. False: it may `admit` none, because as many as may be are pending, and is written down as refused.
    fn use_policy(&self, policy: &RoutePolicy, admit: bool) -> bool {
        *lock(&self.policy) = Arc::clone(&policy.0);
        if let Some(busy) = lock(&self.busy).as_mut() {
            busy.join(&policy.0);
        }
        if admit && self.core.is_full(&policy.0) {
            self.core.refuse(self.op);
            return false;
        }
        true
    }

    /// Lets tasks be added to a list that this request's answer carries.
    fn bind(&self, list: &Bound<'_, TaskList>) {
        list.get().belongs_to(&self.core, &self.functions, &lock(&self.policy));
    }

    /// Makes a list the one that is injected in this request.
    fn adopt(&self, list: Bound<'_, TaskList>) {
        list.get().belongs_to(&self.core, &self.functions, &lock(&self.policy));
        lock(&self.tasks).list = Some(list.unbind());
    }

    /// The list that was adopted.
    fn list(&self, py: Python<'_>) -> Option<Py<TaskList>> {
        lock(&self.tasks).list.as_ref().map(|list| list.clone_ref(py))
    }

    /// Starts the answer and accepts `tasks`. False: the server has answered by itself, because it is stopping or the request is broken.
    fn start(
        &self,
        status: u16,
        headers: Vec<(PyBackedBytes, PyBackedBytes)>,
        tasks: Option<&Bound<'_, TaskList>>,
    ) -> PyResult<bool> {
        let mut fields = HeaderMap::with_capacity(headers.len());
        let mut frame = Frame::Any;
        for (name, value) in headers {
            let name = HeaderName::from_bytes(&name).map_err(bad_header)?;
            let value = HeaderValue::from_bytes(&value).map_err(bad_header)?;
            if name == header::CONTENT_LENGTH {
                frame = Frame::Left(value.to_str().map_err(bad_header)?.trim().parse().map_err(bad_header)?);
                fields.insert(name, value);
            } else {
                fields.append(name, value);
            }
        }
        // hyper frames the body, and cannot take the app's word for how.
        fields.remove(header::TRANSFER_ENCODING);
        if status == 205 {
            // FastAPI empties the body and leaves its length, which would be a promise of bytes that never come.
            fields.remove(header::CONTENT_LENGTH);
        }
        if self.asked.method == Method::HEAD || matches!(status, 100..200 | 204 | 205 | 304) {
            frame = Frame::None;
        }
        let mut answer = lock(&self.answer);
        let reply = match std::mem::replace(&mut *answer, Answer::Complete) {
            Answer::Open(reply) => reply,
            other => {
                *answer = other;
                return Err(PyRuntimeError::new_err("http.response.start was sent twice"));
            }
        };
        if !self.exchange.begin() {
            // The I/O thread listens to this one no more.
            return Ok(false);
        }
        if let Some(list) = tasks
            && self.accept(list.get()).is_err()
        {
            drop(answer);
            self.exchange.over();
            self.reply(reply, stopping());
            return Ok(false);
        }
        *answer = Answer::Started { reply, status, headers: fields, frame };
        drop(answer);
        if let Some(busy) = &mut *lock(&self.busy) {
            busy.decided();
        }
        Ok(true)
    }

    /// Accepts what was added after the answer had been started, before its end leaves. False: the server is giving up, and the answer must
    /// not reach its end.
    fn accept_late(&self, list: &Bound<'_, TaskList>) -> bool {
        if lock(&self.tasks).chain.is_some() || list.get().is_empty() {
            return true;
        }
        self.accept(list.get()).is_ok()
    }

    /// Accepts tasks that no answer of this request carried, but which the app has called for. They run at once.
    fn accept_apart(&self, list: &Bound<'_, TaskList>) {
        let used = {
            let tasks = lock(&self.tasks);
            tasks.chain.as_ref().map_or(tasks.used, |chain| chain.count())
        };
        if let Ok(Some(chain)) = list.get().accept(&self.core, self.op, used) {
            lock(&self.tasks).used = chain.count();
            self.core.release(chain, true);
        }
    }

    /// Sends a piece of the answer. True: the client is behind, and the app should wait until `is_writable`.
    fn send(&self, body: &Bound<'_, PyAny>, more: bool) -> PyResult<bool> {
        let body = bytes_of(body)?;
        let mut answer = lock(&self.answer);
        match &mut *answer {
            Answer::Open(_) => {
                return Err(PyRuntimeError::new_err("http.response.body was sent before http.response.start"));
            }
            Answer::Complete => {
                return Err(PyRuntimeError::new_err("http.response.body was sent after the end of the answer"));
            }
            Answer::Started { frame, .. } | Answer::Streaming(_, frame) => frame.take(body.len(), more)?,
            Answer::Bodyless => {}
        }
        let mut now = std::mem::replace(&mut *answer, Answer::Complete);
        if let Answer::Started { reply, status, headers, frame } = now {
            if more && body.is_empty() && matches!(frame, Frame::Left(0)) {
                // The head is the whole answer: it leaves when the app ends it.
                *answer = Answer::Started { reply, status, headers, frame };
                return Ok(false);
            }
            if !more {
                drop(answer);
                self.whole(reply, status, headers, if matches!(frame, Frame::None) { Bytes::new() } else { body });
                return Ok(false);
            }
            now = self.send_head(reply, status, headers, frame);
        }
        let wait = match &now {
            Answer::Streaming(out, _) => self.exchange.send(out, body),
            _ => false,
        };
        if more {
            *answer = now;
            return Ok(wait);
        }
        drop(answer);
        if let Answer::Streaming(out, _) = now {
            // To a client that has gone nothing can be sent: the ticket in the refused piece lets the tasks run.
            drop(out.send(Piece::End(self.ticket())));
        }
        Ok(false)
    }

    /// Sends the head without waiting for the first piece of the body; unless there will be none, so that the head is the whole answer.
    fn flush_head(&self) {
        let mut answer = lock(&self.answer);
        match std::mem::replace(&mut *answer, Answer::Complete) {
            Answer::Started { reply, status, headers, frame } if !matches!(frame, Frame::Left(0)) => {
                *answer = self.send_head(reply, status, headers, frame);
            }
            other => *answer = other,
        }
    }

    /// Whether the app may go on sending.
    #[getter]
    fn is_writable(&self) -> bool {
        self.exchange.is_writable()
    }

    /// The app has called for the tasks of its answer. True: they run or will, and `have_tasks_ended` will tell.
    fn run_tasks(&self) -> bool {
        let (chain, first) = {
            let mut tasks = lock(&self.tasks);
            (tasks.chain.clone(), !std::mem::replace(&mut tasks.is_called, true))
        };
        let Some(chain) = chain else { return false };
        if first {
            self.core.open_gate(chain);
        }
        if self.exchange.is_over() {
            // The client has gone before the end of its answer.
            drop(self.ticket());
        }
        lock(&self.tasks).ticket.is_none()
    }

    /// Whether all tasks of the answer have ended.
    #[getter]
    fn have_tasks_ended(&self) -> bool {
        self.exchange.have_tasks_ended()
    }

    /// The app has returned or raised. What it left unsaid is said: 500 if nothing was, a broken connection if something was.
    fn finish(&self) {
        let (list, used, chain) = {
            let mut tasks = lock(&self.tasks);
            let used = tasks.chain.as_ref().map_or(tasks.used, |chain| chain.count());
            let given_up = if tasks.is_called { None } else { tasks.chain.take() };
            tasks.is_called = true;
            (tasks.list.take(), used, given_up)
        };
        if let Some(list) = list {
            // What was added to a list that the answer did not carry, because its endpoint raised or put another one in its place.
            list.get().discard(&self.core, self.op, used);
        }
        if let Some(chain) = chain {
            self.core.discard(&chain);
        }
        let answer = std::mem::replace(&mut *lock(&self.answer), Answer::Complete);
        self.exchange.over();
        if let Answer::Open(reply) | Answer::Started { reply, .. } = answer {
            self.reply(reply, internal_error());
        }
        // Of an answer that did not reach its end: the client has gone, or sees that it was broken off.
        drop(self.ticket());
        drop(lock(&self.running).take());
        drop(lock(&self.busy).take());
    }
}
