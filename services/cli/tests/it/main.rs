//! The program as people and scripts run it, against a real gateway on a real bus.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod account;
mod errors;
mod follow;
mod schedules;
mod setting;
