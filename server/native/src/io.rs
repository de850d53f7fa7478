//! HTTP. Each I/O thread is a single-threaded tokio runtime with hyper on it; none of them ever touches Python.
//!
//! Limits: connection.rs's and hyper's buffer for heads, bodies up to `max_body` (413). Draining: no new connections, idle ones closed,
//! requests in flight answered; forced: everything dropped, which hands the tasks that wait for a response to leave back to the core.

use std::{cell::Cell, convert::Infallible, net::TcpListener as StdListener, rc::Rc, sync::Arc, time::Duration};

use afterload_core::{proxies::Proxies, router::Router};
use http::{HeaderValue, Request, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{LocalSet, spawn_local},
};

use crate::{
    answer::answer,
    body::Busy,
    connection::{Limits, Paced, Pulse, Seat, Seats, is_chunked},
    core::Core,
    outbox,
    policy::Policy,
    route::Route,
    scope::Ends,
    tasks::Functions,
};

const HEAD_BYTES: usize = 64 * 1024;
const IDLE_GRACE: Duration = Duration::from_millis(250);
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
pub struct Near {
    pub io: Arc<Io>,
    pub ends: Arc<Ends>,
    pub growing: Rc<Cell<bool>>,
    pub seat: Rc<Seat>,
    pub phase: watch::Receiver<Phase>,
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
