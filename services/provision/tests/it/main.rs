//! Keys as they are made, and as they are replaced.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod init;
mod rotate;
