//! Response bodies that tell when their last byte was handed to the kernel.
//!
//! hyper keeps the chunks of a response in a queue until the kernel has accepted them and then drops them; with vectored writes it never
//! copies them. So the drop of a chunk with nothing remaining means "flushed", and the drop of one with something remaining
//! means that the client had gone. A test with a slow reader holds hyper to that (tests/server/test_flush.py).

use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::{
    chain::Chain,
    core::Core,
    exchange::{Exchange, Next, Pieces},
};

/// Lets the tasks of a request run when it is dropped.
pub struct Ticket {
    core: Arc<Core>,
    chain: Option<Arc<Chain>>,
    whole: bool,
}

impl Ticket {
    pub fn new(core: Arc<Core>, chain: Arc<Chain>) -> Self {
        Self { core, chain: Some(chain), whole: false }
    }

    /// Lets the tasks run: the response had no body, and its head has left.
    pub fn redeem(mut self) {
        self.whole = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(chain) = self.chain.take() {
            self.core.release(chain, self.whole);
        }
    }
}

/// Held while a connection has a request or its answer under way.
pub type Busy = Rc<()>;

/// One chunk of bytes, with the tasks that wait for it to leave.
pub struct TaskBuf {
    bytes: Bytes,
    ticket: Option<Ticket>,
    busy: Option<Busy>,
    /// Of a streamed answer: the exchange, which is told when the chunk has left, and the chunk's length.
    part_of: Option<(Arc<Exchange>, usize)>,
}

impl Buf for TaskBuf {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for TaskBuf {
    fn drop(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.whole = self.bytes.is_empty();
        }
        if let Some((exchange, length)) = self.part_of.take() {
            exchange.left(length, self.bytes.is_empty());
        }
        drop(self.busy.take());
    }
}

/// A response body: whole in one chunk, or piece by piece.
pub enum TaskBody {
    Whole(Option<TaskBuf>),
    Stream(Stream),
}

/// The body of an answer that the app sends piece by piece.
pub struct Stream {
    pieces: Pieces,
    /// Of a body of known length: the bytes that are still to come. After them hyper asks for nothing more.
    left: Option<u64>,
    /// The last byte of a body of known length, kept until the app has ended its answer. A client that has all bytes has the end too, so
    /// that nothing may come after them: neither tasks that the app adds while it streams, nor its failure.
    last: Option<Bytes>,
    is_breaking: bool,
    busy: Option<Busy>,
}

/// The app broke off in the middle of its answer, which the client must be able to see.
#[derive(Debug)]
pub struct BrokenOff;

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the app broke off in the middle of its answer")
    }
}

impl std::error::Error for BrokenOff {}

impl TaskBody {
    /// hyper drops an empty body before it has written the head, so tasks must not be tied to one: see [`Ticket::redeem`].
    pub fn new(bytes: Bytes, ticket: Option<Ticket>) -> Self {
        Self::Whole(Some(TaskBuf { bytes, ticket, busy: None, part_of: None }))
    }

    /// A body whose pieces come from the app. `length`: how many bytes its head announces.
    pub fn stream(pieces: Pieces, length: Option<u64>) -> Self {
        Self::Stream(Stream { pieces, left: length, last: None, is_breaking: false, busy: None })
    }

    /// Keeps its connection busy until its last byte has left.
    pub fn keep_busy(&mut self, busy: Busy) {
        match self {
            Self::Whole(Some(chunk)) => chunk.busy = Some(busy),
            Self::Whole(None) => {}
            Self::Stream(stream) => stream.busy = Some(busy),
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<TaskBuf>, BrokenOff>>> {
        match self.pieces.poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Next::Chunk(mut bytes)) => {
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(bytes.len() as u64);
                    if *left == 0 && !bytes.is_empty() {
                        self.last = Some(bytes.split_off(bytes.len() - 1));
                        if bytes.is_empty() {
                            return self.poll(cx);
                        }
                    }
                }
                Poll::Ready(Some(Ok(self.chunk(bytes))))
            }
            Poll::Ready(Next::End) => Poll::Ready(self.last.take().map(|bytes| Ok(self.chunk(bytes)))),
            Poll::Ready(Next::Broken) if !self.is_breaking => {
                // One more turn, in which hyper hands over what came before.
                self.is_breaking = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Next::Broken) => Poll::Ready(Some(Err(BrokenOff))),
        }
    }

    fn chunk(&self, bytes: Bytes) -> Frame<TaskBuf> {
        let part_of = Some((Arc::clone(self.pieces.exchange()), bytes.len()));
        // The connection is busy until its last chunk has left, which hyper may hold long after it has let go of this.
        Frame::data(TaskBuf { bytes, ticket: None, busy: self.busy.clone(), part_of })
    }
}

impl Body for TaskBody {
    type Data = TaskBuf;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<TaskBuf>, Self::Error>>> {
        match &mut *self {
            Self::Whole(chunk) => match chunk.take() {
                Some(chunk) if !chunk.bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(chunk)))),
                _ => Poll::Ready(None),
            },
            Self::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(chunk) => chunk.as_ref().is_none_or(|chunk| chunk.bytes.is_empty()),
            Self::Stream(stream) => stream.pieces.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(chunk) => SizeHint::with_exact(chunk.as_ref().map_or(0, |chunk| chunk.bytes.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
