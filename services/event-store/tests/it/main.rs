//! The event store as its services meet it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod probe;
mod support;

mod append;
mod kill;
mod model;
mod syscalls;
mod views;
