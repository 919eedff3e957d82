//! access: who the operators are, who is logged in, and who may act later.
pub mod opaque;
