//! The life of an open web socket on its I/O thread: tungstenite over hyper's upgraded connection. Never touches Python.

use std::{cell::Cell, future::poll_fn, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::{mpsc, watch},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::{CapacityError, ProtocolError},
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    io::Phase,
    websocket::{Heard, Lost, Say, Socket},
};

/// A client that says nothing for so long is asked whether it is there, and dropped after the same time again. As in uvicorn.
const PING_EVERY: Duration = Duration::from_secs(20);
const CLOSE_TIME: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_secs(1);
/// Held by each socket, idle or not: tungstenite's own 128 KiB are too many for thousands of them.
const READ_BYTES: usize = 8 * 1024;
/// A control frame has room for 125 bytes, two of them for the code (RFC 6455, 5.5).
const REASON_BYTES: usize = 123;

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
