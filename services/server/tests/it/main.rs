//! The server on a real bus: who may do what, and what the supervisor promises.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod bus_credentials;
mod bus_permissions;
mod bus_surface;

mod starting;
mod supervision;
