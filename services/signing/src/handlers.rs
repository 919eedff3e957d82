//! One file per verb: decode, check, command, reply.

pub mod orders_sign;
