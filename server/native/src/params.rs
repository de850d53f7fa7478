//! Arguments of a request that is in order, straight from its parts. Everything else is [`Trouble`].
//!
//! Nothing of the user's has been called before the last argument is there, except validators and default factories: so a request with
//! a mistake can still be handed over whole to the general way, where FastAPI itself says what is wrong with it.

use std::{borrow::Cow, cell::OnceCell};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString},
};

use crate::route::{BodyParam, Route};

type Headers<'py> = Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>;
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Where a parameter comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Path,
    Query,
    Header,
    Cookie,
    /// The whole query string, for what FastAPI's own functions have to look at.
    WholeQuery,
    /// All headers, likewise; cookies are taken from them too.
    WholeHead,
}

/// One parameter of an endpoint.
pub struct Param {
    /// Keyword of the endpoint.
    name: Py<PyString>,
    source: Source,
    /// Names in the request, the first one present counts.
    aliases: Vec<String>,
    /// Of a header, the same. What cannot be a header's name is in no request.
    header_names: Vec<HeaderName>,
    /// All values of the name are taken.
    many: bool,
    /// Bound `validate_python`; None for a plain `str`.
    validate: Option<Py<PyAny>>,
    /// Whether the request must have it.
    required: bool,
    /// Used where the request does not have it.
    default: Py<PyAny>,
    /// Makes a default that cannot be shared.
    make_default: Option<Py<PyAny>>,
}

#[derive(FromPyObject)]
struct ParamSpec {
    name: Py<PyString>,
    source: String,
    aliases: Vec<String>,
    many: bool,
    validate: Option<Py<PyAny>>,
    required: bool,
    default: Py<PyAny>,
    make_default: Option<Py<PyAny>>,
}

/// Reads a list of `ParamSpec` (server/_specs.py).
pub fn params_from(specs: &Bound<'_, PyAny>) -> PyResult<Vec<Param>> {
    let specs: Vec<ParamSpec> = specs.extract()?;
    specs.into_iter().map(Param::try_from).collect()
}

impl TryFrom<ParamSpec> for Param {
    type Error = PyErr;

    fn try_from(spec: ParamSpec) -> PyResult<Self> {
        let ParamSpec { name, source, aliases, many, validate, required, default, make_default } = spec;
        let source = match source.as_str() {
            "path" => Source::Path,
            "query" => Source::Query,
            "header" => Source::Header,
            "cookie" => Source::Cookie,
            "query whole" => Source::WholeQuery,
            "header whole" | "cookie whole" => Source::WholeHead,
            other => return Err(pyo3::exceptions::PyValueError::new_err(format!("no parameter comes from {other}"))),
        };
        let header_names = match source {
            Source::Header => aliases.iter().filter_map(|alias| HeaderName::from_bytes(alias.as_bytes()).ok()).collect(),
            _ => Vec::new(),
        };
        Ok(Self { name, source, aliases, header_names, many, validate, required, default, make_default })
    }
}

/// The request is not in order.
pub struct Trouble;

/// Whatever a validator raises, FastAPI will come upon it again.
impl From<PyErr> for Trouble {
    fn from(_: PyErr) -> Self {
        Self
    }
}

/// What parameters are taken from.
pub struct Received<'a> {
    pub path_values: &'a [String],
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    pairs: OnceCell<Vec<Pair<'a>>>,
    cookies: OnceCell<Vec<(String, String)>>,
}

impl<'a> Received<'a> {
    pub fn new(path_values: &'a [String], query: Option<&'a str>, headers: &'a HeaderMap, body: &'a [u8]) -> Self {
        Self { path_values, query, headers, body, pairs: OnceCell::new(), cookies: OnceCell::new() }
    }

    /// The keywords of the route's endpoint.
    pub fn arguments<'py>(&self, py: Python<'py>, route: &Route) -> Result<Bound<'py, PyDict>, Trouble> {
        let kwargs = PyDict::new(py);
        for param in &route.params {
            let value = match self.raw(py, route, param)? {
                Some(raw) => match &param.validate {
                    None => raw,
                    Some(validate) => validate.bind(py).call1((raw,))?,
                },
                None if param.required => return Err(Trouble),
                None => match &param.make_default {
                    None => param.default.bind(py).clone(),
                    Some(make) => make.bind(py).call0()?,
                },
            };
            kwargs.set_item(&param.name, value)?;
        }
        if let Some(body) = &route.body {
            let value = self.json(py, body)?;
            match &body.name {
                Some(name) => kwargs.set_item(name, value)?,
                None => kwargs.update(value.cast::<PyDict>().map_err(PyErr::from)?.as_mapping())?,
            }
        }
        Ok(kwargs)
    }

    fn raw<'py>(&self, py: Python<'py>, route: &Route, param: &Param) -> Result<Option<Bound<'py, PyAny>>, Trouble> {
        Ok(match param.source {
            Source::Path => {
                let Some(alias) = param.aliases.first() else { return Err(Trouble) };
                let place = route.path_names.iter().position(|name| name == alias).ok_or(Trouble)?;
                Some(PyString::new(py, self.path_values.get(place).ok_or(Trouble)?).into_any())
            }
            Source::Query => {
                let Some(pairs) = self.pairs()? else { return Ok(None) };
                let alias = param.aliases.iter().find(|alias| pairs.iter().any(|(name, _)| name == *alias));
                let mut values = pairs.iter().filter(|(name, _)| Some(name.as_ref()) == alias.map(String::as_str));
                if param.many {
                    list_of(py, values.map(|(_, value)| PyString::new(py, value)))?
                } else {
                    // Of a repeated parameter the last one counts, as in Starlette.
                    values.next_back().map(|(_, value)| PyString::new(py, value).into_any())
                }
            }
            Source::Header => {
                let given = |name: &&HeaderName| self.headers.contains_key(*name);
                if param.many {
                    let Some(name) = param.header_names.iter().find(given) else { return Ok(None) };
                    list_of(py, self.headers.get_all(name).iter().map(|value| PyString::new(py, &latin1(value))))?
                } else {
                    let value = param.header_names.iter().find_map(|name| self.headers.get(name));
                    value.map(|value| PyString::new(py, &latin1(value)).into_any())
                }
            }
            Source::Cookie => {
                let cookies = self.cookies();
                let named = |alias: &String| cookies.iter().rev().find(|(name, _)| name == alias);
                let Some((_, value)) = param.aliases.iter().find_map(named) else { return Ok(None) };
                // Quoted values have escapes of their own.
                if value.starts_with('"') {
                    return Err(Trouble);
                }
                Some(PyString::new(py, value).into_any())
            }
            Source::WholeQuery => {
                if !self.query.is_none_or(str::is_ascii) {
                    return Err(Trouble);
                }
                Some(PyString::new(py, self.query.unwrap_or_default()).into_any())
            }
            Source::WholeHead => Some(self.head(py).into_pyobject(py)?),
        })
    }

    /// The query's names and values. None: there is no query.
    fn pairs(&self) -> Result<Option<&[Pair<'a>]>, Trouble> {
        let Some(query) = self.query else { return Ok(None) };
        // Bytes that nobody percent-encoded are Latin-1 to Starlette and UTF-8 to everybody else.
        if !query.is_ascii() {
            return Err(Trouble);
        }
        Ok(Some(self.pairs.get_or_init(|| form_urlencoded::parse(query.as_bytes()).collect())))
    }

    /// As in `starlette.requests.cookie_parser`, still quoted.
    fn cookies(&self) -> &[(String, String)] {
        self.cookies.get_or_init(|| {
            let mut cookies = Vec::new();
            for line in self.headers.get_all(header::COOKIE) {
                for chunk in latin1(line).split(';') {
                    let (name, value) = chunk.split_once('=').unwrap_or(("", chunk));
                    let (name, value) = (name.trim_matches(is_blank), value.trim_matches(is_blank));
                    if !name.is_empty() || !value.is_empty() {
                        cookies.push((name.to_owned(), value.to_owned()));
                    }
                }
            }
            cookies
        })
    }

    fn head<'py>(&self, py: Python<'py>) -> Headers<'py> {
        let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
        self.headers.iter().map(|(name, value)| (bytes(name.as_str().as_bytes()), bytes(value.as_bytes()))).collect()
    }

    fn json<'py>(&self, py: Python<'py>, body: &BodyParam) -> Result<Bound<'py, PyAny>, Trouble> {
        if self.body.is_empty() {
            return Ok(body.absent.as_ref().ok_or(Trouble)?.bind(py).call0()?);
        }
        let content_type = self.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let is_json = content_type == b"application/json" || content_type.starts_with(b"application/json;");
        if !(is_json || body.lenient && content_type.is_empty()) {
            return Err(Trouble);
        }
        Ok(body.validate.bind(py).call1((PyBytes::new(py, self.body),))?)
    }
}

/// None for no values: then the default counts.
fn list_of<'py>(py: Python<'py>, values: impl Iterator<Item = Bound<'py, PyString>>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let list = PyList::empty(py);
    for value in values {
        list.append(value)?;
    }
    Ok((!list.is_empty()).then(|| list.into_any()))
}

/// Header values are Latin-1: each byte is its own code point.
fn latin1(value: &HeaderValue) -> String {
    value.as_bytes().iter().map(|&byte| char::from(byte)).collect()
}

/// What Python's `str.strip` takes off a Latin-1 text.
fn is_blank(char: char) -> bool {
    char.is_whitespace() || ('\x1c'..='\x1f').contains(&char)
}
