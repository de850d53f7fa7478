//! Calls into Python as the interpreter makes them itself: without a tuple for the arguments, which PyO3 needs in the stable ABI.

use std::ptr::null_mut;

use pyo3::{exceptions::PyStopIteration, ffi, prelude::*};

/// `function()`
pub fn call0<'py>(function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live object; the result is owned, or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(function.py(), ffi::PyObject_CallNoArgs(function.as_ptr())) }
}

/// `function(one)`
pub fn call1<'py>(function: &Bound<'py, PyAny>, one: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let end: *mut ffi::PyObject = null_mut();
    // SAFETY: as above; the arguments are live objects, and null ends them.
    unsafe {
        let found = ffi::PyObject_CallFunctionObjArgs(function.as_ptr(), one.as_ptr(), end);
        Bound::from_owned_ptr_or_err(function.py(), found)
    }
}

/// `function(app, scope, receive, send)`
pub fn call4<'py>(function: &Bound<'py, PyAny>, arguments: [&Bound<'py, PyAny>; 4]) -> PyResult<Bound<'py, PyAny>> {
    let [app, scope, receive, send] = arguments.map(Bound::as_ptr);
    let end: *mut ffi::PyObject = null_mut();
    // SAFETY: as above.
    unsafe {
        let found = ffi::PyObject_CallFunctionObjArgs(function.as_ptr(), app, scope, receive, send, end);
        Bound::from_owned_ptr_or_err(function.py(), found)
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
    let mut result: *mut ffi::PyObject = null_mut();
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
