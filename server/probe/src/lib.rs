//! The compiled part of the probe: what every request and every task of somebody's app pays for, and nothing else.
//!
//! It does what exchange.py, tasks.py and hooks.py do in the usual case, in the same order and with the same stores, and hands the
//! rest to them; without it they do everything. Reading order: [`sheet`] (rows and counters in the mapped file), [`hooks`] (what
//! Starlette calls), [`exchange`] (a request), [`opid`] (its id), [`row`] (a task), [`stage`] (how far both have come); then
//! [`held`], [`hot`], [`standin`], [`call`] and [`builtin`] (the interpreter's lock, objects, calls into Python and from there).

mod builtin;
mod call;
mod exchange;
mod held;
mod hooks;
mod hot;
mod opid;
mod row;
mod sheet;
mod stage;
mod standin;

#[pyo3::pymodule]
mod _accelerator {
    use pyo3::prelude::*;

    use crate::{exchange::Exchange, hot::new_class, row::TaskRow};

    #[pymodule_export]
    use crate::{hooks::Hooks, sheet::Sheet};

    /// What accelerator.py has to know as well: the two change together.
    #[pymodule_export]
    const REVISION: u32 = 3;

    #[pymodule_init]
    fn begin(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("Exchange", new_class::<Exchange>(module.py())?)?;
        module.add("TaskRow", new_class::<TaskRow>(module.py())?)
    }
}
