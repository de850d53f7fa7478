//! HTTP. Each I/O thread is a single-threaded tokio runtime with hyper on it; none of them ever touches Python.
//!
//! Limits: heads within `HEAD_TIME` and hyper's buffer, bodies up to `max_body` (413). Draining: no new connections, idle ones closed,
//! requests in flight answered; forced: everything dropped, which hands the tasks that wait for a response to leave back to the core.

use std::{
    cell::Cell,
    convert::Infallible,
    net::TcpListener as StdListener,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use afterload_core::{
    ledger::Gauge,
    router::{Match, Router},
};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::{LocalSet, spawn_local},
};

use crate::{
    body::TaskBody,
    core::{Core, LoopWork},
    job::{Job, Reply, decode_path_value, internal_error},
    route::Route,
    tasks::Functions,
};

const HEAD_TIME: Duration = Duration::from_secs(30);
const HEAD_BYTES: usize = 64 * 1024;
const ADMIT_LANE_AFTER: Duration = Duration::from_millis(1);

/// Asked of the main thread: one more endpoint thread.
pub const MORE_LANES: u8 = b'L';

/// How the I/O threads are to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Serving,
    Draining,
    Forced,
}

/// What every I/O thread needs.
pub struct Io {
    pub core: Arc<Core>,
    pub functions: Arc<Functions>,
    pub router: Router,
    pub routes: Arc<Vec<Route>>,
    pub max_body: usize,
}

/// The life of one I/O thread. Returns when the phase is no longer serving and every connection has ended.
pub fn run(io: &Arc<Io>, listener: StdListener, phase: watch::Receiver<Phase>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, accept(Arc::clone(io), listener, phase))
}

async fn accept(io: Arc<Io>, listener: StdListener, mut phase: watch::Receiver<Phase>) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let growing = Rc::new(Cell::new(false));
    let alive = Rc::new(());
    while *phase.borrow_and_update() == Phase::Serving {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (io, phase, growing, alive) = (Arc::clone(&io), phase.clone(), Rc::clone(&growing), Rc::clone(&alive));
                    spawn_local(async move {
                        connection(io, stream, phase, growing).await;
                        drop(alive);
                    });
                }
                // Out of descriptors, most likely: wait for some to be given back instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            _ = phase.changed() => {}
        }
    }
    drop(listener);
    while Rc::strong_count(&alive) > 1 && *phase.borrow_and_update() != Phase::Forced {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
            _ = phase.changed() => {}
        }
    }
    Ok(())
}

async fn connection(io: Arc<Io>, stream: TcpStream, mut phase: watch::Receiver<Phase>, growing: Rc<Cell<bool>>) {
    // Without this, a small answer could wait for the acknowledgement of the one before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let (io, growing) = (Arc::clone(&io), Rc::clone(&growing));
        async move { Ok::<_, Infallible>(answer(&io, request, &growing).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    if *phase.borrow_and_update() == Phase::Draining {
        connection.as_mut().graceful_shutdown();
    }
    loop {
        tokio::select! {
            // An error here is the client's affair: it has gone, or sent no HTTP.
            _ = connection.as_mut() => return,
            changed = phase.changed() => {
                let now = *phase.borrow_and_update();
                if changed.is_err() || now == Phase::Forced {
                    return;
                }
                if now == Phase::Draining {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

struct InFlight<'a>(&'a Core);

impl<'a> InFlight<'a> {
    fn new(core: &'a Core) -> Self {
        core.up(Gauge::Requests);
        core.up(Gauge::RequestsInFlight);
        Self(core)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.down(Gauge::RequestsInFlight);
    }
}

async fn answer(io: &Arc<Io>, request: Request<Incoming>, growing: &Rc<Cell<bool>>) -> Response<TaskBody> {
    let _in_flight = InFlight::new(&io.core);
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let (number, values) = match io.router.find(head.method.as_str(), path) {
        Match::Route(number, values) => (number, values.into_iter().map(decode_path_value).collect::<Vec<_>>()),
        Match::NotFound => return json(StatusCode::NOT_FOUND, br#"{"detail":"Not Found"}"#),
        Match::MethodNotAllowed(allowed) => {
            let mut response = json(StatusCode::METHOD_NOT_ALLOWED, br#"{"detail":"Method Not Allowed"}"#);
            if let Ok(allowed) = HeaderValue::from_str(&allowed) {
                response.headers_mut().insert(header::ALLOW, allowed);
            }
            return response;
        }
    };
    let route = &io.routes[number];
    if let Some(constant) = &route.constant {
        let mut response = Response::new(TaskBody::new(Bytes::copy_from_slice(&constant.body), None));
        if let Ok(content_type) = HeaderValue::from_str(&constant.content_type) {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        return response;
    }
    let sent_op = head.headers.get("x-op-id").and_then(|value| u64::from_str_radix(value.to_str().ok()?, 16).ok());
    let op = io.core.ledger.operation(sent_op);
    if route.tasks.is_some() && io.core.policy.queue_limit.is_some_and(|limit| io.core.ledger.pending() >= limit) {
        io.core.refuse(op);
        let mut response = json(StatusCode::SERVICE_UNAVAILABLE, br#"{"detail":"Too many background tasks are pending"}"#);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    let body = match Limited::new(body, io.max_body).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return json(StatusCode::PAYLOAD_TOO_LARGE, br#"{"detail":"Request body too large"}"#);
        }
        Err(_) => return json(StatusCode::BAD_REQUEST, br#"{"detail":"The request body did not arrive whole"}"#),
    };
    let (reply, answered) = oneshot::channel();
    let job = Job {
        core: Arc::clone(&io.core),
        functions: Arc::clone(&io.functions),
        routes: Arc::clone(&io.routes),
        number,
        op,
        path: path.to_owned(),
        path_values: values,
        query: head.uri.query().map(ToOwned::to_owned),
        method: head.method,
        headers: head.headers,
        body,
        reply,
    };
    if route.is_async {
        io.core.push_to_loop(LoopWork::Job(Box::new(job)));
    } else {
        io.core.up(Gauge::LanesWaiting);
        if io.core.lanes.push(job) > 0 {
            grow_lanes(&io.core, growing);
        }
    }
    response_from(answered.await.unwrap_or_else(|_| internal_error()))
}

/// One more endpoint thread when, for a whole millisecond, requests waited and no thread took one: all of them are stuck in an endpoint.
/// Decided by progress and not by counts, so that a busy server with quick endpoints keeps its one thread and its short GIL queue.
fn grow_lanes(core: &Arc<Core>, growing: &Rc<Cell<bool>>) {
    if growing.replace(true) {
        return;
    }
    let (core, growing) = (Arc::clone(core), Rc::clone(growing));
    spawn_local(async move {
        loop {
            let taken = core.lane_jobs_taken.load(Ordering::Acquire);
            tokio::time::sleep(ADMIT_LANE_AFTER).await;
            if core.lanes.is_empty() || core.lane_threads.load(Ordering::Acquire) >= core.lane_limit {
                break;
            }
            if core.lane_jobs_taken.load(Ordering::Acquire) == taken {
                core.ask_main(MORE_LANES);
            }
        }
        growing.set(false);
    });
}

fn response_from(reply: Reply) -> Response<TaskBody> {
    let (body, ticket) = (reply.body, reply.ticket);
    let tied = if body.is_empty() {
        if let Some(ticket) = ticket {
            // Runs after this connection's poll, which writes and flushes the head.
            spawn_local(async move { ticket.redeem() });
        }
        TaskBody::new(body, None)
    } else {
        TaskBody::new(body, ticket)
    };
    let mut response = Response::new(tied);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        response.headers_mut().append(name, value);
    }
    response
}

fn json(status: StatusCode, body: &'static [u8]) -> Response<TaskBody> {
    let mut response = Response::new(TaskBody::new(Bytes::from_static(body), None));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
