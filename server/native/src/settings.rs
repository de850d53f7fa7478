//! What a server is told at its start.

use std::{path::PathBuf, time::Duration};

use afterload_core::{ledger::Ledger, proxies::Proxies};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    connection::{Limits, connections_for_descriptors},
    core::{Helpers, Shape},
    listen::os_error,
    policy::Policy,
};

/// Everything that a server is told at its start (server/_config.py).
#[derive(FromPyObject)]
pub struct Settings {
    rows: Option<PathBuf>,
    boot: u64,
    label: String,
    pub pool: usize,
    endpoint_threads: usize,
    pub io_threads: usize,
    queue_limit: Option<u64>,
    pub max_body: usize,
    head_timeout_s: f64,
    body_timeout_s: f64,
    write_timeout_s: f64,
    keep_alive_s: f64,
    max_connections: Option<usize>,
    parallel: bool,
    stop_on_error: bool,
    task_timeout_s: Option<f64>,
    pub shared_pool: bool,
    trusted_proxies: String,
}

impl Settings {
    /// The proxies whose headers are believed. Raises ValueError naming what is no address.
    pub fn proxies(&self) -> PyResult<Proxies> {
        Proxies::parse(&self.trusted_proxies).map_err(|bad| {
            PyValueError::new_err(format!(
                "trusted_proxies is {:?}; allowed is '*', or addresses and networks with commas between them, which {bad:?} is not",
                self.trusted_proxies
            ))
        })
    }

    /// How tasks are run where a route says nothing else.
    pub fn policy(&self) -> Policy {
        Policy::new(self.parallel, self.stop_on_error, self.task_timeout_s)
    }

    pub fn shape(&self) -> Shape {
        Shape { pool: self.pool, shared_pool: self.shared_pool, lane_limit: self.endpoint_threads, queue_limit: self.queue_limit }
    }

    /// What clients may take.
    pub fn limits(&self) -> Limits {
        Limits {
            head: Duration::from_secs_f64(self.head_timeout_s),
            body: Duration::from_secs_f64(self.body_timeout_s),
            write: Duration::from_secs_f64(self.write_timeout_s),
            keep_alive: Duration::from_secs_f64(self.keep_alive_s),
            connections: self.max_connections.unwrap_or_else(connections_for_descriptors),
        }
    }

    /// Opens the row file, if there is to be one. Raises OSError with its path.
    pub fn ledger(&self) -> PyResult<Ledger> {
        Ledger::open(self.rows.as_deref(), self.boot, &self.label).map_err(|error| {
            let place = self.rows.as_ref().map(|path| path.display().to_string());
            os_error(&error, place.unwrap_or_default())
        })
    }
}

/// Functions and classes of Python that are called from here.
#[derive(FromPyObject)]
pub struct HelperSet {
    task_list: Py<PyAny>,
    is_async: Py<PyAny>,
    unpack: Py<PyAny>,
    encode: Py<PyAny>,
    explain: Py<PyAny>,
    task_failed: Py<PyAny>,
    task_never_ran: Py<PyAny>,
    response: Py<PyAny>,
    to_json: Py<PyAny>,
}

impl From<HelperSet> for Helpers {
    fn from(set: HelperSet) -> Self {
        Self {
            task_list: set.task_list,
            is_async: set.is_async,
            unpack: set.unpack,
            encode: set.encode,
            explain: set.explain,
            task_failed: set.task_failed,
            task_never_ran: set.task_never_ran,
            response: set.response,
            to_json: set.to_json,
        }
    }
}
