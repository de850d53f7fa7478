//! Background tasks as an endpoint sees them: `add_task`, before and after the response.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use afterload_core::ledger::{DropReason, Ledger, TaskKind};
use pyo3::{
    exceptions::{PyRuntimeError, PyTypeError},
    ffi, intern,
    prelude::*,
    types::{PyDict, PyFunction, PyTuple},
};

use crate::{
    chain::{Chain, Task},
    core::{Core, lock},
    policy::Policy,
};

const CO_COROUTINE: u32 = 0x80;
const KNOWN_CODES: usize = 4096;

/// A call that was added and not accepted yet.
struct Call {
    func: Py<PyAny>,
    args: Py<PyTuple>,
    kwargs: Option<Py<PyDict>>,
    context: Option<Py<PyAny>>,
    kind: TaskKind,
    name: u16,
}

/// A function seen before. Its code object is kept alive, so that the address by which it is known stays its own.
struct Known {
    _code: Py<PyAny>,
    kind: TaskKind,
    name: u16,
}

/// Functions seen before, by the address of their code object.
#[derive(Default)]
pub struct Functions(Mutex<HashMap<usize, Known>>);

/// The drain deadline has passed: nothing is accepted any more.
pub struct Sealed;

/// The list that is injected as `BackgroundTasks`.
#[pyclass(frozen, subclass, module = "server._native")]
#[derive(Default)]
pub struct TaskList {
    added: Mutex<Vec<Call>>,
    origin: OnceLock<(Arc<Core>, Arc<Functions>, Arc<Policy>)>,
    running: OnceLock<Arc<Chain>>,
    /// The request has been answered; set while `added` is locked.
    answered: AtomicBool,
}

#[pymethods]
impl TaskList {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    /// Adds a call that runs after the response has been sent, after the calls added before it.
    #[pyo3(signature = (func, *args, **kwargs))]
    fn add_task(
        slf: &Bound<'_, Self>,
        py: Python<'_>,
        func: Bound<'_, PyAny>,
        args: Bound<'_, PyTuple>,
        kwargs: Option<Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let this = slf.get();
        let Some((core, functions, policy)) = this.origin.get() else {
            // Of the user's own making: it becomes a request's when a response carries it, and is Starlette's list until then.
            let list = py.import(intern!(py, "starlette.background"))?.getattr(intern!(py, "BackgroundTasks"))?;
            let mut call = vec![slf.as_any().clone(), func];
            call.extend(args.iter());
            return list.call_method(intern!(py, "add_task"), PyTuple::new(py, call)?, kwargs.as_ref()).map(drop);
        };
        if !func.is_callable() {
            let message = format!("add_task() takes a callable first, then its arguments; got {}", func.repr()?);
            return Err(PyTypeError::new_err(message));
        }
        let (kind, name) = functions.look_up(core, &func)?;
        // SAFETY: attached; returns a new reference or null with an exception set.
        let context = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? };
        let is_empty = context.len()? == 0;
        let call = Call {
            func: func.unbind(),
            args: args.unbind(),
            kwargs: kwargs.map(Bound::unbind),
            context: (!is_empty).then(|| context.unbind()),
            kind,
            name,
        };
        let too_late = || PyRuntimeError::new_err("add_task() came too late: the tasks of this request have all ended");
        let stopping = || PyRuntimeError::new_err("add_task() came too late: the server is stopping and gives up what is left");
        let too_many = || PyRuntimeError::new_err("one request can add at most 65,536 tasks: a row numbers them with 16 bits");
        let mut added = lock(&this.added);
        if !this.answered.load(Ordering::Acquire) {
            if added.len() > usize::from(u16::MAX) {
                return Err(too_many());
            }
            added.push(call);
            return Ok(());
        }
        drop(added);
        let chain = this.running.get().ok_or_else(too_late)?;
        let index = chain.count_one().ok_or_else(too_many)?;
        let accept = |ledger: &Ledger, call: Call| {
            let entry = ledger.accept_for(policy.share(), chain.op, index, call.name, Some(call.kind));
            call.accepted(entry)
        };
        let Err(call) = core.while_open(|ledger| chain.append(ledger, call, accept)).ok_or_else(stopping)? else {
            return Ok(());
        };
        if !policy.parallel {
            return Err(too_late());
        }
        let late = core.admit(|ledger| {
            let task = accept(ledger, call);
            ledger.flushed(&task.entry, true);
            Chain::late(chain.op, task, Arc::clone(policy))
        });
        core.route(late.ok_or_else(stopping)?);
        Ok(())
    }

    /// True also while it is empty, as FastAPI's: `if background_tasks:` asks whether there is one.
    fn __bool__(&self) -> bool {
        true
    }

    fn __len__(&self) -> usize {
        lock(&self.added).len()
    }
}

impl TaskList {
    /// Ties the list to the server whose request it is injected into, and to the policy of its route.
    pub fn belongs_to(&self, core: &Arc<Core>, functions: &Arc<Functions>, policy: &Arc<Policy>) {
        let _known = self.origin.set((Arc::clone(core), Arc::clone(functions), Arc::clone(policy)));
    }

    /// Whether nothing waits to be accepted.
    pub fn is_empty(&self) -> bool {
        lock(&self.added).is_empty()
    }

    fn policy<'a>(&'a self, core: &'a Core) -> &'a Arc<Policy> {
        self.origin.get().map_or(&core.policy, |(_, _, policy)| policy)
    }

    /// Accepts what was added. None: nothing was. An error: the server has given up, and the request must not be acknowledged.
    /// `first` is the position of its first task among those of its request.
    pub fn accept(&self, core: &Core, op: u64, first: u16) -> Result<Option<Arc<Chain>>, Sealed> {
        // Held until the chain is known: whoever adds a task meanwhile finds it.
        let mut waiting = lock(&self.added);
        self.answered.store(true, Ordering::Release);
        let mut added = std::mem::take(&mut *waiting);
        if added.is_empty() {
            return Ok(None);
        }
        let policy = self.policy(core);
        let chain = core.admit(|ledger| {
            let tasks = (first..=u16::MAX)
                .zip(added.drain(..))
                .map(|(index, call)| {
                    let entry = ledger.accept_for(policy.share(), op, index, call.name, Some(call.kind));
                    call.accepted(entry)
                })
                .collect();
            Chain::new(op, usize::from(first), tasks, Arc::clone(policy))
        });
        if let Some(chain) = &chain {
            let _first = self.running.set(Arc::clone(chain));
        }
        // First the lock, then calls that were not admitted: dropping arguments runs Python code, which may come back here.
        drop(waiting);
        chain.map(Some).ok_or(Sealed)
    }

    /// Writes down what was added and will never run, because the endpoint raised. Returns the position of the request's next task.
    pub fn discard(&self, core: &Core, op: u64, first: u16) -> u16 {
        let added = {
            let mut waiting = lock(&self.added);
            self.answered.store(true, Ordering::Release);
            std::mem::take(&mut *waiting)
        };
        let mut next = first;
        for (index, call) in (first..=u16::MAX).zip(added) {
            next = index.saturating_add(1);
            core.while_open(|ledger| {
                let entry = ledger.accept(op, index, call.name, Some(call.kind));
                ledger.drop_waiting(&entry, DropReason::Discarded);
            });
        }
        next
    }
}

impl Call {
    fn accepted(self, entry: afterload_core::ledger::Entry) -> Task {
        let Self { func, args, kwargs, context, kind, name } = self;
        Task { func, args, kwargs, context, kind, name, entry }
    }
}

impl Functions {
    fn look_up(&self, core: &Core, func: &Bound<'_, PyAny>) -> PyResult<(TaskKind, u16)> {
        let py = func.py();
        let Ok(function) = func.cast_exact::<PyFunction>() else {
            return Ok((Self::ask(core, func)?, core.ledger.name(&name_of(func))));
        };
        let code = function.getattr(pyo3::intern!(py, "__code__"))?;
        // All functions that one decorator wrapped share its code, and a mark in the function's own dictionary can make a coroutine
        // function of it: such a function is looked at each time.
        let is_plain = function.getattr(pyo3::intern!(py, "__dict__"))?.cast::<PyDict>()?.is_empty()
            && function.getattr(pyo3::intern!(py, "__qualname__"))?.eq(code.getattr(pyo3::intern!(py, "co_qualname"))?)?;
        if !is_plain {
            return Ok((Self::ask(core, func)?, core.ledger.name(&name_of(func))));
        }
        let key = code.as_ptr() as usize;
        if let Some(known) = lock(&self.0).get(&key) {
            return Ok((known.kind, known.name));
        }
        let flags: u32 = code.getattr(pyo3::intern!(py, "co_flags"))?.extract()?;
        let kind = if flags & CO_COROUTINE != 0 { TaskKind::Async } else { Self::ask(core, func)? };
        let name = core.ledger.name(&name_of(func));
        let mut known = lock(&self.0);
        if known.len() < KNOWN_CODES {
            known.insert(key, Known { _code: code.unbind(), kind, name });
        }
        Ok((kind, name))
    }

    fn ask(core: &Core, func: &Bound<'_, PyAny>) -> PyResult<TaskKind> {
        let is_async = core.helpers.is_async.bind(func.py()).call1((func,))?.is_truthy()?;
        Ok(if is_async { TaskKind::Async } else { TaskKind::Def })
    }
}

/// What a person calls a callable: its name within its module (without the functions round it), a partial's function's, or the name
/// of its class.
pub fn name_of(func: &Bound<'_, PyAny>) -> String {
    let named = |object: &Bound<'_, PyAny>| object.getattr("__qualname__").and_then(|name| name.extract::<String>());
    let name = named(func)
        .or_else(|_| func.getattr("func").and_then(|inner| named(&inner)))
        .or_else(|_| named(func.get_type().as_any()))
        .unwrap_or_default();
    name.rsplit("<locals>.").next().unwrap_or_default().to_owned()
}
