//! What library is asked: scripts by digest.

use serde::{Deserialize, Serialize};

use super::Request;
use crate::order::{Digest, Language};
use crate::subjects::Service;

/// Keeps a script as an unnamed assembly; the biscuit travels in the header.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PutScript {
    /// The interpreter.
    pub language: Language,
    /// The text.
    #[serde(with = "serde_bytes")]
    pub script: Vec<u8>,
}

/// Answers [`PutScript`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScriptKept {
    /// The script's name for ever.
    pub digest: Digest,
}

impl Request for PutScript {
    type Reply = ScriptKept;
    const SERVICE: Service = Service::Library;
    const VERB: &'static str = "scripts-put";
}

/// Asks for a script by its digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetScript {
    /// SHA-256 of the text.
    pub digest: Digest,
}

/// Answers [`GetScript`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Script {
    /// The interpreter.
    pub language: Language,
    /// The text.
    #[serde(with = "serde_bytes")]
    pub script: Vec<u8>,
}

impl Request for GetScript {
    type Reply = Script;
    const SERVICE: Service = Service::Library;
    const VERB: &'static str = "scripts-get";
}
