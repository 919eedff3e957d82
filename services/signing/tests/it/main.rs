//! Runs signing with access on a real bus; enrollment is its log alone.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[path = "../../../access/tests/it/harness.rs"]
mod harness;

mod fleet;

mod heads;
mod isolation;
mod orders;
mod refusals;
mod scheduler;
mod second_person;
mod staleness;
