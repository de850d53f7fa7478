//! What an I/O thread answers by itself, and how an answer of Python's becomes hyper's.

use afterload_core::router::Match;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::task::spawn_local;

use crate::{
    body::TaskBody,
    io::Near,
    reply::{Content, Reply},
};

/// What Starlette's `RedirectResponse` leaves as it is, beside letters, digits and `_.-~`.
const LOCATION: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b'%')
    .remove(b'#')
    .remove(b'?')
    .remove(b'=')
    .remove(b'@')
    .remove(b'[')
    .remove(b']')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';');

/// Where the path with or without its last slash would be routed, as in Starlette.
pub fn redirect(near: &Near, head: &http::request::Parts, path: &str) -> Option<Response<TaskBody>> {
    let io = &near.io;
    if !io.redirect_slashes || path == "/" {
        return None;
    }
    let other = if path.ends_with('/') { path.trim_end_matches('/').to_owned() } else { format!("{path}/") };
    if matches!(io.router.find(head.method.as_str(), &other), Match::NotFound) {
        return None;
    }
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let query = head.uri.query().filter(|query| !query.is_empty()).map(|query| format!("?{query}")).unwrap_or_default();
    let scheme = near.ends.scheme(&head.headers, false);
    let target = format!("{scheme}://{host}{other}{query}");
    let location = HeaderValue::from_str(&utf8_percent_encode(&target, LOCATION).to_string()).ok()?;
    let mut response = Response::new(TaskBody::new(Bytes::new(), None));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    Some(response)
}

pub fn response_from(method: &Method, reply: Reply) -> Response<TaskBody> {
    let Reply { status, headers, content, ticket } = reply;
    let body = match content {
        Content::Stream(pieces) => {
            let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
            TaskBody::stream(pieces, length)
        }
        // hyper drops the body of such an answer unsent.
        Content::Whole(body) if !body.is_empty() && *method != Method::HEAD && !matches!(status, 100..200 | 204 | 205 | 304) => {
            TaskBody::new(body, ticket)
        }
        Content::Whole(body) => {
            if let Some(ticket) = ticket {
                // Runs after this connection's poll, which writes and flushes the head.
                spawn_local(async move { ticket.redeem() });
            }
            TaskBody::new(body, None)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}

/// A small answer of our own.
pub fn json(status: StatusCode, body: &'static [u8]) -> Response<TaskBody> {
    let mut response = Response::new(TaskBody::new(Bytes::from_static(body), None));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
