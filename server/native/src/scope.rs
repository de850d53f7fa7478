//! A request as an ASGI scope.

use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict, PyList},
};

use crate::job::Job;

/// The scope of a request, as an ASGI server makes it.
pub fn scope_of<'py>(py: Python<'py>, job: &Job) -> PyResult<Bound<'py, PyDict>> {
    let scope = PyDict::new(py);
    let headers = PyList::empty(py);
    for (name, value) in &job.headers {
        headers.append((PyBytes::new(py, name.as_str().as_bytes()), PyBytes::new(py, value.as_bytes())))?;
    }
    let asgi = PyDict::new(py);
    asgi.set_item("version", "3.0")?;
    asgi.set_item("spec_version", "2.3")?;
    scope.set_item("type", "http")?;
    scope.set_item("asgi", asgi)?;
    scope.set_item("http_version", "1.1")?;
    scope.set_item("method", job.method.as_str())?;
    scope.set_item("scheme", "http")?;
    scope.set_item("path", &job.path)?;
    scope.set_item("root_path", "")?;
    scope.set_item("query_string", PyBytes::new(py, job.query.as_deref().unwrap_or_default().as_bytes()))?;
    scope.set_item("headers", headers)?;
    Ok(scope)
}
