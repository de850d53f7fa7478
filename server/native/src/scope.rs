//! The ASGI scope of a request (ASGI 3.0, HTTP message format 2.3 and WebSocket message format 2.4), with the values that uvicorn gives.

use std::{net::SocketAddr, sync::Arc};

use afterload_core::proxies::{Proxies, scheme};
use http::{HeaderMap, Method, Uri, Version};
use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString},
};

/// Both ends of a connection.
pub struct Ends {
    pub client: Option<SocketAddr>,
    pub server: Option<SocketAddr>,
    /// If the client is a proxy that is believed: who else is.
    pub proxies: Option<Arc<Proxies>>,
}

impl Ends {
    /// The scheme of a request, as a trusted proxy says.
    pub fn scheme(&self, headers: &HeaderMap, websocket: bool) -> &'static str {
        let told = self.proxies.as_ref().and_then(|_| headers.get_all("x-forwarded-proto").iter().next_back());
        let told = told.and_then(|told| scheme(&latin_1(told.as_bytes()), websocket));
        told.unwrap_or(if websocket { "ws" } else { "http" })
    }

    fn client(&self, headers: &HeaderMap) -> Option<(String, u32)> {
        if let Some(proxies) = &self.proxies {
            let told = headers.get_all("x-forwarded-for");
            let told: Vec<_> = told.iter().map(|told| latin_1(told.as_bytes())).collect();
            if let Some(client) = proxies.client(&told.join(", ")).filter(|_| !told.is_empty()) {
                return Some(client);
            }
        }
        address(self.client)
    }
}

fn latin_1(text: &[u8]) -> String {
    text.iter().copied().map(char::from).collect()
}

/// The head of a request.
pub struct Asked {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
    /// Percent-decoded.
    pub path: String,
    pub ends: Arc<Ends>,
}

/// The scope of an HTTP request. `state` and `app` are the app's affair.
pub fn scope_of<'py>(py: Python<'py>, asked: &Asked) -> PyResult<Bound<'py, PyDict>> {
    let scope = common(py, asked, "http")?;
    scope.set_item(intern!(py, "method"), asked.method.as_str())?;
    scope.set_item(intern!(py, "scheme"), asked.ends.scheme(&asked.headers, false))?;
    Ok(scope)
}

/// The scope of a web socket.
pub fn websocket_scope_of<'py>(py: Python<'py>, asked: &Asked, subprotocols: Vec<String>) -> PyResult<Bound<'py, PyDict>> {
    let scope = common(py, asked, "websocket")?;
    scope.set_item(intern!(py, "scheme"), asked.ends.scheme(&asked.headers, true))?;
    scope.set_item(intern!(py, "subprotocols"), PyList::new(py, subprotocols)?)?;
    let denial = PyDict::new(py);
    denial.set_item("websocket.http.response", PyDict::new(py))?;
    scope.set_item(intern!(py, "extensions"), denial)?;
    Ok(scope)
}

fn common<'py>(py: Python<'py>, asked: &Asked, kind: &str) -> PyResult<Bound<'py, PyDict>> {
    let scope = PyDict::new(py);
    scope.set_item(intern!(py, "type"), PyString::intern(py, kind))?;
    let version = PyDict::new(py);
    version.set_item(intern!(py, "version"), intern!(py, "3.0"))?;
    // Starlette asks for it: below 2.4 it stops a streamed answer when `receive` says that the client has gone, from 2.4 when `send` raises.
    let spec = if kind == "http" { intern!(py, "2.3") } else { intern!(py, "2.4") };
    version.set_item(intern!(py, "spec_version"), spec)?;
    scope.set_item(intern!(py, "asgi"), version)?;
    let http_version = if asked.version == Version::HTTP_10 { intern!(py, "1.0") } else { intern!(py, "1.1") };
    scope.set_item(intern!(py, "http_version"), http_version)?;
    scope.set_item(intern!(py, "server"), address(asked.ends.server))?;
    scope.set_item(intern!(py, "client"), asked.ends.client(&asked.headers))?;
    scope.set_item(intern!(py, "root_path"), intern!(py, ""))?;
    scope.set_item(intern!(py, "path"), &asked.path)?;
    scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, asked.uri.path().as_bytes()))?;
    scope.set_item(intern!(py, "query_string"), PyBytes::new(py, asked.uri.query().unwrap_or("").as_bytes()))?;
    scope.set_item(intern!(py, "headers"), headers_of(py, &asked.headers)?)?;
    Ok(scope)
}

/// Header pairs as ASGI has them.
pub fn headers_of<'py>(py: Python<'py>, headers: &HeaderMap) -> PyResult<Bound<'py, PyList>> {
    let pairs =
        headers.iter().map(|(name, value)| (PyBytes::new(py, name.as_str().as_bytes()), PyBytes::new(py, value.as_bytes())));
    PyList::new(py, pairs.collect::<Vec<_>>())
}

fn address(end: Option<SocketAddr>) -> Option<(String, u32)> {
    end.map(|end| (end.ip().to_string(), u32::from(end.port())))
}
