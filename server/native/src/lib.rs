//! The compiled module `server._native`: HTTP, dispatch, task workers and drain of the bundled server. Its manual is `_native.pyi`.
//!
//! Reading order: [`core`] (what all threads share), [`io`] (hyper; never touches Python), [`job`] (one request on its way through
//! Python), [`params`] and [`route`] (a compiled route), [`scope`] (ASGI), [`tasks`] (background tasks as Python sees them), [`chain`] (the tasks of one request),
//! [`worker`] (threads that run them), [`looping`] (the event loop's side), [`server`] (start, drain, stop).
//!
//! Rule of the threads: I/O threads never attach to the interpreter, and nobody waits for a lock of this crate while attached longer
//! than a push or a pop takes.

mod body;
mod chain;
mod core;
mod effects;
mod io;
mod job;
mod looping;
mod params;
mod route;
mod scope;
mod server;
mod tasks;
mod worker;

#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::{effects::EffectRows, looping::AsyncChain, looping::AsyncJob, server::Server, tasks::TaskList};
}
