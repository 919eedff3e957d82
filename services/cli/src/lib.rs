//! `borealis`: the operators' command line, over the gateway's API.
//!
//! It trusts only the deployment's own CA. A password is proved by OPAQUE and never sent; the log-in binds a session key
//! that stays in the token (`brl1.<session key>.<biscuit>`), and whatever changes anything is signed by that key. Reads go
//! on the biscuit alone.
//!
//! A command is [`args`] → [`connection`] (server, CA, token) → [`commands`] → [`api`] → [`print`]. It ends with an exit code
//! that scripts can rely on ([`exit`]); with `--json` the answer, or the error, is JSON on stdout.

pub mod args;
pub mod clock;
pub mod error;
pub mod exit;

pub mod secret;

pub mod connection;

pub mod api;

pub mod opaque;

pub mod folded;
pub mod follow;

pub mod print;
pub mod progress;

pub mod audit;

pub mod commands;
