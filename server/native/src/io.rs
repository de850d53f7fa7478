//! HTTP. Each I/O thread is a single-threaded tokio runtime with hyper on it; none of them ever touches Python.
//!
//! Limits: connection.rs's and hyper's buffer for heads, bodies up to `max_body` (413). Draining: no new connections, idle ones closed,
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
    proxies::Proxies,
    router::{Match, Router},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::{LocalSet, spawn_local},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    asgi::{AsgiCall, Seed, Wanted},
    body::{Busy, TaskBody},
    connection::{Limits, Paced, Pulse, Seat, Seats, is_chunked, refusal},
    core::{Core, LoopWork},
    exchange::Exchange,
    job::{BusyGuard, Content, Job, LaneWork, Reply, internal_error},
    outbox,
    policy::Policy,
    presence::Presence,
    route::Route,
    scope::{Asked, Ends},
    talk::drive,
    tasks::Functions,
    upload::{linger, pump, read_body, too_large},
    websocket::{Decision, Lost, Socket, WebSocketCall},
};

const HEAD_BYTES: usize = 64 * 1024;
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
    /// How the tasks of each route are run.
    pub policies: Vec<Arc<Policy>>,
    pub redirect_slashes: bool,
    /// What no route takes is answered by the app.
    pub misses_to_app: bool,
    pub max_body: usize,
    pub limits: Limits,
    pub seats: Arc<Seats>,
    /// Whom to believe about the clients behind them.
    pub proxies: Arc<Proxies>,
}

/// The life of one I/O thread. Returns when the phase is no longer serving and every connection has ended.
pub fn run(io: &Arc<Io>, listener: StdListener, phase: watch::Receiver<Phase>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outbox = outbox::Open::new(&io.core);
    let local = LocalSet::new();
    local.spawn_local(outbox.postman());
    local.block_on(&runtime, accept(Arc::clone(io), listener, phase))
}

async fn accept(io: Arc<Io>, listener: StdListener, mut phase: watch::Receiver<Phase>) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let growing = Rc::new(Cell::new(false));
    let alive = Rc::new(());
    while *phase.borrow_and_update() == Phase::Serving {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    let Some(seat) = seat(&io, &alive) else {
                        spawn_local(Arc::clone(&io.seats).refuse(stream));
                        continue;
                    };
                    let proxies = io.proxies.trust(client.ip()).then(|| Arc::clone(&io.proxies));
                    let ends = Arc::new(Ends { client: Some(client), server: stream.local_addr().ok(), proxies });
                    let near = Near {
                        io: Arc::clone(&io),
                        ends,
                        growing: Rc::clone(&growing),
                        seat,
                        phase: phase.clone(),
                    };
                    spawn_local(connection(near, stream, phase.clone()));
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

/// A request whose client has gone counts too, or clients that go at once could have any number under way.
fn seat(io: &Io, alive: &Rc<()>) -> Option<Rc<Seat>> {
    let limit = io.limits.connections;
    if io.core.ledger.busy() >= limit as u64 { None } else { io.seats.take(limit, alive) }
}

/// What the requests of one connection share.
#[derive(Clone)]
struct Near {
    io: Arc<Io>,
    ends: Arc<Ends>,
    growing: Rc<Cell<bool>>,
    seat: Rc<Seat>,
    phase: watch::Receiver<Phase>,
}

async fn connection(near: Near, stream: TcpStream, mut phase: watch::Receiver<Phase>) {
    // Without this, a small answer could wait for the acknowledgement of the one before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let busy: Busy = Rc::new(());
    let pulse = Pulse::new(near.io.limits);
    let service = {
        let (busy, pulse) = (Rc::clone(&busy), Arc::clone(&pulse));
        service_fn(move |request: Request<Incoming>| {
            pulse.has_request();
            let (near, busy) = (near.clone(), Rc::clone(&busy));
            async move {
                let is_last = is_chunked(&request);
                let mut response = answer(&near, request).await;
                response.body_mut().keep_busy(busy);
                // hyper takes a Content-Length beside the chunks out unseen, and another server before this one may have gone by that:
                // what follows the chunks is no request to trust (RFC 9112, 6.1).
                if is_last {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                if *near.phase.borrow() != Phase::Serving && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        })
    };
    // What the line above and this function hold when nothing is under way.
    let idle = Rc::strong_count(&busy);
    let is_busy = || Rc::strong_count(&busy) > idle;
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Paced::new(stream, Arc::clone(&pulse))), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut stops = std::pin::pin!(pulse.stops(is_busy));
    // One that was just accepted is about to send a request, and hyper would close it at once: it is given `IDLE_GRACE`.
    let mut draining = *phase.borrow_and_update() == Phase::Draining;
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
                    if !pulse.is_fresh() {
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
            // A client that sends its head slowly, or not at all, must not hold up the drain.
            () = tokio::time::sleep(IDLE_GRACE), if draining => {
                if !is_busy() {
                    return;
                }
            }
            () = stops.as_mut() => return,
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

async fn answer(near: &Near, request: Request<Incoming>) -> Response<TaskBody> {
    let io = &near.io;
    let _in_flight = InFlight::new(&io.core);
    if let Some((status, detail)) = refusal(&request) {
        let mut response = json(status, detail);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    if is_websocket(&request) {
        return websocket(near, request).await;
    }
    let (head, body) = request.into_parts();
    // Decoded before it is routed, as every ASGI server does: `%2F` separates segments. Invalid UTF-8 is replaced.
    let path = percent_decode_str(head.uri.path()).decode_utf8_lossy();
    let found = match io.router.find(head.method.as_str(), &path) {
        Match::Route(number, values) => Some((number, values.into_iter().map(ToOwned::to_owned).collect::<Vec<_>>())),
        Match::Other => None,
        Match::NotFound | Match::MethodNotAllowed(_) if io.misses_to_app => None,
        Match::NotFound => {
            return redirect(near, &head, &path).unwrap_or_else(|| json(StatusCode::NOT_FOUND, br#"{"detail":"Not Found"}"#));
        }
        Match::MethodNotAllowed(allowed) => {
            let mut response = json(StatusCode::METHOD_NOT_ALLOWED, br#"{"detail":"Method Not Allowed"}"#);
            if let Ok(allowed) = HeaderValue::from_str(&allowed) {
                response.headers_mut().insert(header::ALLOW, allowed);
            }
            return response;
        }
    };
    let route = found.as_ref().map(|(number, _)| &io.routes[*number]);
    if let Some(constant) = route.and_then(|route| route.constant.as_ref()) {
        let mut response = Response::new(TaskBody::new(Bytes::copy_from_slice(&constant.body), None));
        if let Ok(content_type) = HeaderValue::from_str(&constant.content_type) {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        return response;
    }
    let sent_op = head.headers.get("x-op-id").and_then(|value| u64::from_str_radix(value.to_str().ok()?, 16).ok());
    let op = io.core.ledger.operation(sent_op);
    let policy = found.as_ref().map_or(&io.core.policy, |(number, _)| &io.policies[*number]);
    // A route with a limit of its own has tasks, in whatever way it makes them.
    let may_add_tasks = route.is_some_and(|route| route.tasks.is_some()) || policy.share().is_some();
    // Which route it takes may be the app's affair. One that has none is no reason to refuse others, however long it takes.
    let busy = BusyGuard::new(&io.core, policy, may_add_tasks || route.is_none());
    if may_add_tasks && io.core.is_full(policy) {
        io.core.refuse(op);
        let mut response = json(StatusCode::SERVICE_UNAVAILABLE, br#"{"detail":"Too many background tasks are pending"}"#);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    let path = path.into_owned();
    let method = head.method.clone();
    let asked = asked(near, head, path);
    let route = found.as_ref().map(|(number, _)| *number);
    let Some((number, values)) = found.filter(|(number, _)| io.routes[*number].general.is_none()) else {
        return general(near, asked, body, op, route, busy).await;
    };
    let body = match read_body(body, io.max_body, io.limits.body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let (reply, answered) = oneshot::channel();
    let is_async = io.routes[number].is_async;
    let presence = io.routes[number].request.is_some().then(Presence::default);
    let job = Job {
        core: Arc::clone(&io.core),
        functions: Arc::clone(&io.functions),
        routes: Arc::clone(&io.routes),
        number,
        policy: Arc::clone(policy),
        op,
        asked,
        path_values: values,
        body,
        reply,
        has_gone: presence.as_ref().map(Presence::watch),
        busy,
    };
    if is_async {
        io.core.push_to_loop(LoopWork::Job(Box::new(job)));
    } else if io.core.push_to_lanes(LaneWork::Job(Box::new(job))) {
        grow_lanes(&io.core, &near.growing);
    }
    let reply = answered.await;
    drop(presence);
    response_from(&method, reply.unwrap_or_else(|_| internal_error()))
}

fn asked(near: &Near, head: http::request::Parts, path: String) -> Asked {
    let http::request::Parts { method, uri, version, headers, .. } = head;
    Asked { method, uri, version, headers, path, ends: Arc::clone(&near.ends) }
}

/// The general way: the app gets the request as it arrives.
async fn general(
    near: &Near,
    asked: Asked,
    body: Incoming,
    op: u64,
    route: Option<usize>,
    busy: BusyGuard,
) -> Response<TaskBody> {
    let io = &near.io;
    let on_demand = asked.headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if body.size_hint().lower() > io.max_body as u64 {
        if !on_demand {
            spawn_local(linger(body));
        }
        return too_large();
    }
    let exchange = Exchange::new(&io.core, on_demand);
    let method = asked.method.clone();
    let (reply, answered) = oneshot::channel();
    let call = AsgiCall::new(Seed {
        core: Arc::clone(&io.core),
        functions: Arc::clone(&io.functions),
        policy: Arc::clone(route.map_or(&io.core.policy, |number| &io.policies[number])),
        exchange: Arc::clone(&exchange),
        asked,
        op,
        route,
        wanted: Wanted::Answer,
        tasks: None,
        used: 0,
        reply,
        busy,
    });
    io.core.push_to_loop(LoopWork::Asgi(Box::new(call)));
    // Dropped with this future when the client goes before the answer has begun.
    let gone = Gone(Some(Arc::clone(&exchange)));
    let (report, trouble) = oneshot::channel();
    if body.is_end_stream() {
        exchange.arrived();
        drop(report);
    } else {
        spawn_local(pump(body, exchange, (io.max_body, io.limits.body), report));
    }
    let reply = tokio::select! {
        reply = answered => reply,
        Ok(refusal) = trouble => return refusal,
    };
    gone.defuse();
    response_from(&method, reply.unwrap_or_else(|_| internal_error()))
}

struct Gone(Option<Arc<Exchange>>);

impl Gone {
    fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.over();
        }
    }
}

fn is_websocket(request: &Request<Incoming>) -> bool {
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

async fn websocket(near: &Near, mut request: Request<Incoming>) -> Response<TaskBody> {
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

/// Where the path with or without its last slash would be routed, as in Starlette.
fn redirect(near: &Near, head: &http::request::Parts, path: &str) -> Option<Response<TaskBody>> {
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
            // A thread that was called and waits for the interpreter is not stuck: one more would only wait behind it.
            if core.lane_jobs_taken.load(Ordering::Acquire) == taken && core.lanes.is_stuck() {
                core.ask_main(MORE_LANES);
            }
        }
        growing.set(false);
    });
}

fn response_from(method: &Method, reply: Reply) -> Response<TaskBody> {
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
