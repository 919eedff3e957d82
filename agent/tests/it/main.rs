//! The agent's parts on a real system: process trees, output, and the whole agent on a real bus.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod tree;
