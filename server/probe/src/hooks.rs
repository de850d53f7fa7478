//! What stands between Starlette and the app's code in the usual case. Whatever is unusual goes to the probe's Python code.

use pyo3::{intern, prelude::*, sync::PyOnceLock, types::PyDict, types::PyList, types::PyString};

use crate::call::{call0, call1, call4};
use crate::exchange::Exchange;
use crate::held::{Few, Held};
use crate::row::{ASYNC, DEF, MOST, TaskRow};
use crate::sheet::{Sheet, now, word};

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
    /// `current.get` and `current.set`
    pub get: Py<PyAny>,
    pub put: Py<PyAny>,
    running_loop: Py<PyAny>,
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
    /// Of tasks: their class, the slow way to note that one was made, the slow way to call one.
    task: PyOnceLock<[Py<PyAny>; 3]>,
    /// What a request of this process needs, and the event loop that is known to be watched.
    sheet: Held<Option<Py<Sheet>>>,
    running: Held<Option<Py<PyAny>>>,
}

impl Hooks {
    /// Starlette's own function, the slow way, and what ends an exchange.
    pub fn app(&self, py: Python<'_>) -> PyResult<&[Py<PyAny>; 3]> {
        self.app.get(py).ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the app is not hooked"))
    }

    fn tasks(&self, py: Python<'_>) -> PyResult<&[Py<PyAny>; 3]> {
        self.task.get(py).ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("tasks are not hooked"))
    }

    /// The slow way to call a task.
    pub fn slow_task(&self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        Ok(&self.tasks(py)?[2])
    }

    /// The unit that runs: a request, a task, spawned work. None: none.
    pub fn unit<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let unit = call0(self.get.bind(py))?;
        Ok(if unit.is_none() { None } else { Some(unit) })
    }

    /// Whether a request that begins now is a usual one: not within another, and in a loop that is watched.
    pub fn is_usual(&self, py: Python<'_>, scope: &Bound<'_, PyAny>) -> PyResult<bool> {
        if !self.running.is_some(py) || !is_http(scope)? || !call0(self.get.bind(py))?.is_none() {
            return Ok(false);
        }
        Ok(self.running.is(py, &call0(self.running_loop.bind(py))?))
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

fn is_http(scope: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Ok(scope) = scope.cast_exact::<PyDict>() else { return Ok(false) };
    let Some(kind) = scope.get_item(intern!(scope.py(), "type"))? else { return Ok(false) };
    Ok(kind.cast_exact::<PyString>().is_ok_and(|kind| kind.to_str().is_ok_and(|kind| kind == "http")))
}

#[pymethods]
impl Hooks {
    #[new]
    #[pyo3(signature = (*, get, put, running_loop, coroutine_type, function_type, follow, trouble, op_of, no_scope, sent_too_late))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        get: Py<PyAny>,
        put: Py<PyAny>,
        running_loop: Py<PyAny>,
        coroutine_type: Py<PyAny>,
        function_type: Py<PyAny>,
        follow: Py<PyAny>,
        trouble: Py<PyAny>,
        op_of: Py<PyAny>,
        no_scope: Py<PyAny>,
        sent_too_late: Py<PyAny>,
    ) -> PyResult<Py<Self>> {
        let made = Self {
            get,
            put,
            running_loop,
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
            running: Held::new(None),
        };
        Ok(HOOKS.get_or_try_init(py, || Py::new(py, made))?.clone_ref(py))
    }

    fn hook_app(&self, py: Python<'_>, original: Py<PyAny>, slow: Py<PyAny>, leave: Py<PyAny>) {
        let _ = self.app.set(py, [original, slow, leave]);
    }

    fn hook_response(&self, py: Python<'_>, begins: Py<PyAny>) {
        let _ = self.response.set(py, begins);
    }

    fn hook_task(&self, py: Python<'_>, class: Py<PyAny>, made: Py<PyAny>, slow: Py<PyAny>) {
        let _ = self.task.set(py, [class, made, slow]);
    }

    /// Requests of this process are written there, if they come in this loop. None: no loop is known, as after a fork.
    #[pyo3(signature = (sheet, running))]
    fn bind(&self, py: Python<'_>, sheet: Option<Py<Sheet>>, running: Option<Py<PyAny>>) {
        self.sheet.set(py, sheet);
        self.running.set(py, running);
    }

    /// `Starlette.__call__`: what is to be awaited.
    fn serve<'py>(
        &self,
        py: Python<'py>,
        app: &Bound<'py, PyAny>,
        scope: &Bound<'py, PyAny>,
        receive: &Bound<'py, PyAny>,
        send: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.sheet.copy(py) {
            Some(sheet) if self.running.is_some(py) => {
                Ok(Bound::new(py, Exchange::call(sheet, app, scope, receive, send))?.into_any())
            }
            _ => call4(self.app(py)?[1].bind(py), [app, scope, receive, send]),
        }
    }

    /// A `BackgroundTask` was made.
    fn made(&self, task: &Bound<'_, PyAny>, func: &Bound<'_, PyAny>) {
        if let Err(error) = self.note_made(task, func) {
            self.trouble(task.py(), "a new task", &error);
        }
    }

    /// A response is about to be sent. False: it belongs to no request that is known.
    fn begins(&self, response: &Bound<'_, PyAny>) -> bool {
        self.note_response(response).unwrap_or_else(|error| {
            self.trouble(response.py(), "a response", &error);
            true
        })
    }

    /// `BackgroundTask.__call__`: what is to be awaited.
    fn run<'py>(&self, task: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = task.py();
        match self.next_row(task) {
            Ok(Some(row)) => return Ok(row.into_any()),
            Ok(None) => {}
            Err(error) => self.trouble(py, "a call of a task", &error),
        }
        call1(self.slow_task(py)?.bind(py), task)
    }
}

impl Hooks {
    fn note_made(&self, task: &Bound<'_, PyAny>, func: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = task.py();
        let Some(unit) = self.unit(py)? else { return Ok(()) };
        let [class, slow, _] = self.tasks(py)?;
        if let Ok(exchange) = unit.cast_exact::<Exchange>()
            && !exchange.get().has_left.get(py)
            && task.get_type_ptr().cast() == class.as_ptr()
            && self.is_function(func)
        {
            return exchange.get().made.push(py, task.clone().unbind());
        }
        slow.bind(py).call1((task, unit.getattr(intern!(py, "exchange"))?))?;
        Ok(())
    }

    fn note_response(&self, response: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = response.py();
        let Some(unit) = self.unit(py)? else { return Ok(false) };
        let Ok(exchange) = unit.cast_exact::<Exchange>() else {
            return self.begins_slowly(&unit.getattr(intern!(py, "exchange"))?, response);
        };
        let this = exchange.get();
        if this.rows.len(py) > 0 {
            return self.begins_slowly(&unit, response);
        }
        let background = match response.getattr(intern!(py, "background")) {
            Ok(background) => background,
            Err(_) => return self.begins_slowly(&unit, response),
        };
        if this.made.len(py) == 0 {
            return if background.is_none() { Ok(true) } else { self.begins_slowly(&unit, response) };
        }
        let made = this.made.copy(py);
        if !background.is_none() && is_carried(py, &made, &background)? {
            // As nearly always: the injected list, and nothing else.
            if let Err(error) = self.accept_all(exchange, made) {
                self.trouble(py, "a response", &error);
            }
            return Ok(true);
        }
        self.begins_slowly(&unit, response)
    }

    fn next_row<'py>(&self, task: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, TaskRow>>> {
        match self.unit(task.py())? {
            Some(unit) => unit.cast_exact::<Exchange>().map_or(Ok(None), |exchange| exchange.get().next_row(task)),
            None => Ok(None),
        }
    }

    fn begins_slowly(&self, exchange: &Bound<'_, PyAny>, response: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = response.py();
        if let Some(slow) = self.response.get(py) {
            slow.bind(py).call1((exchange, response))?;
        }
        Ok(true)
    }

    /// A row for each task that was made in this request, all of which its response carries.
    fn accept_all(&self, exchange: &Bound<'_, Exchange>, made: Few<PyAny>) -> PyResult<()> {
        let py = exchange.py();
        let this = exchange.get();
        let sheet = this.sheet.get();
        let accepted = now();
        let op = this.op_number(py)?;
        this.made.set(py, Few::None);
        this.carried.set(py, made.copy(py));
        for (index, task) in made.objects(py).into_iter().enumerate() {
            let func = task.getattr(py, intern!(py, "func"))?.into_bound(py);
            let is_async = task.getattr(py, intern!(py, "is_async"))?.is_truthy(py)?;
            let row = Bound::new(py, TaskRow::of(exchange.clone().unbind(), task))?;
            this.rows.push(py, row.clone().unbind())?;
            if index >= MOST {
                sheet.page.call_method0(py, intern!(py, "count_unwritten"))?;
                continue;
            }
            let number: u64 = match self.known(py, sheet, &func)? {
                Some(number) => number,
                None => sheet.page.call_method1(py, intern!(py, "number_of"), (func,))?.extract(py)?,
            };
            let kind = if is_async { ASYNC } else { DEF };
            let meta = index as u64 | number << 16 | kind << 32 | 1 << 40;
            if !sheet.writes() {
                continue;
            }
            let Some((position, cell)) = sheet.claim(py) else {
                // The file has to grow, which takes a lock and a while.
                sheet.page.call_method1(py, intern!(py, "claim"), (row, op, meta, accepted))?;
                continue;
            };
            cell[word::META].store(meta, std::sync::atomic::Ordering::Relaxed);
            cell[word::ACCEPTED].store(accepted, std::sync::atomic::Ordering::Relaxed);
            cell[word::OP].store(op, std::sync::atomic::Ordering::Release);
            row.get().is_at(py, position, cell);
        }
        Ok(())
    }

    fn known(&self, py: Python<'_>, sheet: &Sheet, func: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        if !self.is_function(func) {
            return Ok(None);
        }
        let functions = sheet.functions.bind(py).cast::<PyDict>()?;
        functions.get_item(func)?.map(|number| number.extract()).transpose()
    }
}

/// Whether this background is a list of exactly these tasks.
fn is_carried(py: Python<'_>, made: &Few<PyAny>, background: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Some(tasks) = background.getattr_opt(intern!(py, "tasks"))? else { return Ok(false) };
    let Ok(tasks) = tasks.cast_exact::<PyList>() else { return Ok(false) };
    Ok(match made {
        Few::None => tasks.is_empty(),
        Few::One(task) => tasks.len() == 1 && tasks.get_item(0)?.is(task),
        Few::List(list) => {
            let list = list.bind(py);
            list.len() == tasks.len() && list.iter().zip(tasks.iter()).all(|(one, other)| one.is(&other))
        }
    })
}
