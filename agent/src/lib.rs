//! borealis-agent: the program on each device.
//!
//! [`core`] decides without input or output; [`journal`] makes its steps durable; the other modules are its hands.

pub mod clock;
pub mod commands;
pub mod core;
pub mod identity;
pub mod journal;
pub mod paths;
pub mod process;
pub mod random;
pub mod roles;
pub mod runtime;
pub mod settings;
pub mod tls;
pub mod transport;
