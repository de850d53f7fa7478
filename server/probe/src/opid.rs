//! The operation id that a request brings with it, by which client and server tell it from all others.

use pyo3::types::{PyBytes, PyDict, PyList};
use pyo3::{Borrowed, ffi, intern, prelude::*};

use crate::call::entry;
use crate::hooks::hooks;

/// Set in ids that the server made itself, for requests that bring none.
pub const UNTAGGED: u64 = 1 << 63;
const OP_DIGITS: usize = 16;

/// The operation id that the client has sent; 0: none that is one.
pub fn op_in(scope: &Bound<'_, PyAny>) -> PyResult<u64> {
    let py = scope.py();
    if let Ok(scope) = scope.cast_exact::<PyDict>() {
        let Some(headers) = entry(scope, intern!(py, "headers"))? else { return Ok(0) };
        if let Ok(headers) = headers.cast_exact::<PyList>()
            && let Some(op) = op_among(&headers)
        {
            return Ok(op);
        }
    }
    hooks(py)?.op_of.bind(py).call1((scope,))?.extract()
}

/// The same, in headers as servers make them. None: somebody else's, and to be looked at in Python.
fn op_among(headers: &Bound<'_, PyList>) -> Option<u64> {
    let py = headers.py();
    // SAFETY: each is asked for its type before it is taken for it, and nothing here runs Python code: what is borrowed stays.
    unsafe {
        for index in 0..ffi::PyList_Size(headers.as_ptr()) {
            let header = ffi::PyList_GetItem(headers.as_ptr(), index);
            if ffi::PyTuple_CheckExact(header) == 0 || ffi::PyTuple_Size(header) != 2 {
                return None;
            }
            let name = ffi::PyTuple_GetItem(header, 0);
            if ffi::PyBytes_CheckExact(name) == 0 {
                return None;
            }
            if ffi::PyBytes_Size(name) == 7 && Borrowed::from_ptr(py, name).cast_unchecked::<PyBytes>().as_bytes() == b"x-op-id" {
                let value = Borrowed::from_ptr(py, ffi::PyTuple_GetItem(header, 1));
                return Some(value.cast::<PyBytes>().map_or(0, |value| digits(value.as_bytes())));
            }
        }
    }
    Some(0)
}

/// Hexadecimal digits, all sixteen, and nothing else; 0: it is no operation id.
fn digits(text: &[u8]) -> u64 {
    if text.len() != OP_DIGITS {
        return 0;
    }
    let mut op = 0;
    for digit in text {
        let Some(digit) = char::from(*digit).to_digit(16) else { return 0 };
        op = op << 4 | u64::from(digit);
    }
    if op & UNTAGGED == 0 { op } else { 0 }
}
