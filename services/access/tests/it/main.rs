//! Runs access against the real things it must fit: the web page's OPAQUE, and a real bus.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod harness;

mod client;

mod factors;
mod isolation;
mod log_in;
mod opaque;
mod passkeys;
mod people;
mod refusals;
