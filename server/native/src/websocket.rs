//! Web sockets: hyper's upgraded connection spoken to with tungstenite on an I/O thread, the app's side driven by server/_bridge.py.

use std::{
    cell::Cell,
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use afterload_core::ledger::UNTAGGED;
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    pybacked::{PyBackedBytes, PyBackedStr},
    types::{PyBytes, PyDict},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::{mpsc, oneshot, watch},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        error::{CapacityError, ProtocolError},
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
const LINGER: Duration = Duration::from_secs(1);
/// Bytes that may wait for the client before the app has to, and for the app before the client has to.
const HIGH: usize = 64 * 1024;
const WAITING_MESSAGES: usize = 64;
/// Held by each socket, idle or not: tungstenite's own 128 KiB are too many for thousands of them.
const READ_BYTES: usize = 8 * 1024;
/// A control frame has room for 125 bytes, two of them for the code (RFC 6455, 5.5).
const REASON_BYTES: usize = 123;

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

    fn hear(&self, heard: Heard) {
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

    fn sent(&self, length: usize) {
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

    fn is_full(&self) -> bool {
        let state = lock(&self.state);
        state.closed.is_none() && (state.heard.len() >= WAITING_MESSAGES || state.heard_bytes >= HIGH)
    }

    /// Waits while the app has much to take, which holds the client back.
    async fn has_room(&self) {
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

type Stream = WebSocketStream<TokioIo<Upgraded>>;

/// How a socket ends.
enum End {
    /// There is nobody to say anything to.
    Gone,
    /// The client has said goodbye, which tungstenite answers.
    ByClient,
    /// By us, with this code and reason.
    ByUs(u16, String),
}

/// The life of an open socket on its I/O thread.
pub async fn drive(
    upgrade: OnUpgrade,
    lost: Lost,
    says: mpsc::UnboundedReceiver<Say>,
    mut phase: watch::Receiver<Phase>,
    max_message: usize,
) {
    let socket = &*lost.0;
    let Ok(upgraded) = upgrade.await else { return };
    let config = WebSocketConfig::default()
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
        .read_buffer_size(READ_BYTES);
    let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    // Read and written independently, or two sides that both have much to say would wait for each other forever.
    let (mut sink, mut source) = stream.split();
    let has_spoken = Cell::new(true);
    let end = tokio::select! {
        end = listen(&mut source, socket, &has_spoken) => end,
        end = speak(&mut sink, says, socket, &has_spoken) => end,
        // 1012: the service restarts (IANA's registry of close codes).
        () = stopping(&mut phase) => End::ByUs(1012, String::new()),
    };
    let Ok(mut stream) = sink.reunite(source) else { return };
    match end {
        End::Gone => {}
        End::ByClient => {
            let _sent = tokio::time::timeout(CLOSE_TIME, stream.flush()).await;
        }
        End::ByUs(code, reason) => close(&mut stream, socket, code, reason, &mut phase).await,
    }
}

async fn skip(connection: &mut TokioIo<Upgraded>) {
    let mut room = [0_u8; 4096];
    loop {
        let mut buffer = ReadBuf::new(&mut room);
        let read = poll_fn(|cx| Pin::new(&mut *connection).poll_read(cx, &mut buffer)).await;
        if read.is_err() || buffer.filled().is_empty() {
            return;
        }
    }
}

async fn stopping(phase: &mut watch::Receiver<Phase>) {
    while *phase.borrow_and_update() == Phase::Serving {
        if phase.changed().await.is_err() {
            return;
        }
    }
}

async fn listen(source: &mut SplitStream<Stream>, socket: &Socket, has_spoken: &Cell<bool>) -> End {
    loop {
        socket.has_room().await;
        let message = source.next().await;
        has_spoken.set(true);
        match message {
            Some(Ok(Message::Text(text))) => socket.hear(Heard::Text(text)),
            Some(Ok(Message::Binary(bytes))) => socket.hear(Heard::Binary(bytes)),
            Some(Ok(Message::Close(frame))) => {
                // 1005: it gave no code (RFC 6455, 7.1.5).
                let (code, reason) = frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                socket.close(code, &reason);
                return End::ByClient;
            }
            Some(Ok(_)) => {}
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => return End::ByUs(1009, "message too big".into()),
            Some(Err(Error::Utf8(_))) => return End::ByUs(1007, String::new()),
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) | Err(Error::Io(_))) | None => {
                return End::Gone;
            }
            Some(Err(Error::Protocol(_))) => return End::ByUs(1002, String::new()),
            Some(Err(_)) => return End::Gone,
        }
    }
}

async fn speak(
    sink: &mut SplitSink<Stream, Message>,
    mut says: mpsc::UnboundedReceiver<Say>,
    socket: &Socket,
    has_spoken: &Cell<bool>,
) -> End {
    let mut pings = tokio::time::interval(PING_EVERY);
    pings.reset();
    loop {
        let (message, length) = tokio::select! {
            say = says.recv() => match say {
                Some(Say::Text(text)) => {
                    let length = text.len();
                    (Message::text(text), length)
                }
                Some(Say::Binary(bytes)) => {
                    let length = bytes.len();
                    (Message::binary(bytes), length)
                }
                Some(Say::Close(code, reason)) => return End::ByUs(code, reason),
                None => return End::ByUs(1011, String::new()),
            },
            _ = pings.tick() => {
                // Of a client that is held back nothing has been read, what it may have said included.
                if !has_spoken.replace(socket.is_full()) {
                    return End::Gone;
                }
                (Message::Ping(Bytes::new()), 0)
            }
        };
        if sink.send(message).await.is_err() {
            return End::Gone;
        }
        socket.sent(length);
    }
}

async fn close(stream: &mut Stream, socket: &Socket, code: u16, mut reason: String, phase: &mut watch::Receiver<Phase>) {
    socket.close(code, &reason);
    let end = (0..=REASON_BYTES.min(reason.len())).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
    reason.truncate(end);
    let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
    let goodbye = async {
        if stream.close(Some(frame)).await.is_err() {
            return;
        }
        if matches!(code, 1002 | 1007 | 1009) {
            // It said what cannot be taken, and may still be saying it. A connection that is closed on unread bytes is reset, and the
            // goodbye lost with it.
            let _ended = tokio::time::timeout(LINGER, skip(stream.get_mut())).await;
            return;
        }
        // Until the client has answered; what it still sends is nobody's.
        while let Some(Ok(_)) = stream.next().await {}
    };
    let forced = async { while *phase.borrow_and_update() != Phase::Forced && phase.changed().await.is_ok() {} };
    tokio::select! {
        _answered = tokio::time::timeout(CLOSE_TIME, goodbye) => {}
        () = forced => {}
    }
}
