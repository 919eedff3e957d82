//! borealis-agent: the program on each device.
//!
//! [`core`] decides without input or output; [`journal`] makes its steps durable; the other modules are its hands.

pub mod clock;
pub mod core;
pub mod identity;
pub mod journal;
pub mod paths;
pub mod random;
pub mod tls;
