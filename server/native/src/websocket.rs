//! Web sockets as the app has them, driven by server/_bridge.py, and what it shares with the I/O thread (talk.rs).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use afterload_core::ledger::UNTAGGED;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    pybacked::{PyBackedBytes, PyBackedStr},
    types::{PyBytes, PyDict},
};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{
    busy::BusyGuard,
    core::{Core, LoopWork, lock},
    exchange::next_id,
    looping::Running,
    reply::{Content, Reply, bad_header, internal_error},
    scope::{Asked, websocket_scope_of},
};

/// Bytes that may wait for the client before the app has to, and for the app before the client has to.
const HIGH: usize = 64 * 1024;
const WAITING_MESSAGES: usize = 64;

/// What the app decides about a handshake.
pub enum Decision {
    Accept { headers: HeaderMap, says: mpsc::UnboundedReceiver<Say> },
    Deny(Reply),
}

/// What the app says on an open socket.
pub enum Say {
    Text(String),
    Binary(Bytes),
    Close(u16, String),
}

/// What the client says.
pub enum Heard {
    Connect,
    Text(Utf8Bytes),
    Binary(Bytes),
}

impl Heard {
    fn len(&self) -> usize {
        match self {
            Self::Connect => 0,
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

#[derive(Default)]
struct State {
    heard: VecDeque<Heard>,
    heard_bytes: usize,
    /// Code and reason of the end.
    closed: Option<(u16, String)>,
    waits_to_read: bool,
    waits_to_write: bool,
    unsent: usize,
}

/// What both sides of a socket share. Holds nothing of Python.
pub struct Socket {
    id: u64,
    core: Arc<Core>,
    state: Mutex<State>,
    room: tokio::sync::Notify,
}

impl Socket {
    pub fn new(core: &Arc<Core>) -> Arc<Self> {
        let state = State { heard: VecDeque::from([Heard::Connect]), ..State::default() };
        Arc::new(Self { id: next_id(), core: Arc::clone(core), state: Mutex::new(state), room: tokio::sync::Notify::new() })
    }

    pub fn hear(&self, heard: Heard) {
        let mut state = lock(&self.state);
        state.heard_bytes += heard.len();
        state.heard.push_back(heard);
        let waits = std::mem::take(&mut state.waits_to_read);
        self.wake(state, waits);
    }

    /// The socket is closed; the first reason counts.
    pub fn close(&self, code: u16, reason: &str) {
        let mut state = lock(&self.state);
        state.closed.get_or_insert_with(|| (code, reason.to_owned()));
        let waits = std::mem::take(&mut state.waits_to_read) | std::mem::take(&mut state.waits_to_write);
        self.room.notify_one();
        self.wake(state, waits);
    }

    pub fn sent(&self, length: usize) {
        let mut state = lock(&self.state);
        state.unsent = state.unsent.saturating_sub(length);
        if state.unsent <= HIGH / 2 {
            let waits = std::mem::take(&mut state.waits_to_write);
            self.wake(state, waits);
        }
    }

    fn wake(&self, state: MutexGuard<'_, State>, waits: bool) {
        drop(state);
        if waits {
            self.core.push_to_loop(LoopWork::Wake(self.id));
        }
    }

    pub fn is_full(&self) -> bool {
        let state = lock(&self.state);
        state.closed.is_none() && (state.heard.len() >= WAITING_MESSAGES || state.heard_bytes >= HIGH)
    }

    /// Waits while the app has much to take, which holds the client back.
    pub async fn has_room(&self) {
        while self.is_full() {
            self.room.notified().await;
        }
    }
}

/// One web socket for the ASGI app.
#[pyclass(frozen, module = "server._native")]
pub struct WebSocketCall {
    socket: Arc<Socket>,
    asked: Asked,
    decide: Mutex<Option<oneshot::Sender<Decision>>>,
    says: Mutex<Option<mpsc::UnboundedSender<Say>>>,
    running: Mutex<Option<Running>>,
    /// The server is not quiet before it is dropped.
    busy: Mutex<Option<BusyGuard>>,
}

impl WebSocketCall {
    pub fn new(socket: Arc<Socket>, asked: Asked, decide: oneshot::Sender<Decision>, busy: BusyGuard) -> Self {
        Self {
            socket,
            asked,
            decide: Mutex::new(Some(decide)),
            says: Mutex::default(),
            running: Mutex::default(),
            busy: Mutex::new(Some(busy)),
        }
    }

    fn decide(&self, decision: Decision) -> PyResult<()> {
        let sender =
            lock(&self.decide).take().ok_or_else(|| PyRuntimeError::new_err("the handshake has been answered already"))?;
        if sender.send(decision).is_err() {
            self.socket.close(1006, "");
        }
        Ok(())
    }
}

#[pymethods]
impl WebSocketCall {
    /// By this number the event loop is told whom to wake.
    #[getter]
    fn id(&self) -> u64 {
        self.socket.id
    }

    /// The ASGI scope, without `app` and `state`.
    fn scope<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        *lock(&self.running) = Some(Running::endpoint(&self.socket.core, None, UNTAGGED));
        let offered = self.asked.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        let names = offered.flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        websocket_scope_of(py, &self.asked, names.collect())
    }

    /// The next ASGI event; None: there is none yet, and the event loop will be told when there is.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let event = PyDict::new(py);
        let kind = intern!(py, "type");
        let mut state = lock(&self.socket.state);
        match state.heard.pop_front() {
            Some(heard) => {
                state.heard_bytes -= heard.len();
                drop(state);
                self.socket.room.notify_one();
                match heard {
                    Heard::Connect => event.set_item(kind, intern!(py, "websocket.connect"))?,
                    Heard::Text(text) => {
                        event.set_item(kind, intern!(py, "websocket.receive"))?;
                        event.set_item(intern!(py, "text"), text.as_str())?;
                    }
                    Heard::Binary(bytes) => {
                        event.set_item(kind, intern!(py, "websocket.receive"))?;
                        event.set_item(intern!(py, "bytes"), PyBytes::new(py, &bytes))?;
                    }
                }
            }
            None => {
                let Some((code, reason)) = state.closed.clone() else {
                    state.waits_to_read = true;
                    return Ok(None);
                };
                drop(state);
                event.set_item(kind, intern!(py, "websocket.disconnect"))?;
                event.set_item(intern!(py, "code"), code)?;
                event.set_item(intern!(py, "reason"), reason)?;
            }
        }
        Ok(Some(event))
    }

    /// Completes the handshake.
    fn accept(&self, subprotocol: Option<&str>, headers: Vec<(PyBackedBytes, PyBackedBytes)>) -> PyResult<()> {
        let mut fields = fields_of(headers)?;
        if let Some(subprotocol) = subprotocol {
            fields.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(subprotocol).map_err(bad_header)?);
        }
        let (sender, says) = mpsc::unbounded_channel();
        *lock(&self.says) = Some(sender);
        self.decide(Decision::Accept { headers: fields, says })
    }

    /// Answers the handshake with a plain response.
    fn deny(&self, status: u16, headers: Vec<(PyBackedBytes, PyBackedBytes)>, body: &[u8]) -> PyResult<()> {
        let mut fields = fields_of(headers)?;
        fields.remove(header::CONTENT_LENGTH);
        let content = Content::Whole(Bytes::copy_from_slice(body));
        self.socket.close(1006, "");
        self.decide(Decision::Deny(Reply { status, headers: fields, content, ticket: None }))
    }

    /// Sends a text or binary message. None: the socket is closed; True: the client is behind, and the app should wait until `is_writable`.
    #[pyo3(signature = (text, binary))]
    fn send(&self, text: Option<PyBackedStr>, binary: Option<PyBackedBytes>) -> PyResult<Option<bool>> {
        let says = lock(&self.says);
        let Some(sender) = says.as_ref() else {
            return Err(PyRuntimeError::new_err("websocket.send was sent before websocket.accept or after websocket.close"));
        };
        let (say, length) = match (text, binary) {
            (Some(text), _) => (Say::Text(text.to_string()), text.len()),
            (None, Some(bytes)) => (Say::Binary(Bytes::copy_from_slice(&bytes)), bytes.len()),
            (None, None) => return Err(PyRuntimeError::new_err("websocket.send needs text or bytes")),
        };
        let mut state = lock(&self.socket.state);
        if state.closed.is_some() || sender.send(say).is_err() {
            return Ok(None);
        }
        state.unsent += length;
        state.waits_to_write |= state.unsent > HIGH;
        Ok(Some(state.unsent > HIGH))
    }

    /// Whether the app may go on sending.
    #[getter]
    fn is_writable(&self) -> bool {
        let mut state = lock(&self.socket.state);
        let writable = state.unsent <= HIGH || state.closed.is_some();
        state.waits_to_write |= !writable;
        writable
    }

    /// Closes the socket; before the handshake: denies it with 403.
    fn close(&self, code: u16, reason: &str) -> PyResult<()> {
        if lock(&self.decide).is_some() {
            return self.deny(403, Vec::new(), b"");
        }
        if let Some(sender) = lock(&self.says).take() {
            drop(sender.send(Say::Close(code, reason.to_owned())));
        }
        Ok(())
    }

    /// The app has returned, or (`failed`) raised.
    fn finish(&self, failed: bool) {
        drop(lock(&self.running).take());
        if let Some(decide) = lock(&self.decide).take() {
            drop(decide.send(Decision::Deny(internal_error())));
        }
        if let Some(sender) = lock(&self.says).take() {
            drop(sender.send(Say::Close(if failed { 1011 } else { 1000 }, String::new())));
        }
        drop(lock(&self.busy).take());
    }
}

fn fields_of(headers: Vec<(PyBackedBytes, PyBackedBytes)>) -> PyResult<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let name = HeaderName::from_bytes(&name).map_err(bad_header)?;
        fields.append(name, HeaderValue::from_bytes(&value).map_err(bad_header)?);
    }
    Ok(fields)
}

/// Closes the app's side when the connection ends in whatever way.
pub struct Lost(pub Arc<Socket>);

impl Drop for Lost {
    fn drop(&mut self) {
        self.0.close(1006, "");
    }
}
