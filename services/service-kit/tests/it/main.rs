//! The service kit on a real bus.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

mod answers;
mod busy;
mod control;
mod following;
mod links;
mod running;
