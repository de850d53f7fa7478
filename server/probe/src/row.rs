//! The row of a background task of Starlette's; and what Starlette awaits where it calls the task, in the usual case.

use std::ffi::CStr;
use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyValueError};
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, ffi, intern, prelude::*};

use crate::call::{Step, call1, step, thrown};
use crate::exchange::Exchange;
use crate::held::Held;
use crate::hooks::hooks;
use crate::hot::{Class, Hot};
use crate::sheet::{Row, now, word};
use crate::stage::{Stage, begun, gave_up, given};

/// Kinds of tasks in a row.
pub const DEF: u64 = 1;
pub const ASYNC: u64 = 2;
/// Tasks of one request that a row can number.
pub const MOST: usize = 0x8000;

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
/// The function has returned or raised.
pub const ENDED: u8 = 2;

const SEGMENT_ROWS: u64 = 1 << 14;

/// See the module. As with exchanges, the methods for what is unusual are Python's.
#[pyclass(frozen, subclass, module = "afterload_probe._accelerator")]
pub struct TaskRow {
    exchange: Py<Exchange>,
    task: Py<PyAny>,
    /// Where it is written, if it is.
    place: Held<Option<(u64, &'static Row)>>,
    state: Held<u8>,
    is_over: Held<bool>,
    children: Held<Option<Py<PyAny>>>,
    stage: Held<Stage>,
    /// It was given to whoever awaits it; another call of the same task finds another.
    is_given: Held<bool>,
    coroutine: Held<Option<Py<PyAny>>>,
}

impl Hot for TaskRow {
    const FULL_NAME: &CStr = c"afterload_probe._accelerator.TaskRow";

    fn class() -> &'static Class {
        static CLASS: Class = Class::new();
        &CLASS
    }

    fn step(this: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        Self::go_on(this, |coroutine| step(coroutine, value))
    }

    fn let_go(self, py: Python<'_>) {
        self.coroutine.end(py);
        self.children.end(py);
        self.task.drop_ref(py);
        self.exchange.drop_ref(py);
    }
}

impl TaskRow {
    /// One that is nowhere yet.
    pub fn of(exchange: Py<Exchange>, task: Py<PyAny>) -> Self {
        Self {
            exchange,
            task,
            place: Held::new(None),
            state: Held::new(WAITING),
            is_over: Held::new(false),
            children: Held::new(None),
            stage: Held::new(Stage::New),
            is_given: Held::new(false),
            coroutine: Held::new(None),
        }
    }

    /// It is written there.
    pub fn is_at(&self, py: Python<'_>, position: u64, row: &'static Row) {
        self.place.set(py, Some((position, row)));
    }

    /// What has become of it.
    pub fn state(&self, py: Python<'_>) -> u8 {
        self.state.get(py)
    }

    /// Whether this call of a task is its usual one: then it is given away.
    pub fn is_free_for(&self, task: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = task.py();
        let is_free = self.task.as_ptr() == task.as_ptr()
            && self.state.get(py) == WAITING
            && !self.is_given.get(py)
            && self.place.get(py).is_some()
            && self.exchange.get().sheet.get().writes()
            && task.getattr(intern!(py, "is_async"))?.is_truthy()?;
        if is_free {
            self.is_given.set(py, true);
        }
        Ok(is_free)
    }

    fn begin(row: &Bound<'_, Self>) -> PyResult<(Stage, Py<PyAny>)> {
        let py = row.py();
        let this = row.get();
        let hooks = hooks(py)?;
        let exchange = this.exchange.get();
        let place = this.place.get(py);
        let (Some((_, cell)), WAITING, false) = (place, this.state.get(py), exchange.running.is_some(py)) else {
            // It was awaited later than it was called, and something else has happened in between.
            return Ok((Stage::Through, call1(hooks.slow_task(py)?.bind(py), this.task.bind(py))?.unbind()));
        };
        let task = this.task.bind(py);
        this.state.set(py, RUNNING);
        exchange.running.set(py, Some(row.clone().unbind().into_any()));
        let started = now();
        cell[word::FLUSHED].store(started, Ordering::Release);
        cell[word::STARTED].store(started, Ordering::Release);
        exchange.sheet.get().count_started(py);
        let begun = || -> PyResult<Py<PyAny>> {
            let awaitable = call_task(task)?;
            if hooks.is_coroutine(&awaitable) {
                return Ok(awaitable.unbind());
            }
            Ok(call1(hooks.follow.bind(py), &awaitable)?.unbind())
        };
        match begun() {
            Ok(coroutine) => Ok((Stage::Own, coroutine)),
            Err(error) => {
                Self::has_ended(row, Some(&error));
                Err(error)
            }
        }
    }

    fn go_on<'py>(row: &Bound<'py, Self>, go: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Step>) -> PyResult<Option<Py<PyAny>>> {
        let py = row.py();
        let this = row.get();
        let (stage, coroutine) = match this.stage.replace(py, Stage::Stepping) {
            Stage::New => Self::begin(row).inspect_err(|_| this.stage.set(py, Stage::Over))?,
            Stage::Stepping => return Err(PyValueError::new_err("coroutine already executing")),
            Stage::Over => {
                this.stage.set(py, Stage::Over);
                return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine"));
            }
            stage => match this.coroutine.take(py) {
                Some(coroutine) => (stage, coroutine),
                None => {
                    this.stage.set(py, Stage::Over);
                    return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine"));
                }
            },
        };
        let coroutine = coroutine.into_bound(py);
        match go(&coroutine) {
            Ok(Step::Yielded(value)) => {
                this.coroutine.set(py, Some(coroutine.unbind()));
                this.stage.set(py, stage);
                Ok(Some(value))
            }
            Ok(Step::Returned) => {
                this.stage.set(py, Stage::Over);
                if stage == Stage::Own {
                    Self::has_ended(row, None);
                }
                Ok(None)
            }
            Err(error) => {
                this.stage.set(py, Stage::Over);
                if stage == Stage::Own {
                    Self::has_ended(row, Some(&error));
                }
                Err(error)
            }
        }
    }

    /// The function has returned or raised.
    fn has_ended(row: &Bound<'_, Self>, error: Option<&PyErr>) {
        let py = row.py();
        let this = row.get();
        let exchange = this.exchange.get();
        exchange.running.set(py, None);
        let sheet = exchange.sheet.get();
        match (error, this.place.get(py)) {
            (None, Some((_, cell))) if sheet.writes() && !this.children.is_some(py) => {
                this.is_over.set(py, true);
                this.state.set(py, ENDED);
                cell[word::FINISHED].store(now(), Ordering::Release);
                sheet.count_finished(py);
            }
            _ => {
                let error = error.map_or_else(|| py.None(), |error| error.value(py).clone().into_any().unbind());
                if let Err(error) = row.call_method1(intern!(py, "over"), (error,))
                    && let Ok(hooks) = hooks(py)
                {
                    hooks.trouble(py, "the end of a task", &error);
                }
            }
        }
    }
}

/// `task.func(*task.args, **task.kwargs)`
fn call_task<'py>(task: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = task.py();
    let func = task.getattr(intern!(py, "func"))?;
    let args = task.getattr(intern!(py, "args"))?;
    let kwargs = task.getattr(intern!(py, "kwargs"))?;
    let args = match args.cast_into_exact::<PyTuple>() {
        Ok(args) => args,
        Err(error) => PyTuple::new(py, error.into_inner().try_iter()?.collect::<PyResult<Vec<_>>>()?)?,
    };
    let kwargs = match kwargs.cast_into_exact::<PyDict>() {
        Ok(kwargs) => kwargs,
        Err(error) => {
            let copy = PyDict::new(py);
            copy.update(error.into_inner().cast()?)?;
            copy
        }
    };
    let named = if kwargs.is_empty() { std::ptr::null_mut() } else { kwargs.as_ptr() };
    // SAFETY: a live object, a tuple, and a dict or nothing; the result is owned, or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyObject_Call(func.as_ptr(), args.as_ptr(), named)) }
}

#[pymethods]
impl TaskRow {
    #[new]
    fn new(exchange: Py<Exchange>, task: Py<PyAny>) -> Self {
        Self::of(exchange, task)
    }

    /// It was claimed by Python code, at that position.
    fn tie(&self, py: Python<'_>, position: u64) {
        let row = self.exchange.get().sheet.get().row(py, position);
        self.place.set(py, row.map(|row| (position, row)));
    }

    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Self::go_on(slf, |coroutine| step(coroutine, value))?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (*error))]
    fn throw(slf: &Bound<'_, Self>, error: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        if slf.get().stage.get(py) == Stage::New {
            slf.get().stage.set(py, Stage::Over);
            return Err(given(error)?);
        }
        Self::go_on(slf, |coroutine| thrown(py, coroutine.getattr(intern!(py, "throw"))?.call1(error)))?
            .ok_or_else(|| PyStopIteration::new_err(()))
    }

    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if let Some((stage, coroutine)) = begun(py, &this.stage, &this.coroutine) {
            let closed = coroutine.call_method0(py, intern!(py, "close"));
            let error = closed.as_ref().map_or_else(|error| error.clone_ref(py), |_| gave_up());
            if stage == Stage::Own {
                Self::has_ended(slf, Some(&error));
            }
            closed?;
        }
        Ok(())
    }

    #[getter]
    fn exchange(&self, py: Python<'_>) -> Py<Exchange> {
        self.exchange.clone_ref(py)
    }

    #[getter]
    fn task(&self, py: Python<'_>) -> Py<PyAny> {
        self.task.clone_ref(py)
    }

    /// The page that it is written on; None: on none.
    #[getter]
    fn _page(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.place.get(py).map(|_| self.exchange.get().sheet.get().page.clone_ref(py))
    }

    #[getter]
    fn _position(&self, py: Python<'_>) -> u64 {
        self.place.get(py).map_or(0, |(position, _)| position)
    }

    #[getter]
    fn base(&self, py: Python<'_>) -> u64 {
        self._position(py) % SEGMENT_ROWS * 8
    }

    #[getter]
    fn get_state(&self, py: Python<'_>) -> u8 {
        self.state.get(py)
    }

    #[setter]
    fn set_state(&self, py: Python<'_>, value: u8) {
        self.state.set(py, value);
    }

    #[getter]
    fn get_is_over(&self, py: Python<'_>) -> bool {
        self.is_over.get(py)
    }

    #[setter]
    fn set_is_over(&self, py: Python<'_>, value: bool) {
        self.is_over.set(py, value);
    }

    #[getter]
    fn get_children(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.children.copy(py)
    }

    #[setter]
    fn set_children(&self, py: Python<'_>, value: Option<Py<PyAny>>) {
        self.children.set(py, value);
    }

    #[allow(clippy::needless_pass_by_value)]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.exchange)?;
        visit.call(&self.task)?;
        self.coroutine.visit(&visit)?;
        self.children.visit(&visit)
    }

    fn __clear__(&self) {
        self.coroutine.clear();
        self.children.clear();
    }
}
