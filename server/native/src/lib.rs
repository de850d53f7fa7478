//! The compiled module `server._native`: HTTP, dispatch, task workers and drain of the bundled server. Its manual is `_native.pyi`.
//!
//! Reading order: [`core`] (what all threads share), [`io`] (hyper; never touches Python) with [`connection`] (how long clients may take),
//! [`upload`] and [`body`] (bodies of requests and answers), [`outbox`] (what it hands over), [`job`] (one request on its way through
//! Python, whose client's [`presence`] it may ask for), [`params`] and [`route`] (a compiled route), [`scope`] (ASGI), [`tasks`] (background tasks
//! as Python sees them), [`chain`] (the tasks of one request), [`policy`] (how they are run), [`worker`] (threads that run them),
//! [`looping`] (the event loop's side), [`overdue`] (tasks that run too long), [`asgi`] (the general way, over
//! [`exchange`], its answer in [`framing`]) and [`websocket`] (with [`talk`], its I/O side), [`panics`], [`server`] (start, drain, stop; [`settings`]); seen from outside: [`admin`]
//! (its port), [`pages`] (what it shows), [`gil`] and [`holder`] (who has the interpreter's lock). [`effects`] is for other programs.
//!
//! Rule of the threads: I/O threads never attach to the interpreter, and nobody waits for a lock of this crate while attached longer
//! than a push or a pop takes. So nobody runs Python code while it holds one, and the last reference to an object may run some.

mod admin;
mod answer;
mod asgi;
mod body;
mod busy;
mod chain;
mod connection;
mod core;
mod effects;
mod exchange;
mod framing;
mod gil;
mod handshake;
mod holder;
mod io;
mod job;
mod lane;
mod listen;
mod looping;
mod outbox;
mod overdue;
mod pages;
mod panics;
mod params;
mod policy;
mod presence;
mod reply;
mod responses;
mod route;
mod scope;
mod server;
mod settings;
mod talk;
mod tasks;
mod upload;
mod websocket;
mod worker;

#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::{
        asgi::AsgiCall, effects::EffectRows, looping::AsyncChain, looping::AsyncJob, looping::is_untouched, policy::RoutePolicy,
        server::Server, tasks::TaskList, websocket::WebSocketCall,
    };
}
