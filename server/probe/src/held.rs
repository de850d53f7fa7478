//! Values that are guarded by the interpreter's lock.
//!
//! A `Python` token proves that the lock is held, and no value is lent out while Python code runs: each access is over before
//! anybody else can have the lock. Interpreters without the lock cannot load an abi3 module, and the loader refuses them besides.

use std::cell::Cell;

use pyo3::{PyTraverseError, PyVisit, prelude::*, types::PyList, types::PyTuple};

/// A cell that whoever holds the interpreter's lock may use.
pub struct Held<T>(Cell<T>);

// SAFETY: every access needs a token of the interpreter's lock (or is the collector's, which holds it), and is a move of the value.
unsafe impl<T: Send> Sync for Held<T> {}

impl<T> Held<T> {
    /// Holds `value`.
    pub const fn new(value: T) -> Self {
        Self(Cell::new(value))
    }

    /// Puts another in its place. What was there is dropped by the caller, who may so run Python code.
    pub fn replace(&self, _py: Python<'_>, value: T) -> T {
        self.0.replace(value)
    }

    /// Lets go of what it holds, with all of it.
    pub fn end(self, py: Python<'_>)
    where
        T: LetGo,
    {
        self.0.into_inner().let_go(py);
    }

    /// Puts another in its place.
    pub fn set(&self, py: Python<'_>, value: T)
    where
        T: LetGo,
    {
        self.0.replace(value).let_go(py);
    }

    /// Lends the value to something that runs no Python code.
    fn peek<R>(&self, _py: Python<'_>, look: impl FnOnce(&T) -> R) -> R {
        // SAFETY: the lock is held, and `look` (of this module alone) neither gives it away nor comes back to this cell.
        look(unsafe { &*self.0.as_ptr() })
    }
}

/// What can be dropped with the lock in hand. PyO3 would ask whether it is.
pub trait LetGo: Sized {
    /// Drops it.
    fn let_go(self, _py: Python<'_>) {}
}

impl LetGo for bool {}
impl LetGo for u8 {}
impl LetGo for u64 {}
impl LetGo for usize {}
impl<T> LetGo for Vec<T> {}
impl<T: Copy> LetGo for Option<(u64, T)> {}

impl<T> LetGo for Option<Py<T>> {
    fn let_go(self, py: Python<'_>) {
        if let Some(object) = self {
            object.drop_ref(py);
        }
    }
}

impl<T> LetGo for Few<T> {
    fn let_go(self, py: Python<'_>) {
        match self {
            Self::None => {}
            Self::One(one) => one.drop_ref(py),
            Self::List(list) => list.drop_ref(py),
        }
    }
}

impl<T: Copy> Held<T> {
    /// The value.
    pub fn get(&self, _py: Python<'_>) -> T {
        self.0.get()
    }
}

impl<T> Held<Py<T>> {
    /// One more reference to the object.
    pub fn copy(&self, py: Python<'_>) -> Py<T> {
        self.peek(py, |object| object.clone_ref(py))
    }
}

impl<T> Held<Option<Py<T>>> {
    /// One more reference to the object, if there is one.
    pub fn copy(&self, py: Python<'_>) -> Option<Py<T>> {
        self.peek(py, |object| object.as_ref().map(|object| object.clone_ref(py)))
    }

    /// One more reference, for those who keep it no longer than their token.
    pub fn lend<'py>(&self, py: Python<'py>) -> Option<Bound<'py, T>> {
        self.copy(py).map(|object| object.into_bound(py))
    }

    /// Whether there is one.
    pub fn is_some(&self, py: Python<'_>) -> bool {
        self.peek(py, Option::is_some)
    }

    /// Whether it is this very object.
    pub fn is(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> bool {
        self.peek(py, |object| object.as_ref().is_some_and(|object| object.as_ptr() == other.as_ptr()))
    }

    /// Takes it out.
    pub fn take(&self, py: Python<'_>) -> Option<Py<T>> {
        self.replace(py, None)
    }
}

/// Objects in order, nearly always none or one. Python code sees a list, or `()` where there are none.
pub enum Few<T> {
    None,
    One(Py<T>),
    List(Py<PyList>),
}

impl<T> Few<T> {
    /// As Python code has it.
    pub fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(list) = value.cast_exact::<PyList>() {
            return Ok(if list.is_empty() { Self::None } else { Self::List(list.clone().unbind()) });
        }
        let list = value.try_iter()?.collect::<PyResult<Vec<_>>>()?;
        Ok(if list.is_empty() { Self::None } else { Self::List(PyList::new(value.py(), list)?.unbind()) })
    }

    /// As it is.
    pub fn copy(&self, py: Python<'_>) -> Self {
        match self {
            Self::None => Self::None,
            Self::One(one) => Self::One(one.clone_ref(py)),
            Self::List(list) => Self::List(list.clone_ref(py)),
        }
    }
}

/// The same, for those who keep them no longer than their token.
pub enum Lent<'py, T> {
    None,
    One(Bound<'py, T>),
    List(Bound<'py, PyList>),
}

impl<T> Held<Few<T>> {
    /// What there is.
    pub fn lend<'py>(&self, py: Python<'py>) -> Lent<'py, T> {
        match self.copy(py) {
            Few::None => Lent::None,
            Few::One(one) => Lent::One(one.into_bound(py)),
            Few::List(list) => Lent::List(list.into_bound(py)),
        }
    }

    /// How many there are.
    pub fn len(&self, py: Python<'_>) -> usize {
        self.peek(py, |few| match few {
            Few::None => 0,
            Few::One(_) => 1,
            Few::List(list) => list.bind(py).len(),
        })
    }

    /// The same, once more.
    pub fn copy(&self, py: Python<'_>) -> Few<T> {
        self.peek(py, |few| few.copy(py))
    }

    /// Adds one.
    pub fn push(&self, py: Python<'_>, one: Py<T>) -> PyResult<()> {
        match self.replace(py, Few::None) {
            Few::None => self.set(py, Few::One(one)),
            Few::One(first) => self.set(py, Few::List(PyList::new(py, [first.into_any(), one.into_any()])?.unbind())),
            Few::List(list) => {
                let added = list.bind(py).append(one.into_any());
                self.set(py, Few::List(list));
                added?;
            }
        }
        Ok(())
    }

    /// What Python code sees: from now on one list, which it may change.
    pub fn as_python(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let list = match self.replace(py, Few::None) {
            Few::None => return Ok(PyTuple::empty(py).into_any().unbind()),
            Few::One(one) => PyList::new(py, [one.into_any()])?.unbind(),
            Few::List(list) => list,
        };
        self.set(py, Few::List(list.clone_ref(py)));
        Ok(list.into_any())
    }

    /// For the garbage collector.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs with the lock held, between two accesses and not in one.
        match unsafe { &*self.0.as_ptr() } {
            Few::None => Ok(()),
            Few::One(one) => visit.call(one),
            Few::List(list) => visit.call(list),
        }
    }
}

impl<T> Held<Option<Py<T>>> {
    /// For the garbage collector.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: as above.
        unsafe { &*self.0.as_ptr() }.as_ref().map_or(Ok(()), |object| visit.call(object))
    }

    /// For the garbage collector, which holds the lock and gives no token.
    pub fn clear(&self) {
        drop(self.0.replace(None));
    }
}

impl<T> Held<Few<T>> {
    /// For the garbage collector, as above.
    pub fn clear(&self) {
        drop(self.0.replace(Few::None));
    }
}
