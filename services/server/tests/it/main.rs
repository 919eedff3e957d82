//! The server on a real bus: who may do what, and what the supervisor promises.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod bus_credentials;
mod bus_permissions;
mod bus_surface;
mod certificates;

mod quickstart;
mod starting;
mod store;
mod supervision;

mod audit;
mod bad_input;
mod bad_network;
mod chaos;
mod device_keys;
mod devices;
mod factors;
mod fleet;
mod hints;
mod kill_points;
mod kills;
mod ledger;
mod library;
mod many;
mod matrix;
mod operators;
mod outages;
mod own_users;
mod played;
mod proved;
mod rotation;
mod runs;
mod schedules;
mod second_person;
mod storm;
mod taken_over;
mod tenancy;
mod trust;
mod waves;
