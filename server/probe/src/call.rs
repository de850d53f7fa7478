//! Calls into Python as the interpreter makes them itself: without a tuple for the arguments, which PyO3 needs in the stable ABI.
//!
//! `PyObject_VectorcallDict` and what is done with a context variable are public functions of every CPython since 3.9, but are not
//! in the stable ABI of 3.10. An interpreter without them cannot load this module, and the probe does everything in Python.

use std::ffi::c_int;
use std::ptr::null_mut;

use pyo3::exceptions::PyStopIteration;
use pyo3::types::PyDict;
use pyo3::{Borrowed, ffi, prelude::*};

type Object = *mut ffi::PyObject;

unsafe extern "C" {
    fn PyObject_VectorcallDict(callable: Object, arguments: *const Object, n_and_flag: usize, named: Object) -> Object;
    fn PyContextVar_Get(variable: Object, default: Object, value: *mut Object) -> c_int;
    fn PyContextVar_Set(variable: Object, value: Object) -> Object;
    fn PyContextVar_Reset(variable: Object, token: Object) -> c_int;
}

/// The place before the first argument is ours: whoever is called may put `self` there for a while.
const HAS_ROOM: usize = 1 << (usize::BITS - 1);

/// `function(*arguments[1..], **named)`; the first one is room.
fn call<'py>(function: &Bound<'py, PyAny>, arguments: &mut [Object], named: Object) -> PyResult<Bound<'py, PyAny>> {
    let n = arguments.len() - 1;
    // SAFETY: live objects, as many as said, behind a place that may be written to; the result is owned, or null with an error set.
    unsafe {
        let found = PyObject_VectorcallDict(function.as_ptr(), arguments.as_mut_ptr().add(1), n | HAS_ROOM, named);
        Bound::from_owned_ptr_or_err(function.py(), found)
    }
}

/// `function(*arguments, **named)`
///
/// # Safety
/// There are `n` arguments, all alive.
pub unsafe fn vectorcall<'py>(
    function: &Bound<'py, PyAny>,
    arguments: *const Object,
    n: usize,
    named: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let named = named.map_or(null_mut(), Bound::as_ptr);
    // SAFETY: so says the caller; the result is owned, or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(function.py(), PyObject_VectorcallDict(function.as_ptr(), arguments, n, named)) }
}

/// `function()`
pub fn call0<'py>(function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live object; the result is owned, or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(function.py(), ffi::PyObject_CallNoArgs(function.as_ptr())) }
}

/// `function(one)`
pub fn call1<'py>(function: &Bound<'py, PyAny>, one: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    call(function, &mut [null_mut(), one.as_ptr()], null_mut())
}

/// `function(app, scope, receive, send)`
pub fn call4<'py>(function: &Bound<'py, PyAny>, arguments: [&Bound<'py, PyAny>; 4]) -> PyResult<Bound<'py, PyAny>> {
    let [app, scope, receive, send] = arguments.map(Bound::as_ptr);
    call(function, &mut [null_mut(), app, scope, receive, send], null_mut())
}

/// What a dict has under a name. It is borrowed: to be looked at before anybody else can change the dict.
pub fn entry<'a, 'py>(dict: &'a Bound<'py, PyDict>, name: &Bound<'py, PyAny>) -> PyResult<Option<Borrowed<'a, 'py, PyAny>>> {
    // SAFETY: live objects; null is either an error or nothing.
    unsafe {
        let found = ffi::PyDict_GetItemWithError(dict.as_ptr(), name.as_ptr());
        if found.is_null() {
            return if ffi::PyErr_Occurred().is_null() { Ok(None) } else { Err(PyErr::fetch(dict.py())) };
        }
        Ok(Some(Borrowed::from_ptr(dict.py(), found)))
    }
}

/// A context variable whose default is None.
pub struct Variable(Py<PyAny>);

impl Variable {
    /// That one, which must be a `ContextVar`.
    pub fn new(variable: Py<PyAny>) -> Self {
        Self(variable)
    }

    /// Its value; None: it has none.
    pub fn get<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut value = null_mut();
        // SAFETY: a live object (whose type is asked for), and a place for the answer, which is owned.
        unsafe {
            if PyContextVar_Get(self.0.as_ptr(), null_mut(), &raw mut value) < 0 {
                return Err(PyErr::fetch(py));
            }
            Ok(Bound::from_owned_ptr_or_opt(py, value).filter(|value| !value.is_none()))
        }
    }

    /// Sets it in the context that runs. What it gives takes that back.
    pub fn set<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: live objects; the result is owned, or null with an error set.
        unsafe { Bound::from_owned_ptr_or_err(value.py(), PyContextVar_Set(self.0.as_ptr(), value.as_ptr())) }
    }

    /// Has the value that it had before. Where that cannot be, as in another context, it has none.
    pub fn take_back(&self, token: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = token.py();
        // SAFETY: live objects.
        if unsafe { PyContextVar_Reset(self.0.as_ptr(), token.as_ptr()) } < 0 {
            drop(PyErr::take(py));
            self.set(py.None().bind(py))?;
        }
        Ok(())
    }
}

/// What one step of a coroutine came to.
pub enum Step {
    /// It waits for this.
    Yielded(Py<PyAny>),
    /// It is over. Neither an app nor a task returns anything.
    Returned,
}

/// `coroutine.send(value)`, without the exception that ends it.
pub fn step(coroutine: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Step> {
    let py = coroutine.py();
    let mut result: Object = null_mut();
    // SAFETY: live objects; the result is owned unless there is an error.
    unsafe {
        match ffi::PyIter_Send(coroutine.as_ptr(), value.as_ptr(), &raw mut result) {
            ffi::PySendResult::PYGEN_NEXT => Ok(Step::Yielded(Bound::from_owned_ptr_or_err(py, result)?.unbind())),
            ffi::PySendResult::PYGEN_RETURN => {
                drop(Bound::from_owned_ptr_or_err(py, result)?);
                Ok(Step::Returned)
            }
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

/// What a call of `throw` came to: it tells its end by an exception.
pub fn thrown(py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> PyResult<Step> {
    match result {
        Ok(value) => Ok(Step::Yielded(value.unbind())),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => Ok(Step::Returned),
        Err(error) => Err(error),
    }
}
