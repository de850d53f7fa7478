//! The life of one task attempt, and who may move it.
//!
//! Two parties may want to end a task at the same moment: the thread that runs it, and the drain deadline that abandons it. One
//! compare-and-swap decides, so that a task is never counted as finished *and* abandoned.

use crate::sync::{AtomicU8, Ordering};

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const ENDED: u8 = 2;
const ABANDONED: u8 = 3;

/// What a task was doing when it was abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Was {
    /// It had not been started.
    Waiting,
    /// It was running; its thread may go on, but nothing it does counts any more.
    Running,
}

/// Waiting → running → ended, or abandoned from either of the first two.
#[derive(Debug)]
pub struct Life(AtomicU8);

impl Default for Life {
    fn default() -> Self {
        Self(AtomicU8::new(WAITING))
    }
}

impl Life {
    /// Claims the task for running. False: it was abandoned and must not be started.
    pub fn start(&self) -> bool {
        self.swap(WAITING, RUNNING)
    }

    /// Ends a running task. False: it was abandoned meanwhile, and its end must not be recorded.
    pub fn end(&self) -> bool {
        self.swap(RUNNING, ENDED)
    }

    /// Ends a task that will not be run. False: it was started or abandoned before.
    pub fn drop_waiting(&self) -> bool {
        self.swap(WAITING, ENDED)
    }

    /// Gives the task up. None: it had ended already.
    pub fn abandon(&self) -> Option<Was> {
        if self.swap(WAITING, ABANDONED) {
            return Some(Was::Waiting);
        }
        self.swap(RUNNING, ABANDONED).then_some(Was::Running)
    }

    fn swap(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Life, Was};

    #[test]
    fn a_task_that_ended_cannot_be_abandoned() {
        let life = Life::default();
        assert!(life.start() && life.end());
        assert_eq!(life.abandon(), None);
    }

    #[test]
    fn an_abandoned_task_is_neither_started_nor_ended() {
        let waiting = Life::default();
        assert_eq!(waiting.abandon(), Some(Was::Waiting));
        assert!(!waiting.start());
        let running = Life::default();
        assert!(running.start());
        assert_eq!(running.abandon(), Some(Was::Running));
        assert!(!running.end());
        assert_eq!(running.abandon(), None);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::Life;
    use loom::sync::Arc;

    #[test]
    fn running_to_the_end_and_abandoning_never_both_succeed() {
        loom::model(|| {
            let life = Arc::new(Life::default());
            let runner = {
                let life = Arc::clone(&life);
                loom::thread::spawn(move || life.start() && life.end())
            };
            let abandoned = life.abandon().is_some();
            let ended = runner.join().expect("the runner does not panic");
            assert!(ended != abandoned, "exactly one of the two ends the task");
        });
    }
}
