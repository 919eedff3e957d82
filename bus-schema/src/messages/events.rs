//! How events cross services: signed heads, and catch-up reads from the owner.

use serde::{Deserialize, Serialize};

use crate::order::Digest;
use crate::subjects::Service;
use crate::time::Timestamp;

/// Is a service's head; travels as a [`crate::forms::Signed`] under [`crate::forms::Form::Head`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose.
    pub service: Service,
    /// The newest durable position.
    pub position: u64,
    /// The chain's hash at that position.
    pub hash: Digest,
    /// When it was signed.
    pub at: Timestamp,
}

/// Asks a service for its events behind a position.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventsRead {
    /// The last position the reader has.
    pub after: u64,
    /// How many to return at most.
    pub limit: u32,
}

/// Is one event as others read it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventRow {
    /// Its position in the owner's log.
    pub position: u64,
    /// The stream it stands in.
    pub stream: String,
    /// What happened.
    pub kind: String,
    /// When, by the owner's clock, in Unix milliseconds.
    pub at_ms: i64,
    /// SHA-256 of the body.
    pub body_digest: Digest,
    /// The body, unless it is the owner's secret or was dropped by retention.
    pub body: Option<serde_bytes::ByteBuf>,
}

/// Answers [`EventsRead`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventsPage {
    /// The events in order; empty at the head.
    pub events: Vec<EventRow>,
}
