//! Tasks that run longer than they may. A thread cannot be ended, so all that can be done is to count them and to say so.
//!
//! Only tasks with a time limit are entered here. One thread, without Python, looks at them ten times a second: nothing is armed for a
//! single task. It ends with the server.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use afterload_core::{
    clock::now_ns,
    ledger::{Gauge, TaskKind},
};
use slab::Slab;

use crate::{
    chain::{Chain, Task},
    core::{Core, lock},
};

/// Asked of the main thread: say which tasks have become overdue.
pub const TELL_OVERDUE: u8 = b'O';

const PERIOD: Duration = Duration::from_millis(100);
/// An `async def` task is cancelled at its limit; it is overdue if that has not ended it by then.
const CANCEL_GRACE: Duration = Duration::from_millis(500);

struct Running {
    task: Arc<Task>,
    op: u64,
    started_ns: u64,
    overdue_ns: u64,
    is_overdue: bool,
    is_told: bool,
}

#[derive(Default)]
struct State {
    running: Slab<Running>,
    closed: bool,
}

/// The running tasks that have a time limit.
#[derive(Default)]
pub struct Overdue {
    state: Mutex<State>,
    closing: Condvar,
}

/// A task that has become overdue.
pub struct Late {
    pub task: Arc<Task>,
    pub op: u64,
    pub age: Duration,
}

impl Overdue {
    /// Enters a task that has just been started. None: it has no time limit.
    pub fn begin(&self, chain: &Chain, task: &Arc<Task>) -> Option<usize> {
        let limit = match task.kind {
            TaskKind::Def => chain.policy.timeout?,
            TaskKind::Async => chain.policy.timeout? + CANCEL_GRACE,
        };
        let started_ns = now_ns();
        let overdue_ns = started_ns.saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
        let running = Running { task: Arc::clone(task), op: chain.op, started_ns, overdue_ns, is_overdue: false, is_told: false };
        Some(lock(&self.state).running.insert(running))
    }

    /// The task that was entered as `place` has ended.
    pub fn end(&self, core: &Core, place: Option<usize>) {
        let Some(place) = place else { return };
        let mut state = lock(&self.state);
        let ended = state.running.try_remove(place);
        if ended.as_ref().is_some_and(|ended| ended.is_overdue) {
            core.down(Gauge::Overdue);
        }
        drop(state);
        // Not under the lock: letting go of arguments may run Python code.
        drop(ended);
    }

    /// What has become overdue since the last call. A task that has ended meanwhile is not told of.
    pub fn untold(&self) -> Vec<Late> {
        let now = now_ns();
        let mut state = lock(&self.state);
        let new = state.running.iter_mut().filter(|(_, running)| running.is_overdue && !running.is_told);
        new.map(|(_, running)| {
            running.is_told = true;
            let age = Duration::from_nanos(now.saturating_sub(running.started_ns));
            Late { task: Arc::clone(&running.task), op: running.op, age }
        })
        .collect()
    }

    /// Ends the thread in [`Overdue::watch`].
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.closing.notify_all();
    }

    /// The life of the thread that looks for overdue tasks.
    pub fn watch(&self, core: &Core) {
        let mut state = lock(&self.state);
        while !state.closed {
            state = self.closing.wait_timeout(state, PERIOD).unwrap_or_else(PoisonError::into_inner).0;
            let now = now_ns();
            let mut untold = false;
            for (_, running) in &mut state.running {
                if !running.is_overdue && now >= running.overdue_ns {
                    running.is_overdue = true;
                    core.up(Gauge::Overdue);
                }
                untold |= running.is_overdue && !running.is_told;
            }
            if untold {
                // Again and again until it is heard: one byte may find the socket full.
                core.ask_main(TELL_OVERDUE);
            }
        }
    }
}
