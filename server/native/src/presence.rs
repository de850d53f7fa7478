//! Whether somebody still waits for an answer, for the `Request` of the straight way (server/_requests.py).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use pyo3::prelude::*;

/// Held by the I/O thread while it waits for the answer. Dropped with it when the client goes.
#[derive(Default)]
pub struct Presence(Arc<AtomicBool>);

impl Presence {
    /// How Python sees it.
    pub fn watch(&self) -> HasGone {
        HasGone(Arc::clone(&self.0))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Called without arguments: whether nobody waits for the answer any more.
#[pyclass(frozen, skip_from_py_object, module = "server._native")]
#[derive(Clone)]
pub struct HasGone(Arc<AtomicBool>);

#[pymethods]
impl HasGone {
    fn __call__(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
