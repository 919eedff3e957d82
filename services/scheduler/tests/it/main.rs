//! The scheduler on a real bus, over logs that were written before it starts.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod firing;
mod harness;
mod late;

mod cancel;
mod preview;
mod reading;
mod restart;
mod schedules;
