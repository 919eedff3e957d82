//! Runs signing with access on a real bus; enrollment is its log alone.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "../../../access/tests/it/harness.rs"]
mod harness;

mod fleet;

mod heads;
mod isolation;
mod orders;
mod refusals;
mod scheduler;
mod staleness;
