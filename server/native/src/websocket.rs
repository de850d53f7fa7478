//! Web sockets: hyper's upgraded connection spoken to with tungstenite on an I/O thread, the app's side driven by server/_bridge.py.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use afterload_core::ledger::UNTAGGED;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    pybacked::{PyBackedBytes, PyBackedStr},
    types::{PyBytes, PyDict},
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::CapacityError,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    core::{Core, LoopWork, lock},
    exchange::next_id,
    io::Phase,
    job::{BusyGuard, Content, Reply, bad_header, internal_error},
    looping::Running,
    scope::{Asked, websocket_scope_of},
};

/// A client that says nothing for so long is asked whether it is there, and dropped after the same time again. As in uvicorn.
const PING_EVERY: Duration = Duration::from_secs(20);
const CLOSE_TIME: Duration = Duration::from_secs(5);
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

enum Heard {
    Connect,
    Text(String),
    Binary(Bytes),
}

struct State {
    heard: VecDeque<Heard>,
    /// Code and reason of the end.
    closed: Option<(u16, String)>,
    waits: bool,
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
        let state = State { heard: VecDeque::from([Heard::Connect]), closed: None, waits: false, unsent: 0 };
        Arc::new(Self { id: next_id(), core: Arc::clone(core), state: Mutex::new(state), room: tokio::sync::Notify::new() })
    }

    fn hear(&self, heard: Heard) {
        let mut state = lock(&self.state);
        state.heard.push_back(heard);
        self.wake(state);
    }

    /// The socket is closed; the first reason counts.
    pub fn close(&self, code: u16, reason: &str) {
        let mut state = lock(&self.state);
        state.closed.get_or_insert_with(|| (code, reason.to_owned()));
        self.wake(state);
    }

    fn sent(&self, length: usize) {
        let mut state = lock(&self.state);
        state.unsent = state.unsent.saturating_sub(length);
        if state.unsent <= HIGH / 2 {
            self.wake(state);
        }
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waits = std::mem::take(&mut state.waits);
        drop(state);
        if waits {
            self.core.push_to_loop(LoopWork::Wake(self.id));
        }
    }

    /// Waits while the app has many messages to take, which holds the client back.
    async fn has_room(&self) {
        loop {
            {
                let state = lock(&self.state);
                if state.closed.is_some() || state.heard.len() < WAITING_MESSAGES {
                    return;
                }
            }
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
                drop(state);
                self.socket.room.notify_one();
                match heard {
                    Heard::Connect => event.set_item(kind, intern!(py, "websocket.connect"))?,
                    Heard::Text(text) => {
                        event.set_item(kind, intern!(py, "websocket.receive"))?;
                        event.set_item(intern!(py, "text"), text)?;
                    }
                    Heard::Binary(bytes) => {
                        event.set_item(kind, intern!(py, "websocket.receive"))?;
                        event.set_item(intern!(py, "bytes"), PyBytes::new(py, &bytes))?;
                    }
                }
            }
            None => {
                let Some((code, reason)) = state.closed.clone() else {
                    state.waits = true;
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
        state.waits |= state.unsent > HIGH;
        Ok(Some(state.unsent > HIGH))
    }

    /// Whether the app may go on sending.
    #[getter]
    fn is_writable(&self) -> bool {
        let mut state = lock(&self.socket.state);
        let writable = state.unsent <= HIGH || state.closed.is_some();
        state.waits |= !writable;
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

/// The life of an open socket on its I/O thread.
pub async fn drive(
    upgrade: OnUpgrade,
    lost: Lost,
    mut says: mpsc::UnboundedReceiver<Say>,
    mut phase: watch::Receiver<Phase>,
    max_message: usize,
) {
    let socket = &lost.0;
    let Ok(upgraded) = upgrade.await else { return };
    let config = WebSocketConfig::default().max_message_size(Some(max_message)).max_frame_size(Some(max_message));
    let mut stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let mut pings = tokio::time::interval(PING_EVERY);
    pings.reset();
    let mut has_spoken = true;
    let (code, reason) = loop {
        tokio::select! {
            message = async { socket.has_room().await; stream.next().await } => {
                has_spoken = true;
                match message {
                    Some(Ok(Message::Text(text))) => socket.hear(Heard::Text(text.as_str().to_owned())),
                    Some(Ok(Message::Binary(bytes))) => socket.hear(Heard::Binary(bytes)),
                    Some(Ok(Message::Close(frame))) => {
                        // 1005: it gave no code (RFC 6455, 7.1.5).
                        let (code, reason) = frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                        socket.close(code, &reason);
                        // tungstenite has queued the answer to it.
                        let _sent = tokio::time::timeout(CLOSE_TIME, stream.flush()).await;
                        return;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => break (1009, "message too big"),
                    Some(Err(Error::Utf8(_))) => break (1007, ""),
                    Some(Err(Error::Protocol(_))) => break (1002, ""),
                    Some(Err(_)) | None => return,
                }
            }
            say = says.recv() => match say {
                Some(Say::Text(text)) => {
                    let length = text.len();
                    if stream.send(Message::text(text)).await.is_err() {
                        return;
                    }
                    socket.sent(length);
                }
                Some(Say::Binary(bytes)) => {
                    let length = bytes.len();
                    if stream.send(Message::binary(bytes)).await.is_err() {
                        return;
                    }
                    socket.sent(length);
                }
                Some(Say::Close(code, reason)) => {
                    finish(&mut stream, socket, code, &reason).await;
                    return;
                }
                None => break (1011, ""),
            },
            _ = pings.tick() => {
                if !std::mem::take(&mut has_spoken) {
                    return;
                }
                if stream.send(Message::Ping(Bytes::new())).await.is_err() {
                    return;
                }
            }
            // 1012: the service restarts (IANA's registry of close codes).
            changed = phase.changed() => if changed.is_err() || *phase.borrow_and_update() != Phase::Serving { break (1012, "") },
        }
    };
    finish(&mut stream, socket, code, reason).await;
}

async fn finish<S>(stream: &mut WebSocketStream<S>, socket: &Socket, code: u16, reason: &str)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let frame = CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() };
    socket.close(code, reason);
    let goodbye = async {
        if stream.close(Some(frame)).await.is_ok() {
            // Until the client has answered; what it still sends is nobody's.
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    let _answered = tokio::time::timeout(CLOSE_TIME, goodbye).await;
}
