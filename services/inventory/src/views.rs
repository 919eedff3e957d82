//! What is read: the facts, on disk, and the fleet, in memory.

pub mod facts;
pub mod fleet;
