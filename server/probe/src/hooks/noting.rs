//! What the hooks write down of tasks and responses as they are made, in the usual case.

use std::sync::atomic::Ordering;

use pyo3::{intern, prelude::*, types::PyDict, types::PyList};

use super::Hooks;
use crate::call::entry;
use crate::exchange::Exchange;
use crate::held::Few;
use crate::hot::{object, seen};
use crate::row::{ASYNC, DEF, MOST, TaskRow};
use crate::sheet::{Sheet, now, word};

impl Hooks {
    pub(super) fn note_made(&self, task: &Bound<'_, PyAny>, func: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = task.py();
        let Some(unit) = self.current.get(py)? else { return Ok(()) };
        let [class, slow, ..] = self.tasks(py)?;
        if let Some(exchange) = seen::<Exchange>(&unit)
            && !exchange.get().has_left.get(py)
            && task.get_type_ptr().cast() == class.as_ptr()
            && self.is_function(func)
        {
            return exchange.get().made.push(py, task.clone().unbind());
        }
        slow.bind(py).call1((task, unit.getattr(intern!(py, "exchange"))?))?;
        Ok(())
    }

    pub(super) fn note_response(&self, response: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = response.py();
        let Some(unit) = self.current.get(py)? else { return Ok(false) };
        let Some(exchange) = seen::<Exchange>(&unit) else {
            return self.begins_slowly(&unit.getattr(intern!(py, "exchange"))?, response);
        };
        let this = exchange.get();
        if this.rows.len(py) > 0 {
            return self.begins_slowly(&unit, response);
        }
        let background = match response.getattr(intern!(py, "background")) {
            Ok(background) => background,
            Err(_) => return self.begins_slowly(&unit, response),
        };
        if this.made.len(py) == 0 {
            return if background.is_none() { Ok(true) } else { self.begins_slowly(&unit, response) };
        }
        let made = this.made.copy(py);
        if !background.is_none() && is_carried(py, &made, &background)? {
            // As nearly always: the injected list, and nothing else.
            if let Err(error) = self.accept_all(exchange, made) {
                self.trouble(py, "a response", &error);
            }
            return Ok(true);
        }
        self.begins_slowly(&unit, response)
    }

    pub(super) fn next_row<'py>(&self, task: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, TaskRow>>> {
        match self.current.get(task.py())? {
            Some(unit) => seen::<Exchange>(&unit).map_or(Ok(None), |exchange| exchange.get().next_row(task)),
            None => Ok(None),
        }
    }

    fn begins_slowly(&self, exchange: &Bound<'_, PyAny>, response: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = response.py();
        if let Some(slow) = self.response.get(py) {
            slow.bind(py).call1((exchange, response))?;
        }
        Ok(true)
    }

    /// A row for each task that was made in this request, all of which its response carries.
    fn accept_all(&self, exchange: &Bound<'_, Exchange>, made: Few<PyAny>) -> PyResult<()> {
        let py = exchange.py();
        let this = exchange.get();
        let accepted = now();
        let op = this.op_number(py)?;
        this.made.set(py, Few::None);
        this.carried.set(py, made.copy(py));
        match made {
            Few::None => Ok(()),
            Few::One(task) => self.accept(exchange, 0, &task.into_bound(py), op, accepted),
            Few::List(tasks) => {
                tasks.bind(py).iter().enumerate().try_for_each(|(index, task)| self.accept(exchange, index, &task, op, accepted))
            }
        }
    }

    fn accept(
        &self,
        exchange: &Bound<'_, Exchange>,
        index: usize,
        task: &Bound<'_, PyAny>,
        op: u64,
        accepted: u64,
    ) -> PyResult<()> {
        let py = exchange.py();
        let this = exchange.get();
        let sheet = this.sheet.get();
        let func = task.getattr(intern!(py, "func"))?;
        let is_async = task.getattr(intern!(py, "is_async"))?.is_truthy()?;
        let row = object(py, TaskRow::of(exchange.clone().unbind(), task.clone().unbind()))?;
        this.rows.push(py, row.clone().unbind())?;
        if index >= MOST {
            sheet.page.call_method0(py, intern!(py, "count_unwritten"))?;
            return Ok(());
        }
        let number: u64 = match self.known(py, sheet, &func)? {
            Some(number) => number,
            None => sheet.page.call_method1(py, intern!(py, "number_of"), (func,))?.extract(py)?,
        };
        let kind = if is_async { ASYNC } else { DEF };
        let meta = index as u64 | number << 16 | kind << 32 | 1 << 40;
        if !sheet.writes() {
            return Ok(());
        }
        let Some((position, cell)) = sheet.claim(py) else {
            // The file has to grow, which takes a lock and a while.
            sheet.page.call_method1(py, intern!(py, "claim"), (row, op, meta, accepted))?;
            return Ok(());
        };
        cell[word::META].store(meta, Ordering::Relaxed);
        cell[word::ACCEPTED].store(accepted, Ordering::Relaxed);
        cell[word::OP].store(op, Ordering::Release);
        row.get().is_at(py, position, cell);
        Ok(())
    }

    fn known(&self, py: Python<'_>, sheet: &Sheet, func: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        if !self.is_function(func) {
            return Ok(None);
        }
        let functions = sheet.functions.bind(py).cast::<PyDict>()?;
        entry(functions, func)?.map(|number| number.extract()).transpose()
    }
}

/// Whether this background is a list of exactly these tasks.
fn is_carried(py: Python<'_>, made: &Few<PyAny>, background: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Some(tasks) = background.getattr_opt(intern!(py, "tasks"))? else { return Ok(false) };
    let Ok(tasks) = tasks.cast_exact::<PyList>() else { return Ok(false) };
    Ok(match made {
        Few::None => tasks.is_empty(),
        Few::One(task) => tasks.len() == 1 && tasks.get_item(0)?.is(task),
        Few::List(list) => {
            let list = list.bind(py);
            list.len() == tasks.len() && list.iter().zip(tasks.iter()).all(|(one, other)| one.is(&other))
        }
    })
}
