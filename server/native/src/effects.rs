//! The world's witness: effect rows, for the servers that the tasks talk to.

use std::path::PathBuf;

use afterload_core::{
    clock::now_ns,
    rows::{Kind, RowFile},
};
use pyo3::{exceptions::PyOSError, prelude::*};

/// A file of effect rows.
#[pyclass(frozen, module = "server._native")]
pub struct EffectRows(RowFile);

#[pymethods]
impl EffectRows {
    #[new]
    #[pyo3(signature = (path, label = ""))]
    fn new(path: PathBuf, label: &str) -> PyResult<Self> {
        match RowFile::create(&path, Kind::Effects, 0, label) {
            Ok(rows) => Ok(Self(rows)),
            Err(error) => Err(PyOSError::new_err((error.raw_os_error(), error.to_string(), path))),
        }
    }

    /// Writes one effect down, now.
    #[pyo3(signature = (op, *, index = 0, value = 0))]
    fn append(&self, op: u64, index: u16, value: u64) {
        if let Some(row) = self.0.claim() {
            self.0.store(row, 1, u64::from(index));
            self.0.store(row, 2, now_ns());
            self.0.store(row, 3, value);
            self.0.store(row, 0, op);
        }
    }

    /// Marks the file as closed in good order.
    fn close(&self) {
        self.0.close();
    }
}
