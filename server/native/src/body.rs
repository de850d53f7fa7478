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

use crate::{chain::Chain, core::Core};

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
        drop(self.busy.take());
    }
}

/// A whole response body in one chunk.
pub struct TaskBody(Option<TaskBuf>);

impl TaskBody {
    /// hyper drops an empty body before it has written the head, so tasks must not be tied to one: see [`Ticket::redeem`].
    pub fn new(bytes: Bytes, ticket: Option<Ticket>) -> Self {
        Self(Some(TaskBuf { bytes, ticket, busy: None }))
    }

    /// Keeps its connection busy until its last byte has left.
    pub fn keep_busy(&mut self, busy: Busy) {
        if let Some(chunk) = &mut self.0 {
            chunk.busy = Some(busy);
        }
    }
}

impl Body for TaskBody {
    type Data = TaskBuf;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<TaskBuf>, Self::Error>>> {
        match self.0.take() {
            Some(chunk) if !chunk.bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            _ => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|chunk| chunk.bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |chunk| chunk.bytes.len() as u64))
    }
}
