//! What each thread is doing right now, written by the threads themselves with a few stores and read by the admin thread at any moment.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering, fence},
};

use crate::{
    clock::now_ns,
    histogram::{Distribution, Histogram},
    ordered::Ordered,
};

/// A piece of Python that was seen running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What `id` numbers.
    pub kind: PieceKind,
    /// A task function's name, or a route.
    pub id: u32,
    /// The operation id of its request.
    pub op: u64,
    /// When it began, monotonic nanoseconds.
    pub since_ns: u64,
}

/// What a piece of Python is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PieceKind {
    /// A background task.
    Task = 1,
    /// A request's way from its arguments to its answer.
    Endpoint = 2,
}

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs `def` tasks.
    Pool,
    /// Runs `def` endpoints.
    Lane,
}

/// One thread's own page. Only that thread writes to it.
#[repr(align(64))]
pub struct Thread {
    /// Odd while the piece is being changed.
    turn: AtomicU64,
    /// Kind and id of the piece; 0: none.
    what: AtomicU64,
    op: AtomicU64,
    since: AtomicU64,
    /// Since when it has wanted to attach to the interpreter; 0: it does not.
    attaching: AtomicU64,
    /// From the end of the response to the start of the task.
    pub wait: Histogram,
    /// From start to end of the task.
    pub run: Histogram,
    /// From wanting to attach to being attached.
    pub attach: Histogram,
    /// Its name, also in Python.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its thread state, as a number to compare.
    pub identity: usize,
}

/// All threads that run Python for the server.
#[derive(Default)]
pub struct Watch {
    threads: Mutex<Vec<Arc<Thread>>>,
    tasks_on_loop: Mutex<Ordered<Piece>>,
    endpoints_on_loop: Mutex<Ordered<Piece>>,
    /// The event loop's thread state; 0: it has not begun.
    pub loop_identity: AtomicUsize,
    /// That of the thread that has called `serve()`, the main one as a rule.
    pub serving_identity: AtomicUsize,
    /// Of `async def` tasks: as [`Thread::wait`].
    pub loop_wait: Histogram,
    /// Of `async def` tasks.
    pub loop_run: Histogram,
}

impl Thread {
    /// A piece begins now; returns that moment.
    pub fn begin(&self, kind: PieceKind, id: u32, op: u64) -> u64 {
        let now = now_ns();
        self.publish((kind as u64) << 32 | u64::from(id), op, now);
        now
    }

    /// A task begins that was free to run since `flushed_ns`.
    pub fn begin_task(&self, id: u16, op: u64, flushed_ns: u64) {
        let now = self.begin(PieceKind::Task, u32::from(id), op);
        self.wait.observe(now.saturating_sub(flushed_ns));
    }

    /// The task that was begun ends.
    pub fn end_task(&self) {
        self.run.observe(now_ns().saturating_sub(self.since.load(Ordering::Relaxed)));
        self.end();
    }

    /// The piece ends.
    pub fn end(&self) {
        self.publish(0, 0, 0);
    }

    /// It wants to attach to the interpreter.
    pub fn wants_to_attach(&self) {
        self.attaching.store(now_ns(), Ordering::Relaxed);
    }

    /// It is attached.
    pub fn attached(&self) {
        self.attach.observe(now_ns().saturating_sub(self.attaching.swap(0, Ordering::Relaxed)));
    }

    /// Whether it waits for the interpreter.
    pub fn is_attaching(&self) -> bool {
        self.attaching.load(Ordering::Relaxed) != 0
    }

    /// The piece that it runs. None: none, or it changes so fast that it is never seen standing.
    #[must_use]
    pub fn piece(&self) -> Option<Piece> {
        for _ in 0..100 {
            let before = self.turn.load(Ordering::Acquire);
            let (what, op, since_ns) =
                (self.what.load(Ordering::Relaxed), self.op.load(Ordering::Relaxed), self.since.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.turn.load(Ordering::Relaxed) == before {
                let kind = match what >> 32 {
                    0 => return None,
                    1 => PieceKind::Task,
                    _ => PieceKind::Endpoint,
                };
                #[allow(clippy::cast_possible_truncation, reason = "the lower half is the id")]
                return Some(Piece { kind, id: what as u32, op, since_ns });
            }
            std::hint::spin_loop();
        }
        None
    }

    fn publish(&self, what: u64, op: u64, since: u64) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn + 1, Ordering::Relaxed);
        // The stores below must not be seen before the odd turn.
        fence(Ordering::Release);
        self.what.store(what, Ordering::Relaxed);
        self.op.store(op, Ordering::Relaxed);
        self.since.store(since, Ordering::Relaxed);
        self.turn.store(turn + 2, Ordering::Release);
    }
}

impl Watch {
    /// The page of a thread that begins.
    pub fn enter(&self, role: Role, number: usize, identity: usize) -> Arc<Thread> {
        let name = match role {
            Role::Pool => format!("task-{number}"),
            Role::Lane => format!("endpoint-{number}"),
        };
        let thread = Arc::new(Thread {
            turn: AtomicU64::new(0),
            what: AtomicU64::new(0),
            op: AtomicU64::new(0),
            since: AtomicU64::new(0),
            attaching: AtomicU64::new(0),
            wait: Histogram::default(),
            run: Histogram::default(),
            attach: Histogram::default(),
            name,
            role,
            identity,
        });
        lock(&self.threads).push(Arc::clone(&thread));
        thread
    }

    /// All threads that have begun.
    pub fn threads(&self) -> Vec<Arc<Thread>> {
        lock(&self.threads).clone()
    }

    /// A piece begins on the event loop; the number is for its end.
    pub fn begin_on_loop(&self, kind: PieceKind, id: u32, op: u64) -> usize {
        lock(self.list(kind)).insert(Piece { kind, id, op, since_ns: now_ns() })
    }

    /// A task begins on the event loop that was free to run since `flushed_ns`.
    pub fn begin_task_on_loop(&self, id: u16, op: u64, flushed_ns: u64) -> usize {
        self.loop_wait.observe(now_ns().saturating_sub(flushed_ns));
        self.begin_on_loop(PieceKind::Task, u32::from(id), op)
    }

    /// A piece on the event loop ends.
    pub fn end_on_loop(&self, kind: PieceKind, number: usize) {
        let ended = lock(self.list(kind)).remove(number);
        if let Some(Piece { kind: PieceKind::Task, since_ns, .. }) = ended {
            self.loop_run.observe(now_ns().saturating_sub(since_ns));
        }
    }

    /// At most `most` pieces of a kind that have begun on the event loop and not ended, oldest first.
    pub fn on_loop(&self, kind: PieceKind, most: usize) -> Vec<Piece> {
        lock(self.list(kind)).iter().take(most).copied().collect()
    }

    fn list(&self, kind: PieceKind) -> &Mutex<Ordered<Piece>> {
        match kind {
            PieceKind::Task => &self.tasks_on_loop,
            PieceKind::Endpoint => &self.endpoints_on_loop,
        }
    }

    /// One of the threads' histograms, added up over the threads of a role.
    pub fn sum(&self, role: Role, of: impl Fn(&Thread) -> &Histogram) -> Distribution {
        let mut all = Distribution::default();
        for thread in lock(&self.threads).iter().filter(|thread| thread.role == role) {
            of(thread).add_to(&mut all);
        }
        all
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Piece, PieceKind, Role, Watch};
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        thread,
    };

    #[test]
    fn a_thread_shows_what_it_runs_and_what_it_took() {
        let watch = Watch::default();
        let page = watch.enter(Role::Pool, 3, 77);
        assert_eq!((page.name.as_str(), page.piece()), ("task-3", None));
        page.begin_task(9, 5, 1);
        let seen = watch.threads()[0].piece().expect("a piece");
        assert_eq!((seen.kind, seen.id, seen.op), (PieceKind::Task, 9, 5));
        page.end_task();
        assert_eq!(page.piece(), None);
        assert_eq!(watch.sum(Role::Pool, |thread| &thread.run).count(), 1);
        assert_eq!(watch.sum(Role::Lane, |thread| &thread.run).count(), 0);
        assert!(watch.sum(Role::Pool, |thread| &thread.wait).sum_ns >= seen.since_ns - 1);
    }

    #[test]
    fn a_reader_never_sees_parts_of_two_pieces() {
        let watch = Watch::default();
        let page = watch.enter(Role::Lane, 0, 1);
        let stop = Arc::new(AtomicBool::new(false));
        let writer = {
            let (page, stop) = (Arc::clone(&page), Arc::clone(&stop));
            thread::spawn(move || {
                for number in (0_u32..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    page.begin(PieceKind::Endpoint, number, u64::from(number));
                    page.end();
                }
            })
        };
        for Piece { id, op, since_ns, .. } in (0..100_000).filter_map(|_| page.piece()) {
            assert_eq!(u64::from(id), op);
            assert!(since_ns > 0);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("no panic");
    }

    #[test]
    fn pieces_on_the_event_loop_are_listed_oldest_first_by_kind() {
        let watch = Watch::default();
        let first = watch.begin_task_on_loop(1, 11, 1);
        let endpoint = watch.begin_on_loop(PieceKind::Endpoint, 2, 12);
        watch.begin_task_on_loop(3, 13, 1);
        let tasks = |most| -> Vec<u64> { watch.on_loop(PieceKind::Task, most).iter().map(|piece| piece.op).collect() };
        assert_eq!((tasks(10), tasks(1)), (vec![11, 13], vec![11]));
        watch.end_on_loop(PieceKind::Task, first);
        assert_eq!((tasks(10), watch.on_loop(PieceKind::Endpoint, 10).len()), (vec![13], 1));
        watch.end_on_loop(PieceKind::Endpoint, endpoint);
        assert_eq!((tasks(10), watch.on_loop(PieceKind::Endpoint, 10).len()), (vec![13], 0));
        assert_eq!(watch.loop_run.distribution().count(), 1, "only tasks are timed");
    }
}
