//! Classes of PyO3's whose objects every request pays for, with the four things that it pays for made by hand: that an object is
//! made, awaited, taken a step further, and let go.
//!
//! What PyO3 puts round these asks each time whether the interpreter's lock is held and whether somebody without it has left
//! something to be let go. Whoever calls here holds it. Everything else of a class (its attributes, what is unusual, what the
//! garbage collector asks) is PyO3's: the class in use is derived from its, with slots of its own.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::types::{PyTuple, PyType};
use pyo3::{Borrowed, PyClass, ffi, intern, prelude::*};

use crate::builtin::Object;

/// Something that is awaited, of a frozen class of PyO3's that may be derived from.
pub trait Hot: PyClass + Sync {
    /// With its module, as Python has it.
    const FULL_NAME: &CStr;

    /// Where the class in use is kept.
    fn class() -> &'static Class;

    /// Takes it a step further. None: it is over.
    fn step(this: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>>;

    /// Lets go what it has, which nobody else can see any more.
    fn let_go(self, py: Python<'_>);
}

/// A class in use, once there is one.
pub struct Class(AtomicPtr<ffi::PyTypeObject>);

impl Class {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    fn get(&self) -> *mut ffi::PyTypeObject {
        // What it points to is Python's, and was there when whoever has the lock now got it.
        self.0.load(Ordering::Relaxed)
    }
}

/// Where the value begins in an object: behind its head, as PyO3 has it where there is nothing else.
const HEAD: usize = size_of::<ffi::PyObject>();

/// Makes the class in use, for ever.
pub fn new_class<T: Hot>(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let base = T::type_object(py);
    let size: usize = base.getattr(intern!(py, "__basicsize__"))?.extract()?;
    if size != HEAD + size_of::<T>() {
        return Err(PyTypeError::new_err(format!("objects of {base} have {size} bytes, and not {}", HEAD + size_of::<T>())));
    }
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc::<T> as *mut c_void),
        slot(ffi::Py_tp_iter, itself as *mut c_void),
        slot(ffi::Py_tp_iternext, next::<T> as *mut c_void),
        slot(ffi::Py_am_await, itself as *mut c_void),
        slot(ffi::Py_am_send, send::<T> as *mut c_void),
        slot(0, null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: T::FULL_NAME.as_ptr(),
        basicsize: 0, // as its base
        itemsize: 0,
        flags: ffi::Py_TPFLAGS_DEFAULT as c_uint, // and the collector's, from its base
        slots: slots.as_mut_ptr(),
    };
    let bases = PyTuple::new(py, [base])?;
    // SAFETY: a whole specification, whose slots fit what they are for; Python copies it.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpecWithBases(&raw mut spec, bases.as_ptr()))? };
    T::class().0.store(made.clone().into_ptr().cast(), Ordering::Relaxed);
    Ok(made.cast_into::<PyType>()?)
}

/// An object with that value.
pub fn object<T: Hot>(py: Python<'_>, value: T) -> PyResult<Bound<'_, T>> {
    let class = T::class().get();
    if class.is_null() {
        return Err(PyRuntimeError::new_err("the accelerator has not begun"));
    }
    // SAFETY: the result is owned, or null with an error set; it is as large as `new_class` has seen, and nobody looks at it before
    // its value is there: nothing in between runs Python code or the collector.
    unsafe {
        let made = Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(class, 0))?;
        value_of::<T>(made.as_ptr()).write(value);
        Ok(made.cast_into_unchecked::<T>())
    }
}

/// That object, if it is of the class in use.
pub fn seen<'a, 'py, T: Hot>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, T>> {
    // SAFETY: the type says that it is one.
    (object.get_type_ptr() == T::class().get()).then(|| unsafe { object.cast_unchecked::<T>() })
}

/// # Safety
/// It is an object of the class in use.
unsafe fn value_of<T>(this: Object) -> *mut T {
    // SAFETY: so says the caller, and `new_class` has looked.
    unsafe { this.cast::<u8>().add(HEAD).cast::<T>() }
}

unsafe extern "C" fn dealloc<T: Hot>(this: Object) {
    // SAFETY: Python calls this once, when nobody has the object any more, with the lock held. A panic has nowhere to go.
    unsafe {
        ffi::PyObject_GC_UnTrack(this.cast());
        let value = value_of::<T>(this).read();
        let _ = catch_unwind(AssertUnwindSafe(|| value.let_go(Python::assume_attached())));
        let class = ffi::Py_TYPE(this);
        ffi::PyObject_GC_Del(this.cast());
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn itself(this: Object) -> Object {
    // SAFETY: a live object.
    unsafe { ffi::Py_INCREF(this) };
    this
}

unsafe extern "C" fn next<T: Hot>(this: Object) -> Object {
    // SAFETY: Python calls, with a live object and a place for the answer; None is always there.
    unsafe {
        let mut result = null_mut();
        match send::<T>(this, ffi::Py_None(), &raw mut result) {
            ffi::PySendResult::PYGEN_RETURN => {
                ffi::Py_DECREF(result);
                null_mut() // without an error: it is over
            }
            _ => result,
        }
    }
}

unsafe extern "C" fn send<T: Hot>(this: Object, value: Object, result: *mut Object) -> ffi::PySendResult {
    // SAFETY: as above.
    unsafe {
        let py = Python::assume_attached();
        let step = || T::step(&Borrowed::from_ptr(py, this).cast_unchecked::<T>(), &Borrowed::from_ptr(py, value));
        let error = match catch_unwind(AssertUnwindSafe(step)) {
            Ok(Ok(Some(yielded))) => {
                *result = yielded.into_ptr();
                return ffi::PySendResult::PYGEN_NEXT;
            }
            Ok(Ok(None)) => {
                ffi::Py_INCREF(ffi::Py_None());
                *result = ffi::Py_None();
                return ffi::PySendResult::PYGEN_RETURN;
            }
            Ok(Err(error)) => error,
            Err(_) => PyRuntimeError::new_err("the accelerator of the probe panicked"),
        };
        error.restore(py);
        *result = null_mut();
        ffi::PySendResult::PYGEN_ERROR
    }
}
