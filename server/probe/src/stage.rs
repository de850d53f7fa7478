//! How far a coroutine of ours has come, and how it ends when it is not awaited to its end.

use pyo3::exceptions::{PyBaseException, PyGeneratorExit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::held::{Held, LetGo};

/// How far what is awaited has come.
#[derive(Clone, Copy, PartialEq)]
pub enum Stage {
    /// Not begun.
    New,
    /// Between two steps; what happens is ours.
    Own,
    /// Between two steps; it stands for the slow way, which does everything.
    Through,
    /// In a step.
    Stepping,
    /// Over.
    Over,
}

impl LetGo for Stage {}

/// What is to be closed of something that is awaited, which is over from now on. None: it has not begun, or is over.
pub fn begun(py: Python<'_>, stage: &Held<Stage>, coroutine: &Held<Option<Py<PyAny>>>) -> Option<(Stage, Py<PyAny>)> {
    let before = stage.get(py);
    if before != Stage::Stepping {
        stage.set(py, Stage::Over);
    }
    Some((before, coroutine.take(py)?))
}

/// The exception of a call of `throw`.
pub fn given(error: &Bound<'_, PyTuple>) -> PyResult<PyErr> {
    let first = error.get_item(0)?;
    Ok(match error.get_item(1) {
        Ok(second) if !second.is_none() => {
            PyErr::from_value(if second.is_instance_of::<PyBaseException>() { second } else { first.call1((second,))? })
        }
        _ if first.is_instance_of::<PyBaseException>() => PyErr::from_value(first),
        _ => PyErr::from_value(first.call0()?),
    })
}

/// What a coroutine raises inside when it is closed.
pub fn gave_up() -> PyErr {
    PyErr::new::<PyGeneratorExit, _>(())
}
