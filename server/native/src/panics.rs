//! A panic is an error of the task or the request that met it, never the end of its thread.
//!
//! Panics come from a mistake in this crate, or from Python: PyO3 lets a `PanicException` that reaches Rust go on as a panic.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};

/// What the call returns; a panic as an error in words.
///
/// Nothing that the call was changing may be looked at afterwards but what is changed by single calls, as [`crate::core::lock`] says.
pub fn caught<T>(call: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        Err(PyRuntimeError::new_err(format!("panic in the compiled code: {}", text_of(payload.as_ref()))))
    })
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<String>() {
        return text;
    }
    payload.downcast_ref::<&str>().copied().unwrap_or("without a word")
}
