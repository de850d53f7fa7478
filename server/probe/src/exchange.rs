//! One request and its answer, as the probe's `exchange.py` knows it; and what its server awaits, and what the app sends by.
//!
//! One object is all three, because each request pays for each object. The methods for what is unusual are Python's, put into
//! this class by exchange.py: they see the attributes that they would see without us.

use std::ffi::CStr;

use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyValueError};
use pyo3::types::{PyDict, PyTuple};
use pyo3::{Borrowed, PyTraverseError, PyVisit, intern, prelude::*};

use crate::builtin::{Builtin, Object, answer};
use crate::call::{Step, call1, call4, entry, step, thrown};
use crate::held::{Few, Held, Lent};
use crate::hooks::{Message, hooks};
use crate::hot::{Class, Hot};
use crate::opid::{UNTAGGED, op_in};
use crate::row::{ENDED, TaskRow};
use crate::sheet::Sheet;
use crate::stage::{Stage, begun, gave_up, given};

/// See the module. The class in use is [`hot`]'s.
#[pyclass(frozen, subclass, module = "afterload_probe._accelerator")]
pub struct Exchange {
    pub sheet: Py<Sheet>,
    stage: Held<Stage>,
    /// What the slow way, or Starlette's own, is called with.
    app: Held<Option<Py<PyAny>>>,
    receive: Held<Option<Py<PyAny>>>,
    coroutine: Held<Option<Py<PyAny>>>,
    /// What takes it back that this is the unit that runs.
    token: Held<Option<Py<PyAny>>>,
    scope: Held<Option<Py<PyAny>>>,
    send: Held<Option<Py<PyAny>>>,
    pub made: Held<Few<PyAny>>,
    pub rows: Held<Few<TaskRow>>,
    pub carried: Held<Few<PyAny>>,
    pub has_left: Held<bool>,
    is_over: Held<bool>,
    has_failed: Held<bool>,
    pub running: Held<Option<Py<PyAny>>>,
    children: Held<Option<Py<PyAny>>>,
    next: Held<usize>,
    n_spawned: Held<usize>,
    op: Held<u64>,
}

impl Hot for Exchange {
    const FULL_NAME: &CStr = c"afterload_probe._accelerator.Exchange";

    fn class() -> &'static Class {
        static CLASS: Class = Class::new();
        &CLASS
    }

    fn step(this: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        Self::go_on(this, |coroutine| step(coroutine, value))
    }

    fn let_go(self, py: Python<'_>) {
        self.coroutine.end(py);
        self.app.end(py);
        self.receive.end(py);
        self.token.end(py);
        self.scope.end(py);
        self.send.end(py);
        self.made.end(py);
        self.rows.end(py);
        self.carried.end(py);
        self.running.end(py);
        self.children.end(py);
        self.sheet.drop_ref(py);
    }
}

impl Exchange {
    /// A call of an app, not begun.
    pub fn call(
        sheet: Py<Sheet>,
        app: &Bound<'_, PyAny>,
        scope: &Bound<'_, PyAny>,
        receive: &Bound<'_, PyAny>,
        send: &Bound<'_, PyAny>,
    ) -> Self {
        let mut made = Self::of(sheet, Some(scope.clone().unbind()), Some(send.clone().unbind()));
        made.stage = Held::new(Stage::New);
        made.app = Held::new(Some(app.clone().unbind()));
        made.receive = Held::new(Some(receive.clone().unbind()));
        made
    }

    fn of(sheet: Py<Sheet>, scope: Option<Py<PyAny>>, send: Option<Py<PyAny>>) -> Self {
        Self {
            sheet,
            stage: Held::new(Stage::Over),
            app: Held::new(None),
            receive: Held::new(None),
            coroutine: Held::new(None),
            token: Held::new(None),
            scope: Held::new(scope),
            send: Held::new(send),
            made: Held::new(Few::None),
            rows: Held::new(Few::None),
            carried: Held::new(Few::None),
            has_left: Held::new(false),
            is_over: Held::new(false),
            has_failed: Held::new(false),
            running: Held::new(None),
            children: Held::new(None),
            next: Held::new(0),
            n_spawned: Held::new(0),
            op: Held::new(0),
        }
    }

    /// The client's operation id, or one that says that there is none.
    pub fn op_number(&self, py: Python<'_>) -> PyResult<u64> {
        self.find_op(py)?;
        if self.op.get(py) == 0 {
            let sheet = self.sheet.get();
            let number = UNTAGGED | sheet.untagged_base.get(py) | sheet.next_untagged(py);
            self.op.set(py, number);
        }
        Ok(self.op.get(py))
    }

    /// Reads the client's operation id, if it has sent one and it is not known.
    fn find_op(&self, py: Python<'_>) -> PyResult<()> {
        if self.op.get(py) == 0
            && let Some(scope) = self.scope.lend(py)
        {
            let found = op_in(&scope)?;
            self.op.set(py, found);
        }
        Ok(())
    }

    /// The row of a task that is called as Starlette does: the only one, after the answer. None: it must be looked for.
    pub fn next_row<'py>(&self, task: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, TaskRow>>> {
        let py = task.py();
        if !self.has_left.get(py) || self.running.is_some(py) {
            return Ok(None);
        }
        let row = match self.rows.lend(py) {
            Lent::One(row) => row,
            Lent::List(rows) if rows.len() == 1 => rows.get_item(0)?.cast_into()?,
            _ => return Ok(None),
        };
        Ok(if row.get().is_free_for(task)? { Some(row) } else { None })
    }

    /// The app has returned. True: nothing is left to be done, as nearly always; False: `end` has to look.
    ///
    /// A server's timers copy the context, and with it this object, and outlive the request: what it was about is let go.
    fn is_simply_over(&self, py: Python<'_>) -> PyResult<bool> {
        if !self.has_left.get(py) || self.made.len(py) > 0 || self.children.is_some(py) {
            return Ok(false);
        }
        match self.rows.lend(py) {
            Lent::None => self.find_op(py)?, // for what may still be spawned in a copy of its context
            Lent::One(row) if row.get().state(py) == ENDED => {
                self.rows.set(py, Few::None);
                self.carried.set(py, Few::None);
            }
            Lent::List(rows) => {
                if rows.len() != 1 || rows.get_item(0)?.cast::<TaskRow>()?.get().state(py) != ENDED {
                    return Ok(false);
                }
                self.rows.set(py, Few::None);
                self.carried.set(py, Few::None);
            }
            Lent::One(_) => return Ok(false),
        }
        self.is_over.set(py, true);
        let hooks = hooks(py)?;
        self.scope.set(py, Some(hooks.no_scope.clone_ref(py)));
        self.send.set(py, Some(hooks.sent_too_late.clone_ref(py)));
        Ok(true)
    }

    /// Begins the call: the usual way if it can be.
    fn begin(exchange: &Bound<'_, Self>) -> PyResult<(Stage, Py<PyAny>)> {
        let py = exchange.py();
        let this = exchange.get();
        let hooks = hooks(py)?;
        let [original, slow, _] = hooks.app(py)?;
        let (Some(app), Some(scope), Some(receive), Some(send)) =
            (this.app.take(py), this.scope.copy(py), this.receive.take(py), this.send.copy(py))
        else {
            return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine"));
        };
        let (app, scope, receive, send) = (app.into_bound(py), scope.into_bound(py), receive.into_bound(py), send.into_bound(py));
        if hooks.is_usual(py, &scope)? {
            this.sheet.get().count_request(py);
            this.token.set(py, Some(hooks.current.set(exchange)?.unbind()));
            let send = ANSWER.bound_to(exchange)?;
            return match call4(original.bind(py), [&app, &scope, &receive, &send]) {
                Ok(coroutine) => Ok((Stage::Own, coroutine.unbind())),
                Err(error) => {
                    Self::leave(exchange, Some(&error));
                    Err(error)
                }
            };
        }
        this.scope.set(py, None);
        this.send.set(py, None);
        Ok((Stage::Through, call4(slow.bind(py), [&app, &scope, &receive, &send])?.unbind()))
    }

    /// One step of what is awaited. None: it is over.
    fn go_on<'py>(
        exchange: &Bound<'py, Self>,
        go: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Step>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let py = exchange.py();
        let this = exchange.get();
        let (stage, coroutine) = match this.stage.replace(py, Stage::Stepping) {
            Stage::New => Self::begin(exchange).inspect_err(|_| this.stage.set(py, Stage::Over))?,
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
                    Self::leave(exchange, None);
                }
                Ok(None)
            }
            Err(error) => {
                this.stage.set(py, Stage::Over);
                if stage == Stage::Own {
                    Self::leave(exchange, Some(&error));
                }
                Err(error)
            }
        }
    }

    /// The app has returned, or raised. The request has been answered, whatever becomes of its account.
    fn leave(exchange: &Bound<'_, Self>, error: Option<&PyErr>) {
        let py = exchange.py();
        let Ok(hooks) = hooks(py) else { return };
        let left = || -> PyResult<()> {
            let token = exchange.get().token.take(py);
            if error.is_none()
                && exchange.get().is_simply_over(py)?
                && let Some(token) = token
            {
                return hooks.current.take_back(&token.into_bound(py));
            }
            let error = error.map_or_else(|| py.None(), |error| error.value(py).clone().into_any().unbind());
            hooks.app(py)?[2].bind(py).call1((exchange, error, py.None()))?;
            Ok(())
        };
        if let Err(error) = left() {
            hooks.trouble(py, "the end of a request", &error);
        }
    }

    /// Stands between the app and the server. Awaited as the server's own.
    fn send_on<'py>(exchange: &Bound<'py, Self>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = exchange.py();
        if let Err(error) = Self::look_at(exchange, message) {
            hooks(py)?.trouble(py, "an answer", &error);
        }
        match exchange.get().send.lend(py) {
            Some(send) => call1(&send, message),
            None => call1(hooks(py)?.sent_too_late.bind(py), message),
        }
    }

    /// What leaves: what was made has its row before a byte does.
    fn look_at(exchange: &Bound<'_, Self>, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = exchange.py();
        let this = exchange.get();
        let dict = message.cast_exact::<PyDict>().ok();
        let kind = match dict {
            Some(dict) => match entry(dict, intern!(py, "type"))? {
                Some(kind) => hooks(py)?.message(kind)?,
                None => return Err(PyValueError::new_err("a message without a type")),
            },
            None => hooks(py)?.message(message.get_item(intern!(py, "type"))?.as_borrowed())?,
        };
        let is_last = match kind {
            Message::Start => false,
            Message::Body => match dict {
                Some(dict) => match entry(dict, intern!(py, "more_body"))? {
                    Some(more) => !more.to_owned().is_truthy()?,
                    None => true,
                },
                None => !message.call_method1(intern!(py, "get"), (intern!(py, "more_body"),))?.is_truthy()?,
            },
            Message::Path => true,
            Message::Other => return Ok(()),
        };
        if (is_last || kind == Message::Start) && (this.made.len(py) > 0 || this.has_children(py)?) {
            exchange.call_method0(intern!(py, "_settle"))?;
        }
        if is_last && !this.has_left.get(py) {
            this.has_left.set(py, true);
            this.sheet.get().count_answered(py);
        }
        Ok(())
    }

    fn has_children(&self, py: Python<'_>) -> PyResult<bool> {
        self.children.lend(py).map_or(Ok(false), |children| children.is_truthy())
    }
}

static ANSWER: Builtin = Builtin::of_one(c"answer", answer_of);

unsafe extern "C" fn answer_of(exchange: Object, message: Object) -> Object {
    // SAFETY: Python calls, with live objects; its owner is an exchange, as `begin` has made it.
    unsafe {
        answer(|py| {
            let exchange = Borrowed::from_ptr(py, exchange).cast_unchecked::<Exchange>();
            Exchange::send_on(&exchange, &Borrowed::from_ptr(py, message))
        })
    }
}

#[pymethods]
impl Exchange {
    #[new]
    fn new(process: &Bound<'_, PyAny>, scope: Py<PyAny>, send: Py<PyAny>) -> PyResult<Self> {
        let sheet = process.getattr(intern!(process.py(), "page"))?.getattr(intern!(process.py(), "sheet"))?;
        Ok(Self::of(sheet.cast_into::<Sheet>()?.unbind(), Some(scope), Some(send)))
    }

    /// For those who have it from Python code.
    #[pyo3(signature = (message))]
    fn __call__<'py>(slf: &Bound<'py, Self>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Self::send_on(slf, message)
    }

    #[getter]
    fn answer<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    #[getter]
    fn get_exchange<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
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
                Self::leave(slf, Some(&error));
            }
            closed?;
        }
        Ok(())
    }

    #[pyo3(name = "is_simply_over")]
    fn is_simply_over_now(&self, py: Python<'_>) -> PyResult<bool> {
        self.is_simply_over(py)
    }

    #[getter(op)]
    fn get_op(&self, py: Python<'_>) -> PyResult<u64> {
        self.op_number(py)
    }

    #[getter(_op)]
    fn get_own_op(&self, py: Python<'_>) -> u64 {
        self.op.get(py)
    }

    #[getter]
    fn process(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.sheet.get().process(py)
    }

    #[getter]
    fn get_scope(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.scope.copy(py)
    }

    #[getter]
    fn get_made(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.made.as_python(py)
    }

    #[setter]
    fn set_made(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.made.set(value.py(), Few::of(value)?);
        Ok(())
    }

    #[getter]
    fn get_rows(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.rows.as_python(py)
    }

    #[setter]
    fn set_rows(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.rows.set(value.py(), Few::of(value)?);
        Ok(())
    }

    #[getter(_carried)]
    fn get_carried(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if self.carried.len(py) == 0 { Ok(None) } else { self.carried.as_python(py).map(Some) }
    }

    #[setter(_carried)]
    fn set_carried(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.carried.set(value.py(), if value.is_none() { Few::None } else { Few::of(value)? });
        Ok(())
    }

    #[getter]
    fn get_has_left(&self, py: Python<'_>) -> bool {
        self.has_left.get(py)
    }

    #[setter]
    fn set_has_left(&self, py: Python<'_>, value: bool) {
        self.has_left.set(py, value);
    }

    #[getter]
    fn get_is_over(&self, py: Python<'_>) -> bool {
        self.is_over.get(py)
    }

    #[setter]
    fn set_is_over(&self, py: Python<'_>, value: bool) {
        self.is_over.set(py, value);
    }

    #[getter(_has_failed)]
    fn get_has_failed(&self, py: Python<'_>) -> bool {
        self.has_failed.get(py)
    }

    #[setter(_has_failed)]
    fn set_has_failed(&self, py: Python<'_>, value: bool) {
        self.has_failed.set(py, value);
    }

    #[getter]
    fn get_running(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.running.copy(py)
    }

    #[setter]
    fn set_running(&self, py: Python<'_>, value: Option<Py<PyAny>>) {
        self.running.set(py, value);
    }

    #[getter]
    fn get_children(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.children.copy(py)
    }

    #[setter]
    fn set_children(&self, py: Python<'_>, value: Option<Py<PyAny>>) {
        self.children.set(py, value);
    }

    #[getter(_next)]
    fn get_next(&self, py: Python<'_>) -> usize {
        self.next.get(py)
    }

    #[setter(_next)]
    fn set_next(&self, py: Python<'_>, value: usize) {
        self.next.set(py, value);
    }

    #[getter(_n_spawned)]
    fn get_n_spawned(&self, py: Python<'_>) -> usize {
        self.n_spawned.get(py)
    }

    #[setter(_n_spawned)]
    fn set_n_spawned(&self, py: Python<'_>, value: usize) {
        self.n_spawned.set(py, value);
    }

    #[allow(clippy::needless_pass_by_value)]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.app.visit(&visit)?;
        self.receive.visit(&visit)?;
        self.coroutine.visit(&visit)?;
        self.token.visit(&visit)?;
        self.scope.visit(&visit)?;
        self.send.visit(&visit)?;
        self.made.visit(&visit)?;
        self.rows.visit(&visit)?;
        self.carried.visit(&visit)?;
        self.running.visit(&visit)?;
        self.children.visit(&visit)
    }

    fn __clear__(&self) {
        self.app.clear();
        self.receive.clear();
        self.coroutine.clear();
        self.token.clear();
        self.scope.clear();
        self.send.clear();
        self.made.clear();
        self.rows.clear();
        self.carried.clear();
        self.running.clear();
        self.children.clear();
    }
}
