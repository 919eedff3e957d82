//! What enrollment decides: pure functions from a state and a command to events, and from a state and an event to a state.
//!
//! Nothing here reads a clock, draws random numbers or touches a file: times, ids and lookups are handed in.

pub mod approval;
pub mod code;
pub mod device;
