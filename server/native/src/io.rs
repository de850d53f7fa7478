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
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::{LocalSet, spawn_local},
};

use crate::{
    body::{Busy, TaskBody},
    core::{Core, LoopWork},
    job::{BusyGuard, Job, LaneWork, Reply, internal_error},
    route::Route,
    tasks::Functions,
};

const HEAD_TIME: Duration = Duration::from_secs(30);
const HEAD_BYTES: usize = 64 * 1024;
const BODY_PAUSE: Duration = Duration::from_secs(30);
const ADMIT_LANE_AFTER: Duration = Duration::from_millis(1);
const IDLE_GRACE: Duration = Duration::from_millis(250);
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

/// Asked of the main thread: one more endpoint thread.
pub const MORE_LANES: u8 = b'L';

/// How the I/O threads are to go on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    pub redirect_slashes: bool,
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
    let busy: Busy = Rc::new(());
    let service = {
        let busy = Rc::clone(&busy);
        service_fn(move |request| {
            let (io, growing, busy) = (Arc::clone(&io), Rc::clone(&growing), Rc::clone(&busy));
            async move {
                let mut response = answer(&io, request, &growing).await;
                response.body_mut().keep_busy(busy);
                Ok::<_, Infallible>(response)
            }
        })
    };
    // What the line above and this function hold when nothing is under way.
    let idle = Rc::strong_count(&busy);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut draining = *phase.borrow_and_update() == Phase::Draining;
    if draining {
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
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            // A client that sends its head slowly, or not at all, must not hold up the drain.
            () = tokio::time::sleep(IDLE_GRACE), if draining => {
                if Rc::strong_count(&busy) <= idle {
                    return;
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
    // Decoded before it is routed, as every ASGI server does: `%2F` separates segments. Invalid UTF-8 is replaced.
    let path = percent_decode_str(head.uri.path()).decode_utf8_lossy();
    let (number, values) = match io.router.find(head.method.as_str(), &path) {
        Match::Route(number, values) => (number, values.into_iter().map(ToOwned::to_owned).collect::<Vec<_>>()),
        Match::NotFound => {
            return redirect(io, &head, &path).unwrap_or_else(|| json(StatusCode::NOT_FOUND, br#"{"detail":"Not Found"}"#));
        }
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
    let busy = BusyGuard::new(&io.core);
    // Requests that are under way may each add a task: they count, or a burst would overshoot the limit.
    let ahead = || io.core.ledger.pending() + io.core.ledger.busy() - 1;
    if route.tasks.is_some() && io.core.policy.queue_limit.is_some_and(|limit| ahead() >= limit) {
        io.core.refuse(op);
        let mut response = json(StatusCode::SERVICE_UNAVAILABLE, br#"{"detail":"Too many background tasks are pending"}"#);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    let body = match read_body(body, io.max_body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let method = head.method.clone();
    let (reply, answered) = oneshot::channel();
    let job = Job {
        core: Arc::clone(&io.core),
        functions: Arc::clone(&io.functions),
        routes: Arc::clone(&io.routes),
        number,
        op,
        path: path.into_owned(),
        path_values: values,
        query: head.uri.query().map(ToOwned::to_owned),
        method: head.method,
        headers: head.headers,
        body,
        reply,
        busy,
    };
    if route.is_async {
        io.core.push_to_loop(LoopWork::Job(Box::new(job)));
    } else {
        io.core.up(Gauge::LanesWaiting);
        if io.core.lanes.push(LaneWork::Job(Box::new(job))) > 0 {
            grow_lanes(&io.core, growing);
        }
    }
    response_from(&method, answered.await.unwrap_or_else(|_| internal_error()))
}

async fn read_body(mut body: Incoming, limit: usize) -> Result<Bytes, Response<TaskBody>> {
    let too_large = || json(StatusCode::PAYLOAD_TOO_LARGE, br#"{"detail":"Request body too large"}"#);
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut whole = Bytes::new();
    let mut more: Option<BytesMut> = None;
    loop {
        let frame = match tokio::time::timeout(BODY_PAUSE, body.frame()).await {
            Err(_) => return Err(json(StatusCode::REQUEST_TIMEOUT, br#"{"detail":"The request body stopped arriving"}"#)),
            Ok(None) => return Ok(more.map_or(whole, BytesMut::freeze)),
            Ok(Some(Err(_))) => {
                return Err(json(StatusCode::BAD_REQUEST, br#"{"detail":"The request body did not arrive whole"}"#));
            }
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

/// Where the path with or without its last slash would be routed, as in Starlette.
fn redirect(io: &Io, head: &http::request::Parts, path: &str) -> Option<Response<TaskBody>> {
    if !io.redirect_slashes || path == "/" {
        return None;
    }
    let other = if path.ends_with('/') { path.trim_end_matches('/').to_owned() } else { format!("{path}/") };
    if matches!(io.router.find(head.method.as_str(), &other), Match::NotFound) {
        return None;
    }
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let query = head.uri.query().filter(|query| !query.is_empty()).map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("http://{host}{other}{query}");
    let location = HeaderValue::from_str(&utf8_percent_encode(&target, LOCATION).to_string()).ok()?;
    let mut response = Response::new(TaskBody::new(Bytes::new(), None));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    Some(response)
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

fn response_from(method: &Method, reply: Reply) -> Response<TaskBody> {
    let (body, ticket) = (reply.body, reply.ticket);
    // hyper drops the body of such an answer unsent.
    let is_sent = !body.is_empty() && *method != Method::HEAD && !matches!(reply.status, 100..200 | 204 | 205 | 304);
    let tied = if is_sent {
        TaskBody::new(body, ticket)
    } else {
        if let Some(ticket) = ticket {
            // Runs after this connection's poll, which writes and flushes the head.
            spawn_local(async move { ticket.redeem() });
        }
        TaskBody::new(body, None)
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
