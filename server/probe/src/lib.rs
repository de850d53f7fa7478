//! The compiled part of the probe: what every request and every task of somebody's app pays for, and nothing else.
//!
//! It does what exchange.py, tasks.py and hooks.py do in the usual case, in the same order and with the same stores, and hands the rest
//! to them; without it they do everything. Reading order: [`sheet`] (rows and counters in the mapped file), [`hooks`] (what
//! Starlette calls), [`exchange`] (a request), [`row`] (a task), [`held`], [`call`], [`builtin`] and [`standin`] (the interpreter's lock, calls into Python and
//! from there).

mod builtin;
mod call;
mod exchange;
mod held;
mod hooks;
mod row;
mod sheet;
mod standin;

#[pyo3::pymodule]
mod _accelerator {
    #[pymodule_export]
    use crate::{exchange::Exchange, hooks::Hooks, row::TaskRow, sheet::Sheet};

    /// What accelerator.py has to know as well: the two change together.
    #[pymodule_export]
    const REVISION: u32 = 3;
}
