//! Enrollment on a real bus.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod gate;
mod rig;

mod clones;
mod codes;
mod enrolling;
mod renewing;
mod rotating;
mod statuses;
mod verbs;
mod warding;
