//! What a request brings to prove who sends it: read here, judged by the service that owns the verb.

pub(crate) mod cookie;
pub(crate) mod origin;
pub(crate) mod proof;
pub(crate) mod token;
