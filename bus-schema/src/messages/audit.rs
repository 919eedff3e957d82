//! How the audit is read: every service answers for its own log, the gateway merges.

use serde::{Deserialize, Serialize};

use crate::audit::{AuditEntry, AuditFilter, AuditRecord};
use crate::forms::SignatureBytes;
use crate::messages::Request;
use crate::messages::events::Head;
use crate::order::Digest;
use crate::subjects::Service;
use crate::time::Timestamp;

/// Is the verb that lists a service's records.
pub const LIST_VERB: &str = "audit-list";
/// Is the verb that checks a piece of a service's log.
pub const VERIFY_VERB: &str = "audit-verify";

/// Asks a service for its records, by position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditList {
    /// Begin behind this position (oldest first), or before it (newest first); none for an end of the log.
    pub at: Option<u64>,
    /// Whether the newest come first.
    pub newest_first: bool,
    /// Which records.
    pub filter: AuditFilter,
    /// How many at most.
    pub limit: u32,
}

/// Answers [`AuditList`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// The records, in the order that was asked for.
    pub entries: Vec<AuditEntry>,
    /// How far it looked: what stands up to here is in `entries`, or is not wanted.
    pub reached: u64,
    /// The instant of the last record it looked at, wanted or not; none when there was none.
    pub reached_at: Option<Timestamp>,
    /// Whether there is nothing more in that direction now.
    pub end: bool,
}

/// Asks a service to check a piece of its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerify {
    /// The place that is checked already.
    pub position: u64,
    /// The chain's hash there.
    pub hash: Digest,
    /// How many events to check at most.
    pub limit: u32,
    /// The newest head of this log that signing countersigned.
    pub known: Option<KnownHead>,
}

/// Is a place of a log that someone else vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHead {
    /// The position.
    pub position: u64,
    /// The chain's hash there.
    pub hash: Digest,
}

/// Is what is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFinding {
    /// The first position that is altered, missing, or behind which the log was cut off.
    pub position: u64,
    /// What is wrong there.
    pub what: String,
}

/// Answers [`AuditVerify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerified {
    /// How far the log is whole.
    pub position: u64,
    /// The chain's hash there.
    pub hash: Digest,
    /// How many events this piece had.
    pub checked: u64,
    /// How many of them have no body any more, by retention.
    pub dropped: u64,
    /// Whether the end of the log was reached.
    pub end: bool,
    /// What is wrong; nothing behind it was checked.
    pub finding: Option<AuditFinding>,
}

/// Asks signing for the newest head of a service that it countersigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestCountersigned {
    /// Whose.
    pub service: Service,
}

/// Is a head with signing's signature over it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Countersigned {
    /// The head.
    pub head: Head,
    /// When it was countersigned.
    pub at: Timestamp,
    /// signing's signature.
    pub signature: SignatureBytes,
}

/// Answers [`NewestCountersigned`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestHead {
    /// None before the first.
    pub countersigned: Option<Countersigned>,
}

impl Request for NewestCountersigned {
    type Reply = NewestHead;
    const SERVICE: Service = Service::Signing;
    const VERB: &'static str = "countersigned";
}

/// Hands access what the gateway refused by itself: it keeps no store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteRefusals {
    /// The refusals; at most [`MAX_NOTED`].
    pub records: Vec<AuditRecord>,
}

/// Is how many refusals the gateway hands over at once.
pub const MAX_NOTED: usize = 64;

/// Answers [`NoteRefusals`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalsNoted {
    /// How many were kept.
    pub kept: u64,
}

impl Request for NoteRefusals {
    type Reply = RefusalsNoted;
    const SERVICE: Service = Service::Access;
    const VERB: &'static str = "audit-note";
}

/// Is a page of the audit over every service, as operators read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditListed {
    /// The records, by time.
    pub items: Vec<AuditEntry>,
    /// Where to go on, also at the end; opaque.
    pub cursor: String,
    /// The same while there is more now.
    pub next_cursor: Option<String>,
    /// The services that did not answer: their records come later, when they do.
    pub missing: Vec<Service>,
}

/// Is what was checked of one service's log, as operators read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPiece {
    /// Whose log.
    pub service: Service,
    /// How far it is whole.
    pub position: u64,
    /// The chain's hash there.
    pub hash: Digest,
    /// How many events this piece had.
    pub checked: u64,
    /// How many of them have no body any more, by retention.
    pub dropped: u64,
    /// Whether the end of the log was reached.
    pub end: bool,
    /// What is wrong; nothing behind it was checked.
    pub finding: Option<AuditFinding>,
    /// The newest head that signing vouches for.
    pub countersigned: Option<AuditVouched>,
    /// The code that says why the log was not compared with such a head; a text, since it may be a newer server's.
    pub countersigned_error: Option<String>,
}

/// Is a head that signing vouches for, as operators read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVouched {
    /// The position.
    pub position: u64,
    /// The chain's hash there.
    pub hash: Digest,
    /// When it was countersigned.
    pub at: Timestamp,
}
