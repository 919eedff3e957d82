//! One file per verb: decode, check, command, reply.

pub mod grant_mint;
pub mod login;
pub mod logout;
pub mod session;
pub mod setup;
