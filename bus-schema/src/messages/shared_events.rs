//! Events that more than one service reads: the stored form is the shared form.
//!
//! Shape: the CBOR body of an event in its owner's log; the event's kind is the constant beside the type. Fields may be
//! added; a field never changes its meaning.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::access::RightOnSites;
use super::enrollment::HostFacts;
use crate::forms::PublicKey;
use crate::ids::{GrantId, Guid, OperatorId, SessionId, SiteName, TagName};
use crate::time::Timestamp;

/// Gives an event body its kind.
pub trait SharedEvent: Serialize + serde::de::DeserializeOwned {
    /// The event's kind in its owner's log.
    const KIND: &'static str;
}

macro_rules! kind {
    ($($name:ident),+ $(,)?) => {$(
        impl SharedEvent for $name { const KIND: &'static str = stringify!($name); }
    )+};
}
kind!(
    DeviceEnrolled,
    DeviceKeyRotated,
    DeviceStatusChanged,
    DeviceTagged,
    DeviceConnected,
    DeviceDisconnected,
    SessionEnded,
    GrantMinted,
    GrantRevoked,
    OperatorDisabled,
    OperatorEnabled,
    OperatorRightsChanged,
    SiteSet
);

/// Lists what a device may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceStatus {
    /// It gets orders and reports.
    Active,
    /// It reports but gets no orders.
    Quarantined,
    /// It is shut out.
    Revoked,
    /// It is gone for good.
    Decommissioned,
}

impl DeviceStatus {
    /// Returns the status' stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeviceStatus::Active => "active",
            DeviceStatus::Quarantined => "quarantined",
            DeviceStatus::Revoked => "revoked",
            DeviceStatus::Decommissioned => "decommissioned",
        }
    }
}

/// enrollment: a device exists; also appended again, with the same GUID, when its facts changed at a later enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceEnrolled {
    /// The device.
    pub guid: Guid,
    /// Where it belongs.
    pub site: SiteName,
    /// Its identity key.
    pub public_key: PublicKey,
    /// Its X25519 key.
    pub exchange_key: PublicKey,
    /// The identity key's signature over the X25519 key.
    pub exchange_key_signature: crate::forms::SignatureBytes,
    /// What it said of itself.
    pub facts: HostFacts,
    /// The address it came from.
    pub address: String,
    /// When it first asked.
    pub first_seen_at: Timestamp,
    /// When it was approved.
    pub approved_at: Timestamp,
}

/// enrollment: a device has a new identity key; its journal and everything else of it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceKeyRotated {
    /// The device.
    pub guid: Guid,
    /// Its identity key from now on.
    pub public_key: PublicKey,
    /// Its identity key until now, which is worthless.
    pub previous_key: PublicKey,
    /// Its X25519 key.
    pub exchange_key: PublicKey,
    /// The identity key's signature over the X25519 key.
    pub exchange_key_signature: crate::forms::SignatureBytes,
    /// Since when.
    pub at: Timestamp,
}

/// Names the operator who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The operator.
    pub operator: OperatorId,
    /// The operator's name at that time.
    pub username: String,
}

/// enrollment: a device's status changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatusChanged {
    /// The device.
    pub guid: Guid,
    /// What it is now.
    pub status: DeviceStatus,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
    /// Who did it; none when enrollment did it by itself, and in events from before this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}

/// enrollment: a device has other tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceTagged {
    /// The device.
    pub guid: Guid,
    /// All its tags from now on.
    pub tags: BTreeSet<TagName>,
    /// Who did it.
    pub by: Actor,
    /// Since when.
    pub at: Timestamp,
}

/// enrollment: a device is on the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceConnected {
    /// The device.
    pub guid: Guid,
    /// From where.
    pub address: String,
    /// Since when.
    pub at: Timestamp,
}

/// enrollment: a device left the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceDisconnected {
    /// The device.
    pub guid: Guid,
    /// Since when.
    pub at: Timestamp,
    /// Why, as the bus says.
    pub reason: String,
}

/// access: a session is over; its biscuits are worthless from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnded {
    /// The session.
    pub session: SessionId,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// access: a grant was minted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantMinted {
    /// The grant.
    pub grant: GrantId,
    /// Its author.
    pub author: OperatorId,
    /// The digest of the request it covers, lower hex.
    pub call_digest: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// access: a grant is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRevoked {
    /// The grant.
    pub grant: GrantId,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// access: an operator may do nothing any more; sessions and grants of theirs are over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorDisabled {
    /// The operator.
    pub operator: OperatorId,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// access: a disabled operator may act again; what was minted before stays worthless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorEnabled {
    /// The operator.
    pub operator: OperatorId,
    /// The epoch of what is minted from now on; tokens of earlier epochs are over.
    pub epoch: u64,
    /// Since when.
    pub at: Timestamp,
}

/// access: an operator's rights are others now; what was minted before reaches no further than both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRightsChanged {
    /// The operator.
    pub operator: OperatorId,
    /// The epoch of what is minted from now on.
    pub epoch: u64,
    /// What the operator may do now.
    pub rights: Vec<RightOnSites>,
    /// Since when.
    pub at: Timestamp,
}

/// access: a site was made or described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteSet {
    /// The site.
    pub site: SiteName,
    /// When.
    pub at: Timestamp,
}
