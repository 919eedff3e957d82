//! The agent's parts on a real system: process trees, output, whom it believes, and the whole agent on a real bus.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod bounds;
mod bus;
mod disk;
mod pki;
mod renewal;
mod tree;
mod trust;
