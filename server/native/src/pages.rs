//! The pages of the admin port, made from what Rust knows: no Python call, no lock that is held across one. docs/admin.md describes them.

use std::sync::atomic::Ordering;

use afterload_core::{
    clock::now_ns,
    ledger::{DropReason, Gauge},
    process::Usage,
    text::{Json, Metrics, seconds},
    watch::{PieceKind, Role},
};
use http::StatusCode;

use crate::{
    admin::View,
    holder::{holder, running},
};

/// What there is to see.
pub const PATHS: [&str; 4] = ["/healthz", "/metrics", "/routes", "/tasks"];
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const LISTED: usize = 100;

/// An answer.
pub struct Page {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub text: String,
}

/// How a route is served; kept apart from the compiled route, which holds Python objects.
pub struct RouteLine {
    pub methods: Vec<String>,
    pub path: String,
    pub way: &'static str,
    pub reason: Option<String>,
    /// None: only the app knows.
    pub has_tasks: Option<bool>,
}

impl RouteLine {
    /// Methods and path, as people write them.
    pub fn name(&self) -> String {
        format!("{} {}", self.methods.join("/"), self.path).trim_start().to_owned()
    }
}

/// A route as a number that the watch takes. None: only the app knows which one it is.
pub fn watched_as(route: Option<usize>) -> u32 {
    route.and_then(|number| u32::try_from(number).ok()).unwrap_or(u32::MAX)
}

/// Whether the server serves.
pub fn healthz(view: &View) -> Page {
    let state = state(view);
    let mut members = vec![("status", Json::text(state))];
    if let Some(holder) = holder(view) {
        members.push(("gil_held_by", holder.json(view)));
    }
    let status = if state == "serving" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Page { status, ..json(Json::object(members)) }
}

/// How each route is served.
pub fn routes(view: &View) -> Page {
    let lines = view.core.routes.get().map_or(&[][..], Vec::as_slice);
    let each = |line: &RouteLine| {
        let object = |method: Option<&String>| {
            Json::object([
                ("method", method.map_or(Json::null(), |method| Json::text(method))),
                ("path", Json::text(&line.path)),
                ("way", Json::text(line.way)),
                ("reason", line.reason.as_deref().map_or(Json::null(), Json::text)),
                ("tasks", line.has_tasks.map_or(Json::null(), Json::truth)),
            ])
        };
        // A mounted app or a web socket has no methods.
        if line.methods.is_empty() { vec![object(None)] } else { line.methods.iter().map(Some).map(object).collect() }
    };
    json(Json::list(lines.iter().flat_map(each)))
}

/// The tasks under way.
pub fn tasks(view: &View) -> Page {
    let now = now_ns();
    let calls = view.core.ledger.functions.under_way();
    let sum = |of: fn(&afterload_core::functions::Calls) -> u64| calls.iter().map(of).sum();
    let queued: u64 = sum(|calls| calls.queued);
    let functions = calls.iter().map(|calls| {
        Json::object([
            ("name", Json::text(&calls.name)),
            ("queued", Json::whole(calls.queued)),
            ("running", Json::whole(calls.running)),
        ])
    });
    let oldest = view.core.oldest_queued().filter(|_| queued > 0);
    let mut running = running(view, PieceKind::Task, LISTED);
    running.truncate(LISTED);
    json(Json::object([
        ("queued", Json::whole(queued)),
        ("running", Json::whole(sum(|calls| calls.running))),
        ("oldest_queued_ms", oldest.map_or(Json::null(), |since| Json::milliseconds(now.saturating_sub(since)))),
        ("functions", Json::list(functions)),
        ("longest_running", Json::list(running.iter().map(|suspect| suspect.json(view, now)))),
        ("gil_held_by", holder(view).map_or(Json::null(), |holder| holder.json(view))),
    ]))
}

/// Everything that counts.
pub fn metrics(view: &View) -> Page {
    let core = &view.core;
    let gauge = |gauge: Gauge| core.ledger.gauge(gauge).load(Ordering::Acquire);
    let mut out = Metrics::default();
    // Ends are read before starts and starts before acceptances: no reader ever sees more tasks ended than begun.
    let dropped = [
        ("skipped", DropReason::Skipped),
        ("rejected", DropReason::Rejected),
        ("discarded", DropReason::Discarded),
        ("abandoned", DropReason::Abandoned),
    ]
    .map(|(name, reason)| ([("reason", name)], core.ledger.dropped(reason)));
    let (finished, failed) = (gauge(Gauge::Finished), gauge(Gauge::Failed));
    let (started, pending) = (gauge(Gauge::Started), core.ledger.pending());
    let accepted = gauge(Gauge::Accepted);
    let state = state(view);
    let states = ["starting", "serving", "draining", "stopped"].map(|name| ([("state", name)], u8::from(name == state)));
    out.values("gauge", "afterload_state", "What the server does: 1 for one of the states.", labelled(&states));
    out.value("counter", "afterload_tasks_accepted_total", "Background tasks accepted.", accepted);
    out.value("counter", "afterload_tasks_started_total", "Background tasks started.", started);
    out.value("counter", "afterload_tasks_finished_total", "Background tasks that returned.", finished);
    out.value("counter", "afterload_tasks_failed_total", "Background tasks that raised.", failed);
    out.values(
        "counter",
        "afterload_tasks_dropped_total",
        "Background tasks that will not run to their end.",
        labelled(&dropped),
    );
    let abandoned =
        [("queued", Gauge::AbandonedQueued), ("running", Gauge::AbandonedRunning)].map(|(was, g)| ([("was", was)], gauge(g)));
    out.values(
        "counter",
        "afterload_tasks_abandoned_total",
        "Of the dropped ones, those given up at the drain deadline.",
        labelled(&abandoned),
    );
    out.value("gauge", "afterload_tasks_pending", "Background tasks accepted and not ended.", pending);
    for (name, help, word) in [
        ("afterload_pool_threads", "Threads for def tasks.", Gauge::PoolSize),
        ("afterload_pool_threads_busy", "Of them, running a task.", Gauge::PoolBusy),
        ("afterload_pool_requests_waiting", "Requests whose next def task waits for a thread.", Gauge::PoolWaiting),
        ("afterload_endpoint_threads", "Threads for def endpoints.", Gauge::Lanes),
        ("afterload_endpoint_threads_busy", "Of them, in an endpoint.", Gauge::LanesBusy),
        ("afterload_endpoint_requests_waiting", "Requests that wait for an endpoint thread.", Gauge::LanesWaiting),
        ("afterload_tasks_overdue", "Running tasks that have passed their time limit.", Gauge::Overdue),
        ("afterload_loop_tasks", "async def tasks running on the event loop.", Gauge::LoopTasks),
        ("afterload_requests_in_flight", "Requests being answered.", Gauge::RequestsInFlight),
    ] {
        out.value("gauge", name, help, gauge(word));
    }
    out.value(
        "gauge",
        "afterload_loop_lag_seconds",
        "By how much the event loop's next sign of life is overdue.",
        loop_lag(view),
    );
    out.value("counter", "afterload_requests_total", "Requests received.", gauge(Gauge::Requests));
    out.value("counter", "afterload_requests_refused_total", "Requests refused by the queue limit.", gauge(Gauge::Refused));
    histograms(view, &mut out);
    gil(view, &mut out);
    process(&mut out);
    Page { status: StatusCode::OK, content_type: PROMETHEUS, text: out.into_text() }
}

/// The answer for what is not here.
pub fn not_found() -> Page {
    let paths = Json::list(PATHS.map(Json::text));
    Page { status: StatusCode::NOT_FOUND, ..json(Json::object([("detail", Json::text("Not Found")), ("paths", paths)])) }
}

/// The answer to those who want to change something.
pub fn method_not_allowed() -> Page {
    Page { status: StatusCode::METHOD_NOT_ALLOWED, ..json(Json::object([("detail", Json::text("Method Not Allowed"))])) }
}

fn json(text: Json) -> Page {
    Page { status: StatusCode::OK, content_type: JSON, text: text.into_line() }
}

fn labelled<'a, V: Copy>(pairs: &'a [([(&'a str, &'a str); 1], V)]) -> impl Iterator<Item = (&'a [(&'a str, &'a str)], V)> + 'a {
    pairs.iter().map(|(labels, value)| (&labels[..], *value))
}

fn state(view: &View) -> &'static str {
    let happened = |gauge| view.core.ledger.gauge(gauge).load(Ordering::Acquire) > 0;
    if happened(Gauge::Drained) {
        "stopped"
    } else if happened(Gauge::Draining) {
        "draining"
    } else if happened(Gauge::Ready) {
        "serving"
    } else {
        "starting"
    }
}

fn loop_lag(view: &View) -> f64 {
    let gauge = |gauge: Gauge| view.core.ledger.gauge(gauge).load(Ordering::Acquire);
    // The beat before the clock: a beat that comes in between is not one from the future.
    let (beat, period) = (gauge(Gauge::LoopBeat), gauge(Gauge::LoopBeatPeriod));
    seconds(if beat == 0 { 0 } else { now_ns().saturating_sub(beat + period) })
}

fn histograms(view: &View, out: &mut Metrics) {
    let watch = &view.core.watch;
    let wait = [("def", watch.sum(Role::Pool, |thread| &thread.wait)), ("async", watch.loop_wait.distribution())];
    out.histogram("afterload_task_wait_seconds", "From the end of the response to the start of the task.", "kind", wait);
    let run = [("def", watch.sum(Role::Pool, |thread| &thread.run)), ("async", watch.loop_run.distribution())];
    out.histogram("afterload_task_run_seconds", "From the start of a task to its return or exception.", "kind", run);
    let attach = [
        ("task", watch.sum(Role::Pool, |thread| &thread.attach)),
        ("endpoint", watch.sum(Role::Lane, |thread| &thread.attach)),
        ("probe", view.probe.waits.distribution()),
    ];
    let help = "How long threads that had been idle waited for the interpreter's lock (GIL).";
    out.histogram("afterload_gil_wait_seconds", help, "thread", attach);
}

fn gil(view: &View, out: &mut Metrics) {
    let waiting = view.core.watch.threads().iter().filter(|thread| thread.is_attaching()).count();
    out.value("gauge", "afterload_gil_waiting_threads", "Threads with work that wait for the GIL.", waiting);
    let since = view.probe.waiting().map_or(0, |waiting| now_ns().saturating_sub(waiting.since_ns));
    out.value(
        "gauge",
        "afterload_gil_unavailable_seconds",
        "How long the GIL has been wanted in vain; 0: it is to be had.",
        seconds(since),
    );
    let holder = holder(view);
    let suspects: Vec<(String, String, f64)> = holder.map_or(Vec::new(), |holder| holder.labels(view));
    let pairs: Vec<([(&str, &str); 2], f64)> =
        suspects.iter().map(|(kind, name, held)| ([("kind", kind.as_str()), ("name", name.as_str())], *held)).collect();
    let values = pairs.iter().map(|(labels, held)| (&labels[..], *held));
    out.values("gauge", "afterload_gil_held_seconds", "Who has held the GIL for so long; several: one of them.", values);
}

fn process(out: &mut Metrics) {
    let usage = Usage::now();
    out.value("counter", "process_cpu_seconds_total", "CPU time, user and system.", seconds(usage.cpu_ns));
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory.", usage.rss_bytes),
        ("process_open_fds", "Open file descriptors.", usage.open_fds),
        ("process_max_fds", "Limit of open file descriptors.", usage.max_fds),
        ("process_threads", "Threads, Python's and Rust's.", usage.threads),
    ] {
        if let Some(value) = value {
            out.value("gauge", name, help, value);
        }
    }
}
