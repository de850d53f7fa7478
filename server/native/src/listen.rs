//! Listening sockets.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::{BorrowedFd, RawFd},
    sync::Mutex,
};

use pyo3::{exceptions::PyOSError, prelude::*};
use socket2::{Domain, Protocol, Socket, Type};

use crate::core::lock;

const BACKLOG: i32 = 2048;

pub fn open(what: &str, host: &str, port: u16, place: &Mutex<Option<TcpListener>>) -> PyResult<u16> {
    let address = format!("{what}{host}:{port}");
    let listener = listen(host, port).map_err(|error| os_error(&error, address.clone()))?;
    let port = listener.local_addr().map_err(|error| os_error(&error, address))?.port();
    *lock(place) = Some(listener);
    Ok(port)
}

fn listen(host: &str, port: u16) -> std::io::Result<TcpListener> {
    use std::net::ToSocketAddrs;
    let address: SocketAddr = (host, port).to_socket_addrs()?.next().ok_or_else(|| std::io::Error::other("no such host"))?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets the port of a killed server be used again at once. Not SO_REUSEPORT: that would share it with a server that outlived its kill.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

pub fn adopt(descriptor: RawFd) -> std::io::Result<TcpListener> {
    // SAFETY: a plain system call, which says whether there is such a descriptor.
    if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: it is open, as was asked above, and stays so for the next line.
    let given = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let socket = Socket::from(given.try_clone_to_owned()?);
    // Shared with the process that opened it, which never accepts.
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

pub fn os_error(error: &std::io::Error, place: String) -> PyErr {
    PyOSError::new_err((error.raw_os_error(), error.to_string(), place))
}
