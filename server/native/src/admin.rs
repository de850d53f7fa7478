//! The admin port: a thread of its own with a runtime of its own, on loopback, that never attaches to the interpreter.
//!
//! Limits: `CONNECTIONS` at once (one more gets 503); `HEAD_TIME` for a head, between two requests, and for a client to take what is written
//! for it; bodies of requests are not read. Outlives the drain, so that it can be watched; ends when it is told to, dropping its connections.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    io,
    net::TcpListener as StdListener,
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use afterload_core::{clock::now_ns, gil::Streak};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{LocalSet, spawn_local},
    time::Instant,
};

use crate::{
    connection::{Limits, Paced, Pulse},
    core::Core,
    gil::{HolderReader, Probe},
    pages::{self, Page},
};

const CONNECTIONS: usize = 64;
const HEAD_TIME: Duration = Duration::from_secs(10);
const LIMITS: Limits =
    Limits { head: HEAD_TIME, body: HEAD_TIME, write: HEAD_TIME, keep_alive: HEAD_TIME, connections: CONNECTIONS };
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// While the probe waits, so that a lock that is passed around is seen in many hands before it counts as held.
const LOOK_CLOSELY_EVERY: Duration = Duration::from_millis(7);
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\nretry-after: 1\r\n\r\n";

/// The admin thread and the probe of the interpreter's lock.
pub struct Admin {
    probe: Arc<Probe>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Admin {
    /// Starts answering on a bound listener.
    pub fn start(core: Arc<Core>, listener: StdListener, holder: HolderReader) -> io::Result<Self> {
        let probe = Arc::new(Probe::default());
        let (stop, stopped) = watch::channel(false);
        let mut admin = Self { probe: Arc::clone(&probe), stop, threads: Vec::new() };
        let view = View { core, probe: Arc::clone(&probe), holder, streak: RefCell::default() };
        let body = move || {
            if let Err(error) = run(view, listener, stopped) {
                eprintln!("error: the admin thread ended: {error}");
            }
        };
        admin.threads.push(thread::Builder::new().name("admin".into()).spawn(body)?);
        match thread::Builder::new().name("gil-probe".into()).spawn(move || probe.run()) {
            Ok(thread) => admin.threads.push(thread),
            Err(error) => {
                admin.stop();
                return Err(error);
            }
        }
        Ok(admin)
    }

    /// Ends both threads. Must not be called attached: the probe needs the lock once more.
    pub fn stop(self) {
        self.stop.send_replace(true);
        self.probe.stop();
        for thread in self.threads {
            // What a thread panicked with has been printed when it did.
            let _ended = thread.join();
        }
    }
}

/// What the pages are made of.
pub struct View {
    pub core: Arc<Core>,
    pub probe: Arc<Probe>,
    holder: HolderReader,
    streak: RefCell<Streak>,
}

impl View {
    /// Reads the interpreter's lock once more, and judges.
    pub fn held(&self) -> Option<(usize, u64)> {
        let mut streak = self.streak.borrow_mut();
        // In this order: a holder that lets go between the two readings is not taken for one that the waiter waits for.
        let (waiting, holder) = (self.probe.waiting(), self.holder.now());
        let now = now_ns();
        streak.look(now, waiting, holder);
        streak.held(now)
    }
}

fn run(view: View, listener: StdListener, stopped: watch::Receiver<bool>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(Rc::new(view), listener, stopped))
}

async fn serve(view: Rc<View>, listener: StdListener, mut stopped: watch::Receiver<bool>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let connections = Rc::new(Cell::new(0));
    let mut next_look = Instant::now();
    while !*stopped.borrow_and_update() {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(&view, &connections, stream),
                // Out of descriptors, most likely: wait for some to be given back instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            () = tokio::time::sleep_until(next_look) => {
                view.held();
                next_look = Instant::now() + if view.probe.waiting().is_some() { LOOK_CLOSELY_EVERY } else { LOOK_EVERY };
            }
            _ = stopped.changed() => {}
        }
    }
    Ok(())
}

fn admit(view: &Rc<View>, connections: &Rc<Cell<usize>>, mut stream: TcpStream) {
    // The one above the limit lives only for its refusal; beyond twice the limit there is not even that.
    let already = connections.get();
    if already >= 2 * CONNECTIONS {
        return;
    }
    connections.set(already + 1);
    let (view, connections) = (Rc::clone(view), Rc::clone(connections));
    spawn_local(async move {
        if already < CONNECTIONS {
            connection(view, stream).await;
        } else {
            // An error here is the client's affair, here and below.
            let _sent = tokio::time::timeout(Duration::from_secs(1), stream.write_all(TOO_MANY)).await;
        }
        connections.set(connections.get() - 1);
    });
}

async fn connection(view: Rc<View>, stream: TcpStream) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let response = answer(&view, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let _ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(Paced::new(stream, Pulse::new(LIMITS))), service)
        .await;
}

fn answer(view: &View, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let page = match request.uri().path() {
        known if !is_read && pages::PATHS.contains(&known) => pages::method_not_allowed(),
        "/healthz" => pages::healthz(view),
        "/metrics" => pages::metrics(view),
        "/routes" => pages::routes(view),
        "/tasks" => pages::tasks(view),
        _ => pages::not_found(),
    };
    let Page { status, content_type, text } = page;
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
