//! The tasks of one request, in the order in which they were added.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
};

use afterload_core::ledger::{DropReason, Entry, Ledger, TaskKind};
use pyo3::{
    ffi,
    prelude::*,
    types::{PyDict, PyTuple},
};

use crate::{core::lock, exchange::EndBell, panics::caught, policy::Policy};

/// One call that was added.
pub struct Task {
    pub func: Py<PyAny>,
    pub args: Py<PyTuple>,
    pub kwargs: Option<Py<PyDict>>,
    /// A copy of the context variables at `add_task`. None: there were none, and an empty context is made when the task runs, because a
    /// million tasks may wait.
    pub context: Option<Py<PyAny>>,
    pub kind: TaskKind,
    /// Id of the function's name in the row file.
    pub name: u16,
    pub entry: Entry,
}

impl Task {
    /// Calls a `def` function in its context.
    pub fn call<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let kwargs = self.kwargs.as_ref().map(|kwargs| kwargs.bind(py));
        let context = self.context_of_its_own(py)?;
        // SAFETY: attached; `context` is a contextvars.Context of its own, entered nowhere else.
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
            return Err(PyErr::fetch(py));
        }
        // The context is left on every way out, or this thread's later tasks would run in it.
        let result = caught(|| self.func.bind(py).call(self.args.bind(py), kwargs));
        // SAFETY: entered above on this very thread. Exiting keeps the error of the call, which is held in `result`.
        if unsafe { ffi::PyContext_Exit(context.as_ptr()) } < 0 {
            return Err(PyErr::fetch(py));
        }
        result
    }

    fn context_of_its_own<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.context {
            Some(context) => Ok(context.bind(py).clone()),
            // SAFETY: attached; returns a new reference or null with an exception set.
            None => unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_New()) },
        }
    }
}

struct State {
    waiting: VecDeque<Arc<Task>>,
    /// The task taken last: it may be running. An earlier one has ended and been let go of, with its arguments.
    taken: Option<Arc<Task>>,
    /// Tasks that this request has added so far, also where they were taken apart.
    added: usize,
    flushed: bool,
    ended: bool,
    /// Of an ASGI request: tells its app when the last task has ended.
    bell: Option<Arc<EndBell>>,
}

impl State {
    fn drop_waiting(&mut self, ledger: &Ledger, reason: DropReason) -> VecDeque<Arc<Task>> {
        for task in &self.waiting {
            ledger.drop_waiting(&task.entry, reason);
        }
        std::mem::take(&mut self.waiting)
    }
}

/// The accepted tasks of one request. Owned by the thread or queue that will run the next one, and by the registry.
pub struct Chain {
    pub op: u64,
    /// Place in the registry.
    pub number: usize,
    /// What must have happened before the tasks may run: the response has left and, of an ASGI app, the app has called for its tasks.
    gates: AtomicU8,
    pub policy: Arc<Policy>,
    state: Mutex<State>,
}

impl Chain {
    /// `before`: how many tasks of the request were numbered before these.
    pub fn new(op: u64, before: usize, tasks: Vec<Task>, policy: Arc<Policy>) -> Self {
        let added = before + tasks.len();
        Self::of(op, tasks.into_iter().map(Arc::new).collect(), added, false, policy)
    }

    /// A task that was added after the chain of its request had been taken apart, and may run at once.
    pub fn late(op: u64, task: Task, policy: Arc<Policy>) -> Self {
        Self::of(op, VecDeque::from([Arc::new(task)]), 1, true, policy)
    }

    fn of(op: u64, waiting: VecDeque<Arc<Task>>, added: usize, flushed: bool, policy: Arc<Policy>) -> Self {
        let state = State { waiting, taken: None, added, flushed, ended: false, bell: None };
        Self { op, number: usize::MAX, gates: AtomicU8::new(1), policy, state: Mutex::new(state) }
    }

    /// Lets the bell ring when the last of these tasks has ended.
    pub fn hang_bell(&self, bell: EndBell) {
        lock(&self.state).bell = Some(Arc::new(bell));
    }

    /// The chain has ended.
    pub fn let_go_of_bell(&self) {
        let bell = lock(&self.state).bell.take();
        // Not under the lock: it rings.
        drop(bell);
    }

    /// Adds a gate, before the response is on its way.
    pub fn add_gate(&self) {
        self.gates.fetch_add(1, Ordering::AcqRel);
    }

    /// Opens one of the gates. True: it was the last one, and the tasks may run.
    pub fn open_gate(&self) -> bool {
        self.gates.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Appends a task that was added after the response. The call comes back if the chain has run to its end or was taken apart.
    pub fn append<C>(&self, ledger: &Ledger, call: C, build: impl FnOnce(&Ledger, C) -> Task) -> Result<(), C> {
        let mut state = lock(&self.state);
        if state.ended {
            return Err(call);
        }
        let task = build(ledger, call);
        if state.flushed {
            ledger.flushed(&task.entry, true);
        }
        state.waiting.push_back(Arc::new(task));
        Ok(())
    }

    /// The position of one more task of this request. None: there are as many as a row can number.
    pub fn count_one(&self) -> Option<u16> {
        let mut state = lock(&self.state);
        let index = u16::try_from(state.added).ok()?;
        state.added += 1;
        Some(index)
    }

    /// How many tasks of its request have been numbered.
    pub fn count(&self) -> u16 {
        u16::try_from(lock(&self.state).added).unwrap_or(u16::MAX)
    }

    /// Marks all tasks as free to run: the response has left, `whole` or not.
    pub fn flushed(&self, ledger: &Ledger, whole: bool) {
        let mut state = lock(&self.state);
        state.flushed = true;
        for task in &state.waiting {
            ledger.flushed(&task.entry, whole);
        }
    }

    /// How the next task runs. None: there is none, and none can be added any more; then the chain lets go of its last task, which may
    /// hold the list that holds the chain.
    pub fn next_kind(&self) -> Option<TaskKind> {
        let mut state = lock(&self.state);
        let next = state.waiting.front().map(|task| task.kind);
        state.ended |= next.is_none();
        let done = state.taken.take();
        drop(state);
        // Not under the lock: letting go of arguments may run Python code.
        drop(done);
        next
    }

    /// Takes the next task if it is of `kind`.
    pub fn take(&self, kind: TaskKind) -> Option<Arc<Task>> {
        let mut state = lock(&self.state);
        let task = state.waiting.front().is_some_and(|task| task.kind == kind).then(|| state.waiting.pop_front()).flatten()?;
        let done = state.taken.replace(Arc::clone(&task));
        drop(state);
        // As above.
        drop(done);
        Some(task)
    }

    /// The next task's context, in which its event-loop task is made.
    pub fn context<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let next = lock(&self.state).waiting.front().map(Arc::clone);
        next.map(|task| task.context_of_its_own(py)).transpose()
    }

    /// When the next task was accepted. None: all have been taken.
    pub fn oldest_queued(&self) -> Option<u64> {
        lock(&self.state).waiting.front().map(|task| task.entry.accepted_ns())
    }

    /// When the task that was taken last was accepted.
    pub fn last_accepted(&self) -> Option<u64> {
        lock(&self.state).taken.as_ref().map(|task| task.entry.accepted_ns())
    }

    /// Drops every task that has not been taken, because an earlier one raised.
    pub fn skip_rest(&self, ledger: &Ledger) {
        let mut state = lock(&self.state);
        let skipped = state.drop_waiting(ledger, DropReason::Skipped);
        drop(state);
        // As above.
        drop(skipped);
    }

    /// Drops every task of an answer whose app never called for them; none can be added any more. They are to be let go of where no lock
    /// is held.
    #[must_use]
    pub fn discard(&self, ledger: &Ledger) -> VecDeque<Arc<Task>> {
        let mut state = lock(&self.state);
        state.ended = true;
        state.drop_waiting(ledger, DropReason::Discarded)
    }

    /// All tasks that have not ended, for the drain deadline.
    pub fn tasks(&self) -> Vec<Arc<Task>> {
        let state = lock(&self.state);
        state.taken.iter().chain(&state.waiting).map(Arc::clone).collect()
    }

    /// Lets go of all tasks, which have been given up; one that runs is held by who runs it.
    pub fn clear(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        let given_up = (state.taken.take(), std::mem::take(&mut state.waiting));
        drop(state);
        // As above.
        drop(given_up);
    }

    /// One chain a task; this chain is left without any.
    pub fn take_apart(&self) -> Vec<Self> {
        let mut state = lock(&self.state);
        state.ended = true;
        let tasks = std::mem::take(&mut state.waiting);
        let bell = state.bell.take();
        let single = |task| {
            let chain = Self::of(self.op, VecDeque::from([task]), 1, true, Arc::clone(&self.policy));
            lock(&chain.state).bell.clone_from(&bell);
            chain
        };
        tasks.into_iter().map(single).collect()
    }
}
