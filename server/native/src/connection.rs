//! One connection on its I/O thread: its place among those that may be open, how long it may do nothing, and what of HTTP is refused on it.
//!
//! Times are measured by a `Pulse` that costs a request two looks at the clock and no timer: the connection's only timer is set again when it
//! rings. A client that does not take what is written for it is noticed below hyper, which then drops what it still had to write.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use afterload_core::clock::now_ns;
use http::{HeaderMap, Request, StatusCode, Version, header};
use http_body::Body;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};

/// How long the refusal of a connection waits for its client to read it.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Connections that are being refused at once; those beyond are closed without a word.
const REFUSALS: usize = 64;
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 42\r\nconnection: close\r\n\
    retry-after: 1\r\n\r\n{\"detail\":\"Too many connections are open\"}";

/// How long clients may take, and how many there may be.
#[derive(Clone, Copy)]
pub struct Limits {
    /// For the head of a request, from its first byte; of a new connection, from its beginning.
    pub head: Duration,
    /// Between two pieces of a request's body.
    pub body: Duration,
    /// Between two moments at which the client takes some of what is written for it.
    pub write: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
    pub connections: usize,
}

/// How many connections are open if nothing was said: the app keeps a quarter of the descriptors for itself.
pub fn connections_for_descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a plain system call that fills the structure it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 || limit.rlim_cur == libc::RLIM_INFINITY {
        return usize::MAX;
    }
    usize::try_from(limit.rlim_cur / 4 * 3).unwrap_or(usize::MAX).max(1)
}

/// The connections of a server, counted over all its I/O threads.
#[derive(Default)]
pub struct Seats {
    taken: AtomicUsize,
    refusing: AtomicUsize,
}

/// The place of one open connection, until it is dropped. The I/O thread does not end before.
pub struct Seat {
    seats: Arc<Seats>,
    _alive: Rc<()>,
}

impl Seats {
    /// Takes a place, unless `limit` are taken.
    pub fn take(self: &Arc<Self>, limit: usize, alive: &Rc<()>) -> Option<Rc<Seat>> {
        let add = |taken: usize| (taken < limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(Rc::new(Seat { seats: Arc::clone(self), _alive: Rc::clone(alive) }))
    }

    /// Answers a connection for which there is no place.
    pub async fn refuse(self: Arc<Self>, mut stream: TcpStream) {
        let _counted = Counted::new(&self);
        if self.refusing.load(Ordering::Relaxed) > REFUSALS {
            return;
        }
        let goodbye = async {
            stream.write_all(TOO_MANY).await?;
            stream.shutdown().await?;
            // A connection that is closed on unread bytes is reset, and the refusal lost with it.
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether it was read is the client's affair.
        let _ended = timeout(REFUSAL_TIME, goodbye).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Counted<'a>(&'a Seats);

impl<'a> Counted<'a> {
    fn new(seats: &'a Seats) -> Self {
        seats.refusing.fetch_add(1, Ordering::Relaxed);
        Self(seats)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.refusing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When a connection last did something. Only its own I/O thread uses it; hyper wants whatever is in a stream to be `Send`.
pub struct Pulse {
    limits: Limits,
    /// When something was written last, at first the beginning of the connection.
    quiet_since_ns: AtomicU64,
    /// When the first byte came after that; 0: none has.
    head_since_ns: AtomicU64,
    is_fresh: AtomicBool,
}

impl Pulse {
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            quiet_since_ns: AtomicU64::new(now_ns()),
            head_since_ns: AtomicU64::new(0),
            is_fresh: AtomicBool::new(true),
        })
    }

    /// Whether the connection has had no request yet.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh.load(Ordering::Relaxed)
    }

    /// A request has come.
    pub fn has_request(&self) {
        self.is_fresh.store(false, Ordering::Relaxed);
    }

    /// Waits until the connection has had no request under way, and not got a whole head, for as long as it may. Does not return while
    /// `is_busy`.
    pub async fn stops(&self, is_busy: impl Fn() -> bool) {
        loop {
            // Whatever happens next, its time is not over before this.
            let mut wait = self.limits.head.min(self.limits.keep_alive);
            if !is_busy() {
                let Some(left) = self.left_of_its_time() else { return };
                wait = wait.min(left);
            }
            sleep(wait).await;
        }
    }

    fn left_of_its_time(&self) -> Option<Duration> {
        let quiet_since = self.quiet_since_ns.load(Ordering::Relaxed);
        let (since, limit) = match self.head_since_ns.load(Ordering::Relaxed) {
            0 if self.is_fresh() => (quiet_since, self.limits.head),
            0 => (quiet_since, self.limits.keep_alive),
            head_since => (head_since, self.limits.head),
        };
        let left = limit.saturating_sub(Duration::from_nanos(now_ns().saturating_sub(since)));
        (!left.is_zero()).then_some(left)
    }

    fn came(&self) {
        if self.head_since_ns.load(Ordering::Relaxed) == 0 {
            self.head_since_ns.store(now_ns(), Ordering::Relaxed);
        }
    }

    fn left(&self) {
        self.quiet_since_ns.store(now_ns(), Ordering::Relaxed);
        self.head_since_ns.store(0, Ordering::Relaxed);
    }
}

/// A stream that knows when it last did something, and fails when its client takes nothing for too long.
pub struct Paced {
    stream: TcpStream,
    pulse: Arc<Pulse>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub fn new(stream: TcpStream, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse, stall: None }
    }

    fn written(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.stall = None;
            self.pulse.left();
            return outcome;
        }
        let time = self.pulse.limits.write;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(time)));
        stall.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if outcome.is_ready() {
            self.pulse.came();
        }
        outcome
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.written(cx, outcome)
    }

    /// What tells when a response has left depends on it (body.rs).
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Whether the length of a request's body is said chunk by chunk.
pub fn is_chunked<B: Body>(request: &Request<B>) -> bool {
    request.body().size_hint().exact().is_none()
}

/// What is wrong with a request that hyper has let through, if anything is: somebody in between may have read it differently.
pub fn refusal<B: Body>(request: &Request<B>) -> Option<(StatusCode, &'static [u8])> {
    let headers = request.headers();
    if is_chunked(request) && !is_only(headers, header::TRANSFER_ENCODING, b"chunked") {
        // RFC 9112, 6.1.
        return Some((StatusCode::NOT_IMPLEMENTED, br#"{"detail":"The only transfer coding known here is chunked"}"#));
    }
    if request.uri().path().is_empty() {
        // A host and a port, as a proxy is asked to connect to (RFC 9112, 3.2.3).
        return Some((StatusCode::BAD_REQUEST, br#"{"detail":"This server is no proxy"}"#));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let has_host = hosts.next().is_some() || request.version() == Version::HTTP_10;
    if !has_host || hosts.next().is_some() {
        // RFC 9112, 3.2.
        return Some((StatusCode::BAD_REQUEST, br#"{"detail":"A request has one Host header"}"#));
    }
    None
}

fn is_only(headers: &HeaderMap, name: header::HeaderName, wanted: &[u8]) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(wanted)) && values.next().is_none()
}
