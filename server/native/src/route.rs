//! A compiled route: which parameters to take from where, and how to answer. Built from a `RouteSpec` (server/_specs.py) at start.

use pyo3::{prelude::*, types::PyString};

use crate::{
    pages::RouteLine,
    params::{Param, params_from},
};

/// What is made of a JSON body.
#[derive(FromPyObject)]
pub struct BodyParam {
    /// Keyword of the endpoint; None: there are several, and `validate` returns them all.
    pub name: Option<Py<PyString>>,
    /// Takes the bytes of the body.
    pub validate: Py<PyAny>,
    /// Called where there is no body; None: there must be one.
    pub absent: Option<Py<PyAny>>,
    /// A body without a content type is JSON too.
    pub lenient: bool,
}

/// An answer that never changes and never enters Python.
#[derive(FromPyObject)]
pub struct Constant {
    pub content_type: String,
    pub body: Vec<u8>,
}

/// Everything about one route.
#[derive(FromPyObject)]
pub struct Route {
    pub methods: Vec<String>,
    pub path: String,
    pub path_names: Vec<String>,
    pub endpoint: Py<PyAny>,
    pub is_async: bool,
    #[pyo3(from_py_with = params_from)]
    pub params: Vec<Param>,
    pub body: Option<BodyParam>,
    /// Keyword that gets the task list.
    pub tasks: Option<Py<PyString>>,
    /// Keyword that gets the `Request`.
    pub request: Option<Py<PyString>>,
    /// Makes the `Request`: called with an ASGI scope, the path's values and the body.
    pub make_request: Option<Py<PyAny>>,
    /// The straight way is only for as long as its `dependency_overrides` are empty.
    pub overridable: Option<Py<PyAny>>,
    pub status: u16,
    /// Encodes the endpoint's value by its response model; None: as it is.
    pub encode: Option<Py<PyAny>>,
    pub constant: Option<Constant>,
    /// Why requests for it go the general way; None: they do not.
    pub general: Option<String>,
    /// Its path is matched by the app alone.
    pub is_other: bool,
}

impl Route {
    /// What the admin port shows of it.
    pub fn line(&self) -> RouteLine {
        let way = match (&self.constant, &self.general) {
            (Some(_), _) => "constant",
            (None, Some(_)) => "general",
            (None, None) => "fast",
        };
        let (methods, path) = (self.methods.clone(), self.path.clone());
        RouteLine {
            methods,
            path,
            way,
            reason: self.general.clone(),
            has_tasks: self.general.is_none().then_some(self.tasks.is_some()),
        }
    }

    /// Whether answers with its status carry no body.
    pub fn is_bodyless(&self) -> bool {
        self.status < 200 || self.status == 204 || self.status == 304
    }
}
