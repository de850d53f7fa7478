//! A compiled route: which parameters to take from where, and how to answer. Built from a `RouteSpec` (server/_routes.py) at start.

use pyo3::{prelude::*, types::PyString};

use crate::pages::RouteLine;

/// One parameter of an endpoint.
#[derive(FromPyObject)]
pub struct Param {
    /// Keyword of the endpoint.
    pub name: Py<PyString>,
    /// "path", "query" or "header".
    pub source: String,
    /// Name in the request; of a header, in lower case.
    pub alias: String,
    /// Bound `validate_python`; None for a plain `str`.
    pub validate: Option<Py<PyAny>>,
    /// Whether the request must have it.
    pub required: bool,
    /// Used where the request does not have it.
    pub default: Py<PyAny>,
    /// Makes a default that cannot be shared.
    pub make_default: Option<Py<PyAny>>,
}

/// A JSON body that one parameter takes whole.
#[derive(FromPyObject)]
pub struct BodyParam {
    /// Keyword of the endpoint.
    pub name: Py<PyString>,
    /// Takes the bytes of the body.
    pub validate_json: Py<PyAny>,
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
    pub params: Vec<Param>,
    pub body: Option<BodyParam>,
    /// Keyword that gets the task list.
    pub tasks: Option<Py<PyString>>,
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
