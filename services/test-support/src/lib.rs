//! What tests of several crates share: a real bus, a real server, and waiting with a deadline.
//!
//! [`TestBus`] is a real nats-server, started from the shipped template with keys that the product's own `init` made in a
//! temporary root. [`TestServer`] is the real `borealis-server up`. Both bind to loopback on free ports, end when they are
//! dropped, and leave their root behind, saying where, when the test failed.
//!
//! Every helper returns [`TestError`]; tests unwrap it.

mod wait;

pub mod programs;

mod golden;

mod bus;
mod user;

mod server;

pub use bus::{TestBus, TestDevice};
pub use golden::{Golden, golden, golden_files, pinned};
pub use server::{Ready, ServerOptions, TestServer};
pub use user::{Events, Message, User};
pub use wait::{DEADLINE, TestError, eventually, eventually_within};
