//! The parts of the bundled server that need no Python, in reading order:
//!
//! - [`clock`]: the one clock of a run.
//! - [`rows`]: a mapped file of fixed-size rows and a page of gauges that outlive the process.
//! - [`life`]: the states of one task attempt and who may move it.
//! - [`ledger`]: every task between accepted and ended, told to the rows and the gauges.
//! - [`queue`]: work waiting for one of a changeable number of threads.
//! - [`router`]: method and path to route number.
//! - [`proxies`]: whom to believe about the client.
//! - [`functions`], [`watch`], [`gil`], [`histogram`], [`process`], [`ordered`], [`text`]: what is seen from outside, and how it is written.

pub mod clock;
pub mod functions;
pub mod gil;
pub mod histogram;
pub mod ledger;
pub mod life;
pub mod ordered;
pub mod process;
pub mod proxies;
pub mod queue;
pub mod router;
pub mod rows;
mod sync;
pub mod text;
pub mod watch;
