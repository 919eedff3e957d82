//! borealis-agent: the program on each device.
//!
//! [`core`] decides without input or output; [`journal`] makes its steps durable; the other modules are its hands.

pub mod core;
pub mod journal;
