//! What a deployment is made of before its first start: keys, certificates and the bus's config.
//!
//! [`init()`] makes all keys of a root once. The roots (code signing, bus operator, accounts, CA) are sealed into one
//! recovery file and then forgotten; what stays on line is one folder per holder, closed to everyone else; [`rotate()`] replaces those. [`nats_config`]
//! turns the shipped template into nats-server's config, [`nats_server`] finds exactly the pinned nats-server, [`lock`]
//! keeps a second server off the root.
//!
//! **On disk.** `Certificates/Server/` is built beside its place and renamed into it, so that it is there completely or
//! not at all; `Server/recovery.brl` is written just before.
//!
//! **How it fails.** With [`InitError`], before anything was put in place. A root whose services have state but whose
//! keys are gone is never provisioned again: that would orphan every device.

mod init;
mod rotate;

pub mod bus;
pub mod certificates;
pub mod recovery;

pub mod nats_config;
pub mod nats_server;

pub mod lock;

pub use init::{InitError, Options, Outcome, init, renew};
pub use rotate::{Rotated, Rotation, reseal, rotate};
