//! Functions that Python calls as it calls its own builtins: with pointers to the arguments, and nothing made for them.

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use pyo3::{exceptions::PyRuntimeError, ffi, prelude::*};

pub type Object = *mut ffi::PyObject;

/// What Python keeps of such a function: for ever.
pub struct Builtin(UnsafeCell<ffi::PyMethodDef>);

// SAFETY: Python only reads it, and so do we.
unsafe impl Sync for Builtin {}

impl Builtin {
    /// `function(one)`
    pub const fn of_one(name: &'static CStr, function: ffi::PyCFunction) -> Self {
        Self(UnsafeCell::new(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
            ml_flags: ffi::METH_O,
            ml_doc: c"".as_ptr(),
        }))
    }

    /// That function, whose first argument in Rust is its owner.
    pub fn bound_to<'py>(&'static self, owner: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: it lives for ever, as Python wants it, and the owner is alive; the result is owned, or null with an error set.
        unsafe {
            let made = ffi::PyCFunction_NewEx(self.0.get(), owner.as_ptr(), null_mut());
            Bound::from_owned_ptr_or_err(owner.py(), made)
        }
    }
}

/// What such a function does, for Python: an error is set, and a panic is one.
///
/// # Safety
/// The interpreter's lock is held, as it is whenever Python calls.
pub unsafe fn answer<'py>(call: impl FnOnce(Python<'py>) -> PyResult<Bound<'py, PyAny>>) -> Object {
    // SAFETY: so says the caller.
    let py = unsafe { Python::assume_attached() };
    let error = match catch_unwind(AssertUnwindSafe(|| call(py))) {
        Ok(Ok(result)) => return result.into_ptr(),
        Ok(Err(error)) => error,
        Err(_) => PyRuntimeError::new_err("the accelerator of the probe panicked"),
    };
    error.restore(py);
    null_mut()
}
