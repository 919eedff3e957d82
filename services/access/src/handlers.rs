//! One file per verb, and one for the verbs of operators, of second factors, of passkeys, of grants, of roles and of sites each: decode, check, command, reply.

mod change;
mod proof;

pub mod factors;
pub mod grant_mint;
pub mod grants;
pub mod login;
pub mod logout;
pub mod passkeys;
pub mod password;
pub mod roles;
pub mod session;
pub mod sessions;
pub mod setup;
pub mod sites;
pub mod tokens;
pub mod users;
