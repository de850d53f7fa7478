//! One request on its I/O thread: its route, its limits, and which way it goes.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use afterload_core::{ledger::Gauge, router::Match};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::{sync::oneshot, task::spawn_local};

use crate::{
    asgi::{AsgiCall, Seed, Wanted},
    body::TaskBody,
    busy::BusyGuard,
    connection::refusal,
    core::{Core, LoopWork},
    exchange::Exchange,
    handshake::{is_websocket, websocket},
    io::{MORE_LANES, Near},
    job::Job,
    lane::LaneWork,
    presence::Presence,
    reply::internal_error,
    responses::{json, redirect, response_from},
    scope::Asked,
    upload::{linger, pump, read_body, too_large},
};

const ADMIT_LANE_AFTER: Duration = Duration::from_millis(1);

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

pub async fn answer(near: &Near, request: Request<Incoming>) -> Response<TaskBody> {
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

pub fn asked(near: &Near, head: http::request::Parts, path: String) -> Asked {
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
        // First: an app whose request was refused gives up, and that it has no answer may be known at the same time.
        biased;
        Ok(refusal) = trouble => return refusal,
        reply = answered => reply,
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
