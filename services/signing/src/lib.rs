//! signing: the code-signing key and the last word on what is signed.
pub mod aggregate;
pub mod coverage;
pub mod stored;
