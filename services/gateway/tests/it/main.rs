//! The gateway as others meet it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod golden;
mod live;
mod requests;
mod setting;
