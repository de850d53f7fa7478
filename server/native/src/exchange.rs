//! What an ASGI call on the event loop and its connection on an I/O thread tell each other. Holds nothing of Python, so that an I/O thread may
//! drop it.
//!
//! Both directions have a high-water mark: the pump stops reading a request body while `HIGH` bytes wait for the app, and the app is
//! asked to wait while `HIGH` bytes of its answer have not been taken by the kernel.
//!
//! A request is answered once: by the app that begins its answer, or by the I/O thread that refuses a body which is too large or broken.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, mpsc},
    task::spawn_local,
};

use crate::{
    body::Ticket,
    core::{Core, LoopWork, lock},
};

/// As in uvicorn.
const HIGH: usize = 64 * 1024;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The number of one more call, among exchanges and sockets alike.
pub fn next_id() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A part of a streamed answer.
pub enum Piece {
    Chunk(Bytes),
    /// The end, with the tasks that wait for everything before it to leave.
    End(Option<Ticket>),
}

/// The connection's end of a streamed answer. Wherever it is dropped before the end, the exchange is over: in the connection, or on the way to
/// it, when the client goes between the moment the app has begun and the moment the I/O thread hears of it.
pub struct Pieces {
    pieces: mpsc::UnboundedReceiver<Piece>,
    exchange: Arc<Exchange>,
    has_ended: bool,
}

/// What a streamed answer goes on with.
pub enum Next {
    Chunk(Bytes),
    End,
    /// The app has broken off.
    Broken,
}

impl Pieces {
    pub fn new(pieces: mpsc::UnboundedReceiver<Piece>, exchange: &Arc<Exchange>) -> Self {
        Self { pieces, exchange: Arc::clone(exchange), has_ended: false }
    }

    pub fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Whether the app has said all.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The next piece; after the end, the end again.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.has_ended {
            return Poll::Ready(Next::End);
        }
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(Piece::Chunk(bytes)) => Next::Chunk(bytes),
            Some(Piece::End(ticket)) => {
                self.has_ended = true;
                self.exchange.ended(ticket);
                Next::End
            }
            None => Next::Broken,
        })
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        // The client has gone. Tickets among the pieces say so when they are dropped; that the rest of them comes later is no matter.
        self.exchange.over();
        self.pieces.close();
    }
}

/// What the app gets from `receive()`.
pub enum Received {
    /// Some of the body, and whether more comes.
    Body(Bytes, bool),
    /// The client has gone, or has its whole answer.
    Disconnect,
    /// Nothing yet; there will be a wake-up.
    Nothing,
}

#[derive(Default)]
struct State {
    inbox: VecDeque<Bytes>,
    inbox_bytes: usize,
    arrived: bool,
    delivered: bool,
    /// The rest of the body will not come.
    broken: bool,
    /// The app has asked for the body.
    asked: bool,
    /// The app has begun its answer.
    begun: bool,
    /// The request has been answered without the app.
    refused: bool,
    over: bool,
    tasks_ended: bool,
    waits_to_read: bool,
    waits_to_write: bool,
    unsent: usize,
    ending: Option<Ticket>,
}

/// One request's exchange.
pub struct Exchange {
    /// By this number the event loop knows whom to wake.
    pub id: u64,
    /// The client sends its body only once it is told that somebody wants it (`Expect: 100-continue`).
    on_demand: bool,
    core: Arc<Core>,
    state: Mutex<State>,
    room: Notify,
}

/// Held by the tasks of a request. The last of them to end drops it.
pub struct EndBell(pub Arc<Exchange>);

impl Drop for EndBell {
    fn drop(&mut self) {
        lock(&self.0.state).tasks_ended = true;
        self.0.core.push_to_loop(LoopWork::Wake(self.0.id));
    }
}

impl Exchange {
    /// An exchange whose request body is still arriving.
    pub fn new(core: &Arc<Core>, on_demand: bool) -> Arc<Self> {
        Arc::new(Self { id: next_id(), on_demand, core: Arc::clone(core), state: Mutex::default(), room: Notify::new() })
    }

    /// An exchange whose request body is here.
    pub fn with_body(core: &Arc<Core>, body: Bytes) -> Arc<Self> {
        let exchange = Self::new(core, false);
        exchange.put(body);
        exchange.arrived();
        exchange
    }

    /// Adds a chunk of the request body.
    pub fn put(&self, chunk: Bytes) {
        let mut state = lock(&self.state);
        state.inbox_bytes += chunk.len();
        if !chunk.is_empty() {
            state.inbox.push_back(chunk);
        }
        self.wake_reader(state);
    }

    /// The request body has arrived whole.
    pub fn arrived(&self) {
        let mut state = lock(&self.state);
        state.arrived = true;
        self.wake_reader(state);
    }

    /// The rest of the request body will not come: to the app the client has gone. True: and the I/O thread is to answer, because the app
    /// has not begun to; it will not be heard any more.
    pub fn breaks_off(&self) -> bool {
        let mut state = lock(&self.state);
        state.broken = true;
        state.refused = !state.begun;
        let refused = state.refused;
        self.wake_reader(state);
        refused
    }

    /// The app begins its answer. False: the request has been answered without it.
    pub fn begin(&self) -> bool {
        let mut state = lock(&self.state);
        state.begun = !state.refused;
        state.begun
    }

    /// Nothing more is read or written: the client has gone or has its whole answer.
    pub fn over(&self) {
        let mut state = lock(&self.state);
        state.over = true;
        state.waits_to_read |= state.waits_to_write;
        self.room.notify_one();
        self.wake_reader(state);
    }

    /// Whether `over` was called.
    pub fn is_over(&self) -> bool {
        lock(&self.state).over
    }

    /// Whether nobody will ask for the body that the client keeps back.
    pub fn is_unwanted(&self) -> bool {
        self.on_demand && !lock(&self.state).asked
    }

    /// Whether the tasks of the answer have all ended.
    pub fn have_tasks_ended(&self) -> bool {
        lock(&self.state).tasks_ended
    }

    /// Waits until the app has taken what was put. False: nobody will take more.
    pub async fn has_room(&self) -> bool {
        loop {
            {
                let state = lock(&self.state);
                if state.over {
                    return false;
                }
                if state.inbox_bytes < HIGH && (state.asked || !self.on_demand) {
                    return true;
                }
            }
            self.room.notified().await;
        }
    }

    /// What the app gets next.
    pub fn receive(&self) -> Received {
        let mut state = lock(&self.state);
        if !std::mem::replace(&mut state.asked, true) && self.on_demand {
            self.room.notify_one();
        }
        if let Some(chunk) = state.inbox.pop_front() {
            state.inbox_bytes -= chunk.len();
            self.room.notify_one();
            let more = !(state.inbox.is_empty() && state.arrived);
            state.delivered |= !more;
            return Received::Body(chunk, more);
        }
        if state.arrived && !state.delivered {
            state.delivered = true;
            return Received::Body(Bytes::new(), false);
        }
        if state.over || state.broken {
            return Received::Disconnect;
        }
        state.waits_to_read = true;
        Received::Nothing
    }

    /// Sends a chunk of the answer. True: the client is behind, and the app should wait for a wake-up.
    pub fn send(&self, out: &mpsc::UnboundedSender<Piece>, chunk: Bytes) -> bool {
        if chunk.is_empty() {
            return false;
        }
        let mut state = lock(&self.state);
        if state.over {
            return false;
        }
        state.unsent += chunk.len();
        // Not taken back while another coroutine of the app waits to go on: it would not be told.
        state.waits_to_write |= state.unsent > HIGH;
        let wait = state.waits_to_write;
        drop(state);
        // The receiver is dropped only with `over`, after which nothing matters any more.
        let _gone = out.send(Piece::Chunk(chunk));
        wait
    }

    /// Whether the app may go on sending.
    pub fn is_writable(&self) -> bool {
        !lock(&self.state).waits_to_write
    }

    /// The kernel has taken a chunk of `length` bytes, or (`whole` false) never will.
    pub fn left(&self, length: usize, whole: bool) {
        let mut state = lock(&self.state);
        state.unsent -= length;
        let ticket = if state.unsent == 0 || !whole { state.ending.take() } else { None };
        if state.waits_to_write && (state.unsent <= HIGH / 2 || state.over) {
            state.waits_to_write = false;
            drop(state);
            self.core.push_to_loop(LoopWork::Wake(self.id));
        } else {
            drop(state);
        }
        match ticket {
            Some(ticket) if whole => ticket.redeem(),
            // Its drop says that the client has gone.
            other => drop(other),
        }
    }

    /// The last piece has been taken by hyper. Its tasks wait until all chunks before it have left.
    pub fn ended(&self, ticket: Option<Ticket>) {
        let mut state = lock(&self.state);
        let at_once = if state.unsent > 0 {
            state.ending = ticket;
            None
        } else {
            ticket
        };
        drop(state);
        if let Some(ticket) = at_once {
            // Runs after this connection's poll, which writes and flushes the end.
            spawn_local(async move { ticket.redeem() });
        }
        self.over();
    }

    fn wake_reader(&self, mut state: std::sync::MutexGuard<'_, State>) {
        let waits = std::mem::take(&mut state.waits_to_read);
        if state.over {
            state.waits_to_write = false;
        }
        drop(state);
        if waits {
            self.core.push_to_loop(LoopWork::Wake(self.id));
        }
    }
}
