//! The opening of a web socket (RFC 6455, 4.2).

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::{sync::oneshot, task::spawn_local};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    answer::asked,
    body::TaskBody,
    busy::BusyGuard,
    core::LoopWork,
    io::Near,
    reply::internal_error,
    responses::{json, response_from},
    talk::drive,
    websocket::{Decision, Lost, Socket, WebSocketCall},
};

pub fn is_websocket(request: &Request<Incoming>) -> bool {
    let has =
        |name, token: &str| {
            request.headers().get_all(name).iter().any(|value| {
                value.to_str().is_ok_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
            })
        };
    request.method() == Method::GET
        && has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && request.headers().contains_key(header::SEC_WEBSOCKET_KEY)
}

pub async fn websocket(near: &Near, mut request: Request<Incoming>) -> Response<TaskBody> {
    let io = &near.io;
    if request.headers().get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut response =
            json(StatusCode::UPGRADE_REQUIRED, br#"{"detail":"This server speaks version 13 of the WebSocket protocol"}"#);
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    }
    if !request.headers().get(header::SEC_WEBSOCKET_KEY).is_some_and(is_key) {
        return json(StatusCode::BAD_REQUEST, br#"{"detail":"The Sec-WebSocket-Key is no 16 bytes in base64"}"#);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    let accept = head.headers.get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let path = percent_decode_str(head.uri.path()).decode_utf8_lossy().into_owned();
    let socket = Socket::new(&io.core);
    let (decide, decided) = oneshot::channel();
    // ASGI gives web sockets no tasks: one that stays open is no reason to refuse requests that have some.
    let busy = BusyGuard::new(&io.core, &io.core.policy, false);
    let call = WebSocketCall::new(Arc::clone(&socket), asked(near, head, path), decide, busy);
    // Dropped with this future when the client goes before the handshake is answered.
    let lost = Lost(Arc::clone(&socket));
    io.core.push_to_loop(LoopWork::WebSocket(Box::new(call)));
    match decided.await {
        Ok(Decision::Accept { headers, says }) => {
            let (phase, seat, max_message) = (near.phase.clone(), Rc::clone(&near.seat), io.max_body);
            spawn_local(async move {
                drive(upgrade, lost, says, phase, max_message).await;
                drop(seat);
            });
            let mut response = Response::new(TaskBody::new(Bytes::new(), None));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            *response.headers_mut() = headers;
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            if let Some(Ok(accept)) = accept.map(|accept| HeaderValue::from_str(&accept)) {
                response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            }
            response
        }
        Ok(Decision::Deny(reply)) => response_from(&Method::GET, reply),
        Err(_) => response_from(&Method::GET, internal_error()),
    }
}

/// RFC 6455, 4.2.1.
fn is_key(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    value.len() == 24 && value.ends_with(b"==") && value[..22].iter().all(is_digit)
}
