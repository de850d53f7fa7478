//! What stands for a coroutine function of somebody else's class: it binds to an object as a function does, and is called without a
//! frame of Python's own in between.
//!
//! Python code sees what it would see of the function: coroutines.py gives it its names, its code and its place. A function in
//! Python that calls one of ours costs as much again as what it calls, once for the app, the response and the task of each request.

use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::mem::offset_of;
use std::ptr::null_mut;

use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{Borrowed, ffi, prelude::*, sync::PyOnceLock};

use crate::builtin::Object;
use crate::call::vectorcall;

// As those in call.rs: public in every CPython since 3.9, in the stable ABI since 3.12.
unsafe extern "C" {
    fn PyVectorcall_Call(callable: Object, arguments: Object, named: Object) -> Object;
    fn PyMethod_New(function: Object, owner: Object) -> Object;
}
const HAVE_VECTORCALL: c_ulong = 1 << 11;

/// What it does: with itself, as many arguments as said and, behind them, one for each name.
pub type Call = unsafe extern "C" fn(Object, *const Object, usize, Object) -> Object;

/// See the module.
#[repr(C)]
struct StandIn {
    base: ffi::PyObject,
    call: Option<Call>,
    given: Object,
    attributes: Object,
    weak: Object,
}

static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// One that does that, with what it needs for it. `given` is the caller's own again by [`given`].
pub fn stand_in<'py>(py: Python<'py>, call: Call, given: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    let kind = TYPE.get_or_try_init(py, || new_type(py))?;
    // SAFETY: the type's own allocation, all zero but for its head; the result is owned, or null with an error set.
    unsafe {
        let made = Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(kind.as_ptr().cast(), 0))?;
        let this = made.as_ptr().cast::<StandIn>();
        (*this).call = Some(call);
        (*this).given = given.clone().into_ptr();
        Ok(made)
    }
}

/// What a stand-in was given, by its place.
///
/// # Safety
/// `this` is what a [`Call`] was called with, and it was given as many.
pub unsafe fn given<'a, 'py>(py: Python<'py>, this: Object, index: ffi::Py_ssize_t) -> Borrowed<'a, 'py, PyAny> {
    // SAFETY: so says the caller; the tuple lives as long as the stand-in, which is being called.
    unsafe { Borrowed::from_ptr(py, ffi::PyTuple_GetItem((*this.cast::<StandIn>()).given, index)) }
}

/// Calls something else just as the stand-in was called.
///
/// # Safety
/// `arguments`, `n` and `names` are what a [`Call`] was called with.
pub unsafe fn pass_on<'py>(
    function: &Bound<'py, PyAny>,
    arguments: *const Object,
    n: usize,
    names: Object,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let n = count(n);
    let named = if names.is_null() {
        None
    } else {
        let named = PyDict::new(py);
        // SAFETY: so says the caller: a tuple of names, and a live object for each.
        let names = unsafe { Borrowed::from_ptr(py, names) };
        for (index, name) in names.cast_exact::<PyTuple>()?.iter().enumerate() {
            // SAFETY: as above.
            named.set_item(name, unsafe { Borrowed::from_ptr(py, *arguments.add(n + index)) })?;
        }
        Some(named)
    };
    // SAFETY: so says the caller.
    unsafe { vectorcall(function, arguments, n, named.as_ref()) }
}

unsafe extern "C" fn bound_to(this: Object, owner: Object, _class: Object) -> Object {
    // SAFETY: Python asks, with live objects; the result is owned, or null with an error set.
    unsafe {
        if owner.is_null() || owner == ffi::Py_None() {
            ffi::Py_INCREF(this);
            return this;
        }
        PyMethod_New(this, owner)
    }
}

unsafe extern "C" fn let_go(this: Object) {
    // SAFETY: Python calls this once, when nobody has it any more, with the lock held.
    unsafe {
        let own = this.cast::<StandIn>();
        if !(*own).weak.is_null() {
            ffi::PyObject_ClearWeakRefs(this);
        }
        ffi::Py_XDECREF((*own).given);
        ffi::Py_XDECREF((*own).attributes);
        let kind = ffi::Py_TYPE(this);
        ffi::PyObject_Free(this.cast::<c_void>());
        ffi::Py_DECREF(kind.cast());
    }
}

const fn member(name: &'static std::ffi::CStr, offset: usize) -> ffi::PyMemberDef {
    ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset.cast_signed(),
        flags: ffi::Py_READONLY,
        doc: std::ptr::null(),
    }
}

fn new_type(py: Python<'_>) -> PyResult<Py<PyType>> {
    let mut members = [
        member(c"__vectorcalloffset__", offset_of!(StandIn, call)),
        member(c"__dictoffset__", offset_of!(StandIn, attributes)),
        member(c"__weaklistoffset__", offset_of!(StandIn, weak)),
        ffi::PyMemberDef::default(),
    ];
    // Python keeps what this points to, so it stays.
    let attributes = Box::leak(Box::new([
        ffi::PyGetSetDef {
            name: c"__dict__".as_ptr(),
            get: Some(ffi::PyObject_GenericGetDict),
            set: Some(ffi::PyObject_GenericSetDict),
            doc: std::ptr::null(),
            closure: null_mut(),
        },
        ffi::PyGetSetDef::default(),
    ]));
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_getset, attributes.as_mut_ptr().cast()),
        slot(ffi::Py_tp_call, PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_tp_descr_get, bound_to as *mut c_void),
        slot(ffi::Py_tp_dealloc, let_go as *mut c_void),
        slot(ffi::Py_tp_getattro, ffi::PyObject_GenericGetAttr as *mut c_void),
        slot(ffi::Py_tp_setattro, ffi::PyObject_GenericSetAttr as *mut c_void),
        slot(0, null_mut()),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR | HAVE_VECTORCALL;
    let mut spec = ffi::PyType_Spec {
        name: c"afterload_probe._accelerator.StandIn".as_ptr(),
        basicsize: size_of::<StandIn>() as c_int,
        itemsize: 0,
        flags: flags as c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: a whole specification, whose slots fit what they are for; Python copies it and the members.
    unsafe { Ok(Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))?.cast_into::<PyType>()?.unbind()) }
}

/// A call as Python makes it: how many arguments there are, without the bit that says whose the place before them is.
pub const fn count(n: usize) -> usize {
    n & !(1 << (usize::BITS - 1))
}
