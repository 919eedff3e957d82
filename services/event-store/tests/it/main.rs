//! The event store as its services meet it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod probe;
mod support;

mod append;
mod files;
mod full;
mod kill;
mod model;
mod power;
mod syscalls;
mod upkeep;
mod views;
