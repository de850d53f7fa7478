//! Work waiting for one of a changeable number of threads, first in, first out.
//!
//! Unbounded by itself: admission is decided before work gets here. After `close` nothing more is handed out, and what was left can be
//! taken back with `take_rest`, so that nothing disappears with the queue.

use std::collections::VecDeque;

use crate::sync::{Condvar, Mutex, lock};

struct State<T> {
    waiting: VecDeque<T>,
    idle: usize,
    limit: usize,
    closed: bool,
}

/// A queue whose consumers are numbered from zero; those with a number at or above the limit sleep.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

impl<T> Queue<T> {
    /// A queue for `limit` consumers at first.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let state = State { waiting: VecDeque::new(), idle: 0, limit, closed: false };
        Self { state: Mutex::new(state), wake: Condvar::new() }
    }

    /// Adds work at the end. Returns how much work is waiting beyond the consumers that are idle: not zero means that it will have to wait.
    pub fn push(&self, work: T) -> usize {
        let mut state = lock(&self.state);
        state.waiting.push_back(work);
        let short = state.waiting.len().saturating_sub(state.idle);
        drop(state);
        self.wake.notify_one();
        short
    }

    /// The next work, if there is some right now.
    pub fn try_pop(&self, consumer: usize) -> Option<T> {
        let mut state = lock(&self.state);
        if state.closed || consumer >= state.limit {
            return None;
        }
        state.waiting.pop_front()
    }

    /// Waits for work. None: the queue is closed and the consumer should end.
    pub fn pop(&self, consumer: usize) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if consumer < state.limit {
                if let Some(work) = state.waiting.pop_front() {
                    return Some(work);
                }
                state.idle += 1;
                state = self.wait(state);
                state.idle -= 1;
            } else {
                // A retired consumer took a wake-up that was meant for another one: pass it on.
                if !state.waiting.is_empty() && state.idle > 0 {
                    self.wake.notify_one();
                }
                state = self.wait(state);
            }
        }
    }

    /// Changes the number of consumers that may take work; those above it finish what they have and sleep.
    pub fn set_limit(&self, limit: usize) {
        lock(&self.state).limit = limit;
        self.wake.notify_all();
    }

    /// How much work waits.
    pub fn len(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// Whether no work waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands out nothing more and ends every consumer.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.wake.notify_all();
    }

    /// Takes back what nobody had begun.
    pub fn take_rest(&self) -> Vec<T> {
        lock(&self.state).waiting.drain(..).collect()
    }

    fn wait<'a>(&self, state: crate::sync::MutexGuard<'a, State<T>>) -> crate::sync::MutexGuard<'a, State<T>> {
        match self.wake.wait(state) {
            Ok(state) => state,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Queue;
    use std::{sync::Arc, thread, time::Duration};

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
}

#[cfg(all(test, loom))]
mod models {
    use super::Queue;
    use loom::sync::Arc;

    #[test]
    fn work_is_handed_out_once_even_beside_a_retired_consumer() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(1));
            let active = {
                let queue = Arc::clone(&queue);
                loom::thread::spawn(move || queue.pop(0))
            };
            let retired = {
                let queue = Arc::clone(&queue);
                loom::thread::spawn(move || queue.pop(1))
            };
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
            let consumer = {
                let queue = Arc::clone(&queue);
                loom::thread::spawn(move || queue.pop(0))
            };
            queue.push(1);
            queue.close();
            let taken = consumer.join().expect("no panic");
            let rest = queue.take_rest();
            assert_eq!(taken.into_iter().chain(rest).collect::<Vec<_>>(), [1]);
        });
    }
}
