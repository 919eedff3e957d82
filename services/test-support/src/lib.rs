//! What tests of several crates share: a real bus, a real server, and waiting with a deadline.
//!
//! [`TestBus`] is a real nats-server, started from the shipped template with keys that the product's own `init` made in a
//! temporary root. [`TestServer`] is the real `borealis-server up`. Both bind to loopback on free ports, end when they are
//! dropped, and leave their root behind, saying where, when the test failed.
//!
//! Every helper returns [`TestError`]; tests unwrap it.

mod wait;

pub mod programs;
mod settings;

mod authenticator;
mod golden;

mod log;

mod bus;
mod chaos_link;
mod fail_points;
mod link;
mod user;

mod operator;
mod service;

mod server;

pub use authenticator::{Answer, Authenticator, Seen};
pub use bus::{TestBus, TestDevice, user_key_pair};
pub use chaos_link::{ChaosLink, Deeds, Weather};
pub use fail_points::FailPoints;
pub use golden::{Golden, golden_files, pin_all, pinned};
pub use link::{Flow, Link};
pub use log::{LogHooks, hooked};
pub use operator::{TestOperator, ask, biscuit_root, narrowed};
pub use server::{Ready, ServerOptions, TestServer};
pub use service::{TestService, append, connect, host_facts, isolated, open_store};
pub use settings::number_of;
pub use user::{Events, Message, Messages, User, tls};
pub use wait::{DEADLINE, TestError, eventually, eventually_within};
