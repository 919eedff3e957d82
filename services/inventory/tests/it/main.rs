//! Inventory on a real bus.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod rig;

mod listing;
mod telling;
mod verbs;
