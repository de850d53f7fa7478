//! Bodies of requests, on their I/O thread: taken whole for the straight way, piece by piece for the general way.
//!
//! A client that stops sending for the time that is allowed, sends too much or breaks off is refused.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;

use crate::{body::TaskBody, exchange::Exchange, responses::json};

const LINGER: Duration = Duration::from_secs(1);

/// Hands the request body to the app as it arrives, and reports the answer to one that cannot be taken.
pub async fn pump(
    mut body: Incoming,
    exchange: Arc<Exchange>,
    (limit, pause): (usize, Duration),
    report: oneshot::Sender<Response<TaskBody>>,
) {
    let mut total = 0;
    while exchange.has_room().await {
        let refusal = match tokio::time::timeout(pause, body.frame()).await {
            Ok(None) => return exchange.arrived(),
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { continue };
                total += data.len();
                if total <= limit {
                    exchange.put(data);
                    continue;
                }
                too_large()
            }
            Ok(Some(Err(_))) => broken(),
            Err(_) => stalled(),
        };
        // Where the app has begun its answer, that one goes on.
        if exchange.breaks_off() {
            let _gone = report.send(refusal);
        }
        return linger(body).await;
    }
    // The app has answered without reading it all. What is left is taken off the connection, so that the next request can follow.
    while total <= limit && !exchange.is_unwanted() {
        match tokio::time::timeout(pause, body.frame()).await {
            Ok(Some(Ok(frame))) => total += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
    }
}

/// Takes what a client still sends after its request was refused, for a moment: a connection that is closed on unread bytes is reset, and the
/// refusal lost with it.
pub async fn linger(mut body: Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ended = tokio::time::timeout(LINGER, rest).await;
}

/// The whole body, or the answer to one that cannot be taken.
pub async fn read_body(mut body: Incoming, limit: usize, pause: Duration) -> Result<Bytes, Response<TaskBody>> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut whole = Bytes::new();
    let mut more: Option<BytesMut> = None;
    loop {
        let frame = match tokio::time::timeout(pause, body.frame()).await {
            Err(_) => return Err(stalled()),
            Ok(None) => return Ok(more.map_or(whole, BytesMut::freeze)),
            Ok(Some(Err(_))) => return Err(broken()),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + more.as_ref().map_or(0, BytesMut::len) + data.len() > limit {
            return Err(too_large());
        }
        // A body that came in one piece is used as it is.
        match &mut more {
            Some(more) => more.extend_from_slice(&data),
            None if whole.is_empty() => whole = data,
            None => {
                let mut both = BytesMut::from(&whole[..]);
                both.extend_from_slice(&data);
                whole = Bytes::new();
                more = Some(both);
            }
        }
    }
}

/// The answer to a body beyond the limit.
pub fn too_large() -> Response<TaskBody> {
    json(StatusCode::PAYLOAD_TOO_LARGE, br#"{"detail":"Request body too large"}"#)
}

fn stalled() -> Response<TaskBody> {
    json(StatusCode::REQUEST_TIMEOUT, br#"{"detail":"The request body stopped arriving"}"#)
}

fn broken() -> Response<TaskBody> {
    json(StatusCode::BAD_REQUEST, br#"{"detail":"The request body did not arrive whole"}"#)
}
