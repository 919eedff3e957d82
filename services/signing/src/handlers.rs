//! One file per verb: decode, check, command, reply.

pub mod countersigned;
pub mod orders_sign;
