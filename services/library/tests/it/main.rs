//! The library on a real bus.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod rig;

mod assemblies;
mod sites;
