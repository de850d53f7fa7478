//! How an ASGI app's answer is put together: its head, and the pieces of its body.

use bytes::Bytes;
use http::HeaderMap;
use pyo3::{
    exceptions::{PyRuntimeError, PyTypeError},
    intern,
    prelude::*,
    types::PyBytes,
};
use tokio::sync::{mpsc, oneshot};

use crate::{exchange::Piece, reply::Reply};

/// How far the answer of an ASGI app is.
pub enum Answer {
    /// Nothing has been said yet.
    Open(oneshot::Sender<Reply>),
    /// The head is known and waits for the first piece of the body.
    Started { reply: oneshot::Sender<Reply>, status: u16, headers: HeaderMap, frame: Frame },
    /// The head has gone; pieces follow.
    Streaming(mpsc::UnboundedSender<Piece>, Frame),
    /// The client has its whole answer, which has no body; what the app still sends is nobody's.
    Bodyless,
    /// Everything has been said.
    Complete,
}

/// What the head says about the body.
#[derive(Clone, Copy)]
pub enum Frame {
    /// No body is sent, whatever the app says.
    None,
    /// So many bytes are still to come.
    Left(u64),
    /// hyper finds a way.
    Any,
}

impl Frame {
    /// Takes a piece of the body. A client must never take a part of an answer for the whole of it.
    pub fn take(&mut self, length: usize, more: bool) -> PyResult<()> {
        if let Self::Left(left) = self {
            *left = left
                .checked_sub(length as u64)
                .ok_or_else(|| PyRuntimeError::new_err("Response content longer than Content-Length"))?;
            if *left > 0 && !more {
                return Err(PyRuntimeError::new_err("Response content shorter than Content-Length"));
            }
        }
        Ok(())
    }
}

/// A piece of a body. Raises TypeError for what is no bytes.
pub fn bytes_of(body: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(body) = body.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(body.as_bytes()));
    }
    let py = body.py();
    let whole = py.import(intern!(py, "builtins"))?.getattr(intern!(py, "bytes"))?.call1((body,));
    let whole = whole.map_err(|_| PyTypeError::new_err("the body of an answer is sent as bytes"))?;
    Ok(Bytes::copy_from_slice(whole.cast::<PyBytes>()?.as_bytes()))
}
