//! Answers on their way from Python to a connection.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyTuple},
};

use crate::{body::Ticket, exchange::Pieces};

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

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
    Stream(Pieces),
}

impl Reply {
    /// A whole answer of one content type.
    pub fn of(status: u16, content_type: HeaderValue, body: Bytes) -> Self {
        let mut headers = HeaderMap::with_capacity(1);
        headers.insert(http::header::CONTENT_TYPE, content_type);
        Self { status, headers, content: Content::Whole(body), ticket: None }
    }
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

pub fn reply_from(parts: &Bound<'_, PyAny>) -> PyResult<Reply> {
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
