//! What stands between Starlette and the app's code in the usual case. Whatever is unusual goes to the probe's Python code.

use pyo3::{Borrowed, intern, prelude::*, sync::PyOnceLock, types::PyDict, types::PyString, types::PyTuple};

use crate::builtin::{Builtin, Object, answer};
use crate::call::{Variable, call0, entry};
use crate::exchange::Exchange;
use crate::held::Held;
use crate::hot::object;
use crate::sheet::Sheet;
use crate::standin::{count, given, pass_on, stand_in};

mod noting;

static HOOKS: PyOnceLock<Py<Hooks>> = PyOnceLock::new();

/// The hooks of this interpreter. Made before anything that asks for them.
pub fn hooks(py: Python<'_>) -> PyResult<&Hooks> {
    match HOOKS.get(py) {
        Some(hooks) => Ok(hooks.get()),
        None => Err(pyo3::exceptions::PyRuntimeError::new_err("the accelerator has not begun")),
    }
}

/// What the hooks need of Python.
#[pyclass(frozen, module = "afterload_probe._accelerator")]
pub struct Hooks {
    /// The unit that runs.
    pub current: Variable,
    coroutine_type: Py<PyAny>,
    function_type: Py<PyAny>,
    /// `async def follow(awaitable): return await awaitable`
    pub follow: Py<PyAny>,
    trouble: Py<PyAny>,
    pub op_of: Py<PyAny>,
    pub no_scope: Py<PyAny>,
    pub sent_too_late: Py<PyAny>,
    /// Those of the apps: Starlette's own function, the slow way as a coroutine function, and what ends an exchange.
    app: PyOnceLock<[Py<PyAny>; 3]>,
    /// Of responses: the slow way.
    response: PyOnceLock<Py<PyAny>>,
    /// Of tasks: their class, the slow way to note that one was made, the slow way to call one, Starlette's own `__init__`.
    task: PyOnceLock<[Py<PyAny>; 4]>,
    /// What a request of this process needs.
    sheet: Held<Option<Py<Sheet>>>,
    /// `is_running` of the event loop that is known to be watched, and the thread in which it runs.
    is_running: Held<Option<Py<PyAny>>>,
    thread: Held<libc::pthread_t>,
    /// Names of messages as they came last: the app's own strings, nearly always the same.
    starts: Held<Option<Py<PyString>>>,
    bodies: Held<Option<Py<PyString>>>,
}

/// What an app sends.
#[derive(Clone, Copy, PartialEq)]
pub enum Message {
    Start,
    Body,
    Path,
    Other,
}

impl Hooks {
    /// Starlette's own function, the slow way, and what ends an exchange.
    pub fn app(&self, py: Python<'_>) -> PyResult<&[Py<PyAny>; 3]> {
        self.app.get(py).ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the app is not hooked"))
    }

    fn tasks(&self, py: Python<'_>) -> PyResult<&[Py<PyAny>; 4]> {
        self.task.get(py).ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("tasks are not hooked"))
    }

    /// The slow way to call a task.
    pub fn slow_task(&self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        Ok(&self.tasks(py)?[2])
    }

    /// Whether a request that begins now is a usual one: not within another, and in a loop that is watched.
    ///
    /// The loop that runs in this thread could be asked for, but asyncio asks the kernel for the process's number to tell.
    pub fn is_usual(&self, py: Python<'_>, scope: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(is_running) = self.is_running.lend(py) else { return Ok(false) };
        Ok(is_http(scope)?
            && self.thread.get(py) == this_thread()
            && self.current.get(py)?.is_none()
            && call0(&is_running)?.is_truthy()?)
    }

    /// What kind of message has that name.
    pub fn message(&self, kind: Borrowed<'_, '_, PyAny>) -> PyResult<Message> {
        let py = kind.py();
        if self.starts.is(py, &kind) {
            return Ok(Message::Start);
        }
        if self.bodies.is(py, &kind) {
            return Ok(Message::Body);
        }
        let Ok(kind) = kind.cast::<PyString>() else { return Ok(Message::Other) };
        let (found, last) = match kind.to_str()? {
            "http.response.start" => (Message::Start, &self.starts),
            "http.response.body" => (Message::Body, &self.bodies),
            "http.response.pathsend" => return Ok(Message::Path),
            _ => return Ok(Message::Other),
        };
        last.set(py, Some(kind.to_owned().unbind()));
        Ok(found)
    }

    pub fn is_coroutine(&self, object: &Bound<'_, PyAny>) -> bool {
        object.get_type_ptr().cast() == self.coroutine_type.as_ptr()
    }

    pub fn is_function(&self, object: &Bound<'_, PyAny>) -> bool {
        object.get_type_ptr().cast() == self.function_type.as_ptr()
    }

    /// Notes an error of our own, once for each place; the app goes on.
    pub fn trouble(&self, py: Python<'_>, place: &str, error: &PyErr) {
        if let Err(error) = self.trouble.bind(py).call1((place, error.value(py))) {
            error.write_unraisable(py, None);
        }
    }
}

fn this_thread() -> libc::pthread_t {
    // SAFETY: it has no conditions.
    unsafe { libc::pthread_self() }
}

fn is_http(scope: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = scope.py();
    let Ok(scope) = scope.cast_exact::<PyDict>() else { return Ok(false) };
    let Some(kind) = entry(scope, intern!(py, "type"))? else { return Ok(false) };
    if kind.is(intern!(py, "http")) {
        return Ok(true);
    }
    Ok(kind.cast_exact::<PyString>().is_ok_and(|kind| kind.to_str().is_ok_and(|kind| kind == "http")))
}

#[pymethods]
impl Hooks {
    #[new]
    #[pyo3(signature = (*, current, coroutine_type, function_type, follow, trouble, op_of, no_scope, sent_too_late))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        current: Py<PyAny>,
        coroutine_type: Py<PyAny>,
        function_type: Py<PyAny>,
        follow: Py<PyAny>,
        trouble: Py<PyAny>,
        op_of: Py<PyAny>,
        no_scope: Py<PyAny>,
        sent_too_late: Py<PyAny>,
    ) -> PyResult<Py<Self>> {
        let made = Self {
            current: Variable::new(current),
            coroutine_type,
            function_type,
            follow,
            trouble,
            op_of,
            no_scope,
            sent_too_late,
            app: PyOnceLock::new(),
            response: PyOnceLock::new(),
            task: PyOnceLock::new(),
            sheet: Held::new(None),
            is_running: Held::new(None),
            thread: Held::new(0),
            starts: Held::new(None),
            bodies: Held::new(None),
        };
        Ok(HOOKS.get_or_try_init(py, || Py::new(py, made))?.clone_ref(py))
    }

    /// Gives what stands for `Starlette.__call__`: called as that is, it gives what is to be awaited.
    fn hook_app<'py>(
        slf: &Bound<'py, Self>,
        original: Py<PyAny>,
        slow: Py<PyAny>,
        leave: Py<PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = slf.get().app.set(slf.py(), [original, slow, leave]);
        stand_in(slf.py(), serve, &PyTuple::empty(slf.py()))
    }

    /// Gives what is asked for each response that is about to be sent. False: it belongs to no request that is known.
    fn hook_response<'py>(slf: &Bound<'py, Self>, begins: Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let _ = slf.get().response.set(slf.py(), begins);
        BEGINS.bound_to(slf)
    }

    /// Gives what stands for `__call__` of a class of responses: it calls that, or `alone` if the response belongs to no request that
    /// is known. `slow` does the same, and is called where the arguments are unusual.
    #[staticmethod]
    fn stand_for_response<'py>(
        py: Python<'py>,
        original: Py<PyAny>,
        alone: Py<PyAny>,
        slow: Py<PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        stand_in(py, respond, &PyTuple::new(py, [original, alone, slow])?)
    }

    /// Gives what stands for `BackgroundTask.__init__`, and for its `__call__`: called as that is, it gives what is to be awaited.
    fn hook_task<'py>(
        slf: &Bound<'py, Self>,
        class: Py<PyAny>,
        made: Py<PyAny>,
        slow: Py<PyAny>,
        init: Py<PyAny>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let _ = slf.get().task.set(slf.py(), [class, made, slow, init]);
        let nothing = PyTuple::empty(slf.py());
        Ok((stand_in(slf.py(), make, &nothing)?, stand_in(slf.py(), run, &nothing)?))
    }

    /// Requests of this process are written there, if they come in this loop, which runs in this thread. None: no loop is known, as
    /// after a fork.
    #[pyo3(signature = (sheet, running))]
    fn bind(&self, py: Python<'_>, sheet: Option<Py<Sheet>>, running: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.sheet.set(py, sheet);
        self.is_running.set(py, None);
        self.thread.set(py, this_thread());
        if let Some(running) = running {
            self.is_running.set(py, Some(running.getattr(intern!(py, "is_running"))?.unbind()));
        }
        Ok(())
    }
}

static BEGINS: Builtin = Builtin::of_one(c"begins", begins);

unsafe extern "C" fn serve(_: Object, arguments: *const Object, n: usize, names: Object) -> Object {
    // SAFETY: Python calls, with as many live objects as it says.
    unsafe {
        answer(|py| {
            let hooks = hooks(py)?;
            if count(n) == 4
                && names.is_null()
                && hooks.is_running.is_some(py)
                && let Some(sheet) = hooks.sheet.copy(py)
            {
                let given = |index| Borrowed::from_ptr(py, *arguments.add(index));
                return Ok(object(py, Exchange::call(sheet, &given(0), &given(1), &given(2), &given(3)))?.into_any());
            }
            pass_on(hooks.app(py)?[1].bind(py), arguments, n, names)
        })
    }
}

unsafe extern "C" fn respond(this: Object, arguments: *const Object, n: usize, names: Object) -> Object {
    // SAFETY: Python calls, with as many live objects as it says; it was given three.
    unsafe {
        answer(|py| {
            let which = if count(n) != 4 || !names.is_null() {
                2
            } else if note(py, &Borrowed::from_ptr(py, *arguments))? {
                0
            } else {
                1
            };
            pass_on(&given(py, this, which), arguments, n, names)
        })
    }
}

unsafe extern "C" fn begins(_: Object, response: Object) -> Object {
    // SAFETY: Python calls, with a live object.
    unsafe {
        answer(|py| {
            let is_known = note(py, &Borrowed::from_ptr(py, response))?;
            Ok(is_known.into_pyobject(py)?.to_owned().into_any())
        })
    }
}

fn note(py: Python<'_>, response: &Bound<'_, PyAny>) -> PyResult<bool> {
    let hooks = hooks(py)?;
    Ok(hooks.note_response(response).unwrap_or_else(|error| {
        hooks.trouble(py, "a response", &error);
        true
    }))
}

unsafe extern "C" fn run(_: Object, arguments: *const Object, n: usize, names: Object) -> Object {
    // SAFETY: as above.
    unsafe {
        answer(|py| {
            let hooks = hooks(py)?;
            if count(n) == 1 && names.is_null() {
                match hooks.next_row(&Borrowed::from_ptr(py, *arguments)) {
                    Ok(Some(row)) => return Ok(row.into_any()),
                    Ok(None) => {}
                    Err(error) => hooks.trouble(py, "a call of a task", &error),
                }
            }
            pass_on(hooks.slow_task(py)?.bind(py), arguments, n, names)
        })
    }
}

unsafe extern "C" fn make(_: Object, arguments: *const Object, n: usize, names: Object) -> Object {
    // SAFETY: as above.
    unsafe {
        answer(|py| {
            let hooks = hooks(py)?;
            let made = pass_on(hooks.tasks(py)?[3].bind(py), arguments, n, names)?;
            let func = match count(n) {
                0 => return Ok(made),
                1 if names.is_null() => return Ok(made),
                1 => named(Borrowed::from_ptr(py, names).cast_exact::<PyTuple>()?, arguments.add(1))?,
                _ => Some(Borrowed::from_ptr(py, *arguments.add(1))),
            };
            if let Some(func) = func
                && let Err(error) = hooks.note_made(&Borrowed::from_ptr(py, *arguments), &func)
            {
                hooks.trouble(py, "a new task", &error);
            }
            Ok(made)
        })
    }
}

/// The argument whose name is `func`.
///
/// # Safety
/// There is a live object for each name.
unsafe fn named<'a, 'py>(
    names: Borrowed<'_, 'py, PyTuple>,
    arguments: *const Object,
) -> PyResult<Option<Borrowed<'a, 'py, PyAny>>> {
    let py = names.py();
    for (index, name) in names.iter().enumerate() {
        if name.eq(intern!(py, "func"))? {
            // SAFETY: so says the caller.
            return Ok(Some(unsafe { Borrowed::from_ptr(py, *arguments.add(index)) }));
        }
    }
    Ok(None)
}
