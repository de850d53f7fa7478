//! Work waiting for one of a changeable number of threads, first in, first out.
//!
//! Unbounded by itself: admission is decided before work gets here. After `close` nothing more is handed out, and what was left can be
//! taken back with `take_rest`, so that nothing disappears with the queue.
//!
//! Wake-ups are called one at a time: while one consumer has been called and has not come to take work, nobody else is. Whoever takes
//! work and leaves some behind calls the next before it begins with its own. So a burst does not wake forty threads at once, which would all
//! queue for the interpreter; a lone task costs one wake-up; and a task that blocks delays none behind it. The consumer that fell asleep
//! last is called first: its stack and caches are warm, and the others can stay swapped out.

use std::{collections::VecDeque, mem, sync::Arc};

use crate::sync::{Condvar, Mutex, MutexGuard, lock};

/// Where one consumer sleeps.
struct Seat {
    bell: Arc<Condvar>,
    /// Its number is among the sleepers.
    listed: bool,
}

struct State<T> {
    waiting: VecDeque<T>,
    seats: Vec<Seat>,
    /// Consumers below the limit that can be called, the last one first.
    sleepers: Vec<usize>,
    /// The consumer that was called and has not come yet. It looks after all work that is waiting.
    called: Option<usize>,
    limit: usize,
    closed: bool,
}

impl<T> State<T> {
    /// The bell of the consumer to wake, if work waits and nobody has been called for it.
    fn call(&mut self) -> Option<Arc<Condvar>> {
        if self.called.is_some() || self.waiting.is_empty() {
            return None;
        }
        let next = self.sleepers.pop()?;
        self.called = Some(next);
        let seat = &mut self.seats[next];
        seat.listed = false;
        Some(Arc::clone(&seat.bell))
    }

    /// Wakes every consumer, to look at a state that has changed for all of them.
    fn rouse(&mut self) {
        self.sleepers.clear();
        for seat in &mut self.seats {
            seat.listed = false;
            seat.bell.notify_one();
        }
    }

    fn seat(&mut self, consumer: usize) -> &mut Seat {
        while self.seats.len() <= consumer {
            self.seats.push(Seat { bell: Arc::new(Condvar::new()), listed: false });
        }
        &mut self.seats[consumer]
    }
}

/// A queue whose consumers are numbered from zero; those with a number at or above the limit sleep.
pub struct Queue<T>(Mutex<State<T>>);

impl<T> Queue<T> {
    /// A queue for `limit` consumers at first.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Mutex::new(State {
            waiting: VecDeque::new(),
            seats: Vec::new(),
            sleepers: Vec::new(),
            called: None,
            limit,
            closed: false,
        }))
    }

    /// Adds work at the end. Returns how much work is waiting beyond the consumers that are free: not zero means that it will have to wait.
    pub fn push(&self, work: T) -> usize {
        self.push_all([work])
    }

    /// As `push`, for several pieces with one call.
    pub fn push_all(&self, work: impl IntoIterator<Item = T>) -> usize {
        let mut state = lock(&self.0);
        state.waiting.extend(work);
        let free = state.sleepers.len() + usize::from(state.called.is_some());
        let short = state.waiting.len().saturating_sub(free);
        let bell = state.call();
        drop(state);
        ring(bell);
        short
    }

    /// The next work, if there is some right now. If more is left, the next consumer has been called when this returns.
    pub fn try_pop(&self, consumer: usize) -> Option<T> {
        let mut state = lock(&self.0);
        if state.called == Some(consumer) {
            state.called = None;
        }
        if state.closed {
            return None;
        }
        // A consumer that was called and has been retired meanwhile takes nothing, but still calls the next.
        let work = if consumer < state.limit { state.waiting.pop_front() } else { None };
        let bell = state.call();
        drop(state);
        ring(bell);
        work
    }

    /// Sleeps until it is worth while to try again; whoever returns must then call [`Self::try_pop`], because nobody else is
    /// called before. False: the queue is closed and the consumer should end.
    ///
    /// Apart from `try_pop` so that a consumer can first get what it needs to work (the interpreter), and the work stays in the
    /// queue, for anybody who is quicker, until it has it.
    pub fn wait(&self, consumer: usize) -> bool {
        let mut state = lock(&self.0);
        loop {
            if state.closed {
                return false;
            }
            if state.called == Some(consumer) {
                return true;
            }
            if consumer < state.limit {
                if !state.waiting.is_empty() && state.called.is_none() {
                    // Whoever could be called was not asleep, this consumer included: he would have been called.
                    debug_assert!(state.sleepers.is_empty());
                    state.called = Some(consumer);
                    return true;
                }
                if !mem::replace(&mut state.seat(consumer).listed, true) {
                    state.sleepers.push(consumer);
                }
            }
            let bell = Arc::clone(&state.seat(consumer).bell);
            state = wait(&bell, state);
        }
    }

    /// Waits for work. None: the queue is closed and the consumer should end.
    pub fn pop(&self, consumer: usize) -> Option<T> {
        loop {
            if let Some(work) = self.try_pop(consumer) {
                return Some(work);
            }
            if !self.wait(consumer) {
                return None;
            }
        }
    }

    /// Changes the number of consumers that may take work; those above it finish what they have and sleep.
    pub fn set_limit(&self, limit: usize) {
        let mut state = lock(&self.0);
        state.limit = limit;
        state.rouse();
    }

    /// How much work waits.
    pub fn len(&self) -> usize {
        lock(&self.0).waiting.len()
    }

    /// Whether no work waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether work waits and no consumer is free to take it. One that has been called is free, even if it is waiting for something else.
    pub fn is_stuck(&self) -> bool {
        let state = lock(&self.0);
        !state.waiting.is_empty() && state.called.is_none() && state.sleepers.is_empty()
    }

    /// Hands out nothing more and ends every consumer.
    pub fn close(&self) {
        let mut state = lock(&self.0);
        state.closed = true;
        state.rouse();
    }

    /// Takes back what nobody had begun.
    pub fn take_rest(&self) -> Vec<T> {
        lock(&self.0).waiting.drain(..).collect()
    }
}

fn ring(bell: Option<Arc<Condvar>>) {
    if let Some(bell) = bell {
        bell.notify_one();
    }
}

fn wait<'a, T>(bell: &Condvar, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
    match bell.wait(state) {
        Ok(state) => state,
        Err(poisoned) => poisoned.into_inner(),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Queue;
    use std::{
        sync::{Arc, mpsc},
        thread,
        time::{Duration, Instant},
    };

    const LONG: Duration = Duration::from_secs(20);

    /// Waits for what another thread is about to bring about.
    fn until(holds: impl Fn() -> bool) {
        let end = Instant::now() + LONG;
        while !holds() {
            assert!(Instant::now() < end, "did not come about");
            thread::yield_now();
        }
    }

    fn sleepers<T>(queue: &Queue<T>) -> usize {
        crate::sync::lock(&queue.0).sleepers.len()
    }

    #[test]
    fn work_comes_out_in_the_order_in_which_it_went_in() {
        let queue = Queue::new(1);
        for number in 0..100 {
            queue.push(number);
        }
        let out: Vec<i32> = std::iter::from_fn(|| queue.try_pop(0)).collect();
        assert_eq!(out, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_closed_queue_gives_back_what_nobody_began() {
        let queue = Queue::new(1);
        queue.push("a");
        queue.push("b");
        queue.close();
        assert_eq!(queue.pop(0), None);
        assert_eq!(queue.take_rest(), ["a", "b"]);
    }

    #[test]
    fn a_consumer_above_the_limit_gets_nothing_until_the_limit_rises() {
        let queue = Arc::new(Queue::new(1));
        let consumer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.pop(1))
        };
        queue.push(7);
        thread::sleep(Duration::from_millis(50));
        assert!(!consumer.is_finished());
        queue.set_limit(2);
        assert_eq!(consumer.join().expect("no panic"), Some(7));
    }

    #[test]
    fn push_tells_how_much_work_has_to_wait() {
        let queue = Queue::new(4);
        assert_eq!(queue.push(()), 1);
        assert_eq!(queue.push(()), 2);
    }

    #[test]
    fn work_that_blocks_does_not_hold_up_the_work_behind_it() {
        let queue = Arc::new(Queue::new(3));
        let (begun, begins) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let consumers: Vec<_> = (0..3)
            .map(|number| {
                let (queue, begun, held) = (Arc::clone(&queue), begun.clone(), Arc::clone(&held));
                thread::spawn(move || {
                    while let Some(work) = queue.pop(number) {
                        begun.send(work).expect("somebody listens");
                        let _all_wait_here = held.lock().expect("no panic").recv();
                    }
                })
            })
            .collect();
        until(|| sleepers(&queue) == 3);
        for number in 0..3 {
            queue.push(number);
        }
        let mut seen: Vec<i32> = (0..3).map(|_| begins.recv_timeout(LONG).expect("all begin while none has ended")).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
        drop(release);
        queue.close();
        for consumer in consumers {
            consumer.join().expect("no panic");
        }
    }

    #[test]
    fn one_consumer_at_a_time_is_called_and_the_last_to_sleep_first() {
        let queue = Arc::new(Queue::new(2));
        let (woken, wakes) = mpsc::channel();
        let mut consumers = Vec::new();
        for number in 0..2 {
            let (queue_, woken) = (Arc::clone(&queue), woken.clone());
            consumers.push(thread::spawn(move || {
                let open = queue_.wait(number);
                woken.send(number).expect("somebody listens");
                open
            }));
            until(|| sleepers(&queue) == number + 1);
        }
        queue.push("a");
        queue.push("b");
        assert_eq!(wakes.recv_timeout(LONG), Ok(1));
        assert!(!queue.is_stuck(), "one has been called");
        assert_eq!(wakes.recv_timeout(Duration::from_millis(50)), Err(mpsc::RecvTimeoutError::Timeout));
        assert_eq!(queue.try_pop(1), Some("a"), "and calls the other, for what is left");
        assert_eq!(wakes.recv_timeout(LONG), Ok(0));
        assert_eq!(queue.try_pop(0), Some("b"));
        for consumer in consumers {
            assert!(consumer.join().expect("no panic"));
        }
    }

    #[test]
    fn work_without_a_free_consumer_is_stuck() {
        let queue = Queue::new(1);
        assert!(!queue.is_stuck());
        queue.push(());
        assert!(queue.is_stuck());
        assert!(queue.wait(0), "does not sleep on work");
        assert!(!queue.is_stuck());
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::Queue;
    use loom::{sync::Arc, thread};

    /// A thread that takes one piece of work.
    fn taker(queue: &Arc<Queue<i32>>, consumer: usize) -> thread::JoinHandle<Option<i32>> {
        let queue = Arc::clone(queue);
        thread::spawn(move || queue.pop(consumer))
    }

    #[test]
    fn work_is_handed_out_once_even_beside_a_retired_consumer() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(1));
            let active = taker(&queue, 0);
            let retired = taker(&queue, 1);
            queue.push(1);
            assert_eq!(active.join().expect("no panic"), Some(1));
            queue.close();
            assert_eq!(retired.join().expect("no panic"), None);
        });
    }

    #[test]
    fn closing_loses_nothing() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(1));
            let consumer = taker(&queue, 0);
            queue.push(1);
            queue.close();
            let taken = consumer.join().expect("no panic");
            let rest = queue.take_rest();
            assert_eq!(taken.into_iter().chain(rest).collect::<Vec<_>>(), [1]);
        });
    }

    #[test]
    fn two_pieces_of_work_wake_two_consumers_though_only_one_is_called_by_a_push() {
        // Each takes one and never comes back, as if it blocked: whoever was called must have called the other.
        loom::model(|| {
            let queue = Arc::new(Queue::new(2));
            let takers = [taker(&queue, 0), taker(&queue, 1)];
            queue.push(1);
            queue.push(2);
            let mut taken = takers.map(|taker| taker.join().expect("no panic"));
            taken.sort_unstable();
            assert_eq!(taken, [Some(1), Some(2)]);
        });
    }

    #[test]
    fn two_producers_lose_no_wake_up() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(1));
            let producer = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.push(1))
            };
            let consumer = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || (queue.pop(0), queue.pop(0)))
            };
            queue.push(2);
            producer.join().expect("no panic");
            let (first, second) = consumer.join().expect("no panic");
            assert_eq!(first.into_iter().chain(second).sum::<i32>(), 3);
        });
    }

    #[test]
    fn a_consumer_that_is_retired_after_it_was_called_passes_the_call_on() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(2));
            let stays = taker(&queue, 0);
            let goes = taker(&queue, 1);
            queue.push(1);
            queue.set_limit(1);
            // If the one that goes was quicker, the one that stays still waits for work.
            let took = {
                queue.push(2);
                stays.join().expect("no panic")
            };
            assert!(took == Some(1) || took == Some(2));
            queue.close();
            let other = goes.join().expect("no panic");
            let rest: Vec<i32> = queue.take_rest();
            assert_eq!(took.into_iter().chain(other).chain(rest).sum::<i32>(), 3);
        });
    }

    #[test]
    fn a_limit_that_rises_frees_the_work_that_waited_for_it() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(0));
            let consumer = taker(&queue, 0);
            let raises = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.set_limit(1))
            };
            queue.push(1);
            assert_eq!(consumer.join().expect("no panic"), Some(1));
            raises.join().expect("no panic");
        });
    }

    #[test]
    fn a_consumer_that_looks_in_by_itself_leaves_the_called_one_nothing_to_miss() {
        // Between call and arrival somebody else may take the work, and more may be pushed.
        loom::model(|| {
            let queue = Arc::new(Queue::new(2));
            let sleeper = taker(&queue, 0);
            queue.push(1);
            let own = queue.try_pop(1);
            if own.is_some() {
                queue.push(2);
            }
            let other = sleeper.join().expect("no panic");
            assert!(matches!((own, other), (None, Some(1)) | (Some(1), Some(2))));
        });
    }
}
