//! Events as they stand in the log, apart from the domain's own.
//!
//! Shape: the CBOR of one of the structs below; the event's kind names the struct. A struct whose shape changes gets a new
//! kind with a number behind it and a step here that reads the old one; the golden files keep each readable. The four that
//! other services read are shared types of the bus's schema.

use borealis_bus_schema::codec::{self, CodecError};
use borealis_bus_schema::forms::{PublicKey, SignatureBytes};
use borealis_bus_schema::ids::{ApprovalId, CodeId, Guid, OperatorId, SessionId, SiteName};
use borealis_bus_schema::messages::enrollment::HostFacts;
use borealis_bus_schema::messages::shared_events::{
    Actor, DeviceConnected, DeviceDisconnected, DeviceEnrolled, DeviceKeyRotated, DeviceStatusChanged, DeviceTagged,
    SharedEvent,
};
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{InvalidStreamId, NewEvent, StreamId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::aggregate::approval::{ApprovalEvent, Asked};
use crate::aggregate::code::{CodeEvent, Minted, Minter};
use crate::aggregate::device::DeviceEvent;

/// Is any event of this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// About an installer code.
    Code(CodeId, CodeEvent),
    /// About an enrolment request.
    Approval(ApprovalId, ApprovalEvent),
    /// About a device.
    Device(Guid, DeviceEvent),
    /// A device is on the bus.
    Connected(DeviceConnected),
    /// A device left the bus.
    Disconnected(DeviceDisconnected),
}

/// Says why an event cannot be written or read.
#[derive(Debug, Error)]
pub enum StoredError {
    /// The kind is none that this version knows.
    #[error("the log holds an event of kind {kind:?}, which this version does not know")]
    UnknownKind {
        /// The kind.
        kind: String,
    },
    /// The body is not what its kind says.
    #[error("an event of kind {kind} cannot be read or written")]
    Body {
        /// The kind.
        kind: String,
        /// What the codec said.
        #[source]
        source: CodecError,
    },
    /// Its stream has no name.
    #[error("an event has no stream")]
    Stream(#[from] InvalidStreamId),
}

/// Is a code of the time when its secret was sent and kept by its digest.
#[derive(Deserialize)]
struct CodeMinted {
    id: CodeId,
    #[serde(with = "serde_bytes")]
    secret_digest: [u8; 32],
    masked: String,
    site: SiteName,
    uses: u32,
    auto_approve: bool,
    created_by: String,
    created_at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct CodeMinted2 {
    id: CodeId,
    public_key: PublicKey,
    masked: String,
    site: SiteName,
    uses: u32,
    auto_approve: bool,
    created_by: String,
    minter: Option<CodeMinter>,
    created_at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct CodeMinter {
    operator: OperatorId,
    epoch: u64,
    token: Option<SessionId>,
}

#[derive(Serialize, Deserialize)]
struct CodeUsed {
    id: CodeId,
    public_key: PublicKey,
    approval: ApprovalId,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct CodeRevoked {
    id: CodeId,
    by: String,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct EnrollmentRequested {
    id: ApprovalId,
    code: CodeId,
    site: SiteName,
    public_key: PublicKey,
    exchange_key: PublicKey,
    exchange_key_signature: SignatureBytes,
    facts: HostFacts,
    address: String,
    server_nonce: String,
    client_nonce: String,
    at: Timestamp,
    conflict: Option<Guid>,
}

#[derive(Serialize, Deserialize)]
struct EnrollmentApproved {
    id: ApprovalId,
    guid: Guid,
    by: String,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct EnrollmentDenied {
    id: ApprovalId,
    by: String,
    reason: String,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct EnrollmentExpired {
    id: ApprovalId,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct EnrollmentCompleted {
    id: ApprovalId,
    guid: Guid,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct CredentialsIssued {
    guid: Guid,
    approval: ApprovalId,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct CredentialsRenewed {
    guid: Guid,
    family: ApprovalId,
    counter: u64,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct DeviceSaidHello {
    guid: Guid,
    counter: u64,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct DeviceKeyRotationAsked {
    guid: Guid,
    reason: String,
    by: Actor,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct RefreshFamilyRevoked {
    guid: Guid,
    family: ApprovalId,
    counter: u64,
    at: Timestamp,
}

impl Event {
    /// Returns the stream that the event belongs to.
    ///
    /// Errors: [`StoredError::Stream`], which no id gives.
    pub fn stream(&self) -> Result<StreamId, StoredError> {
        let name = match self {
            Event::Code(id, _) => return code_stream(id),
            Event::Approval(id, _) => return approval_stream(id),
            Event::Device(guid, _) => return device_stream(guid),
            Event::Connected(DeviceConnected { guid, .. }) | Event::Disconnected(DeviceDisconnected { guid, .. }) => {
                format!("presence-{guid}")
            }
        };
        Ok(StreamId::new(&name)?)
    }

    /// Encodes the event.
    ///
    /// Errors: [`StoredError::Body`] when a text in it is too long for a message.
    pub fn to_new(&self) -> Result<NewEvent, StoredError> {
        match self {
            Event::Code(id, event) => code_to_new(*id, event),
            Event::Approval(id, event) => approval_to_new(*id, event),
            Event::Device(_, event) => device_to_new(event),
            Event::Connected(body) => new(DeviceConnected::KIND, body),
            Event::Disconnected(body) => new(DeviceDisconnected::KIND, body),
        }
    }

    /// Decodes an event of any version.
    ///
    /// Errors: [`StoredError::UnknownKind`], [`StoredError::Body`].
    pub fn read(kind: &str, body: &[u8]) -> Result<Self, StoredError> {
        Ok(match kind {
            "CodeMinted" => code_minted(upcast(decode(kind, body)?)),
            "CodeMinted2" => code_minted(decode(kind, body)?),
            "CodeUsed" => {
                let CodeUsed {
                    id,
                    public_key,
                    approval,
                    at,
                } = decode(kind, body)?;
                Event::Code(
                    id,
                    CodeEvent::Used {
                        public_key,
                        approval,
                        at,
                    },
                )
            }
            "CodeRevoked" => {
                let CodeRevoked { id, by, at } = decode(kind, body)?;
                Event::Code(id, CodeEvent::Revoked { by, at })
            }
            "EnrollmentRequested" => requested(decode(kind, body)?),
            "EnrollmentApproved" => {
                let EnrollmentApproved { id, guid, by, at } = decode(kind, body)?;
                Event::Approval(id, ApprovalEvent::Approved { guid, by, at })
            }
            "EnrollmentDenied" => {
                let EnrollmentDenied { id, by, reason, at } = decode(kind, body)?;
                Event::Approval(id, ApprovalEvent::Denied { by, reason, at })
            }
            "EnrollmentExpired" => {
                let EnrollmentExpired { id, at } = decode(kind, body)?;
                Event::Approval(id, ApprovalEvent::Expired { at })
            }
            "EnrollmentCompleted" => {
                let EnrollmentCompleted { id, guid, at } = decode(kind, body)?;
                Event::Approval(id, ApprovalEvent::Completed { guid, at })
            }
            "DeviceEnrolled" => {
                let enrolled: DeviceEnrolled = decode(kind, body)?;
                Event::Device(enrolled.guid, DeviceEvent::Enrolled(Box::new(enrolled)))
            }
            "DeviceStatusChanged" => {
                let changed: DeviceStatusChanged = decode(kind, body)?;
                Event::Device(changed.guid, DeviceEvent::StatusChanged(changed))
            }
            "DeviceTagged" => {
                let tagged: DeviceTagged = decode(kind, body)?;
                Event::Device(tagged.guid, DeviceEvent::Tagged(tagged))
            }
            "CredentialsIssued" => {
                let CredentialsIssued { guid, approval, at } = decode(kind, body)?;
                Event::Device(guid, DeviceEvent::CredentialsIssued { guid, approval, at })
            }
            "CredentialsRenewed" => {
                let CredentialsRenewed {
                    guid,
                    family,
                    counter,
                    at,
                } = decode(kind, body)?;
                Event::Device(
                    guid,
                    DeviceEvent::CredentialsRenewed {
                        guid,
                        family,
                        counter,
                        at,
                    },
                )
            }
            "DeviceSaidHello" => {
                let DeviceSaidHello { guid, counter, at } = decode(kind, body)?;
                Event::Device(guid, DeviceEvent::SaidHello { guid, counter, at })
            }
            "DeviceKeyRotationAsked" => {
                let DeviceKeyRotationAsked { guid, reason, by, at } = decode(kind, body)?;
                Event::Device(guid, DeviceEvent::KeyRotationAsked { guid, reason, by, at })
            }
            "DeviceKeyRotated" => {
                let rotated: DeviceKeyRotated = decode(kind, body)?;
                Event::Device(rotated.guid, DeviceEvent::KeyRotated(Box::new(rotated)))
            }
            "RefreshFamilyRevoked" => {
                let RefreshFamilyRevoked {
                    guid,
                    family,
                    counter,
                    at,
                } = decode(kind, body)?;
                Event::Device(
                    guid,
                    DeviceEvent::RefreshFamilyRevoked {
                        guid,
                        family,
                        counter,
                        at,
                    },
                )
            }
            "DeviceConnected" => Event::Connected(decode(kind, body)?),
            "DeviceDisconnected" => Event::Disconnected(decode(kind, body)?),
            _ => return Err(StoredError::UnknownKind { kind: kind.to_owned() }),
        })
    }
}

/// Names a code's stream.
///
/// Errors: [`StoredError::Stream`], which no id gives.
pub fn code_stream(id: &CodeId) -> Result<StreamId, StoredError> {
    Ok(StreamId::new(&format!("code-{id}"))?)
}

/// Names a request's stream.
///
/// Errors: [`StoredError::Stream`], which no id gives.
pub fn approval_stream(id: &ApprovalId) -> Result<StreamId, StoredError> {
    Ok(StreamId::new(&format!("approval-{id}"))?)
}

/// Names a device's stream.
///
/// Errors: [`StoredError::Stream`], which no id gives.
pub fn device_stream(guid: &Guid) -> Result<StreamId, StoredError> {
    Ok(StreamId::new(&format!("device-{guid}"))?)
}

fn new<T: Serialize>(kind: &str, body: &T) -> Result<NewEvent, StoredError> {
    let body = codec::encode(body).map_err(|source| StoredError::Body {
        kind: kind.to_owned(),
        source,
    })?;
    Ok(NewEvent {
        kind: kind.to_owned(),
        body,
    })
}

fn decode<T: DeserializeOwned>(kind: &str, body: &[u8]) -> Result<T, StoredError> {
    codec::decode(body).map_err(|source| StoredError::Body {
        kind: kind.to_owned(),
        source,
    })
}

fn code_to_new(id: CodeId, event: &CodeEvent) -> Result<NewEvent, StoredError> {
    match event.clone() {
        CodeEvent::Minted(minted) => {
            let body = CodeMinted2 {
                id,
                public_key: minted.public_key,
                masked: minted.masked,
                site: minted.site,
                uses: minted.uses,
                auto_approve: minted.auto_approve,
                created_by: minted.created_by,
                minter: minted.minter.map(|by| CodeMinter {
                    operator: by.operator,
                    epoch: by.epoch,
                    token: by.token,
                }),
                created_at: minted.created_at,
                expires_at: minted.expires_at,
            };
            new("CodeMinted2", &body)
        }
        CodeEvent::Used {
            public_key,
            approval,
            at,
        } => new(
            "CodeUsed",
            &CodeUsed {
                id,
                public_key,
                approval,
                at,
            },
        ),
        CodeEvent::Revoked { by, at } => new("CodeRevoked", &CodeRevoked { id, by, at }),
    }
}

/// A code of the time when secrets were sent stays listed, and opens nothing: its digest is nobody's public key.
fn upcast(body: CodeMinted) -> CodeMinted2 {
    CodeMinted2 {
        id: body.id,
        public_key: PublicKey::from_bytes(body.secret_digest),
        masked: body.masked,
        site: body.site,
        uses: body.uses,
        auto_approve: body.auto_approve,
        created_by: body.created_by,
        minter: None,
        created_at: body.created_at,
        expires_at: body.expires_at,
    }
}

fn code_minted(body: CodeMinted2) -> Event {
    let minted = Minted {
        id: body.id,
        public_key: body.public_key,
        masked: body.masked,
        site: body.site,
        uses: body.uses,
        auto_approve: body.auto_approve,
        created_by: body.created_by,
        minter: body.minter.map(|by| Minter {
            operator: by.operator,
            epoch: by.epoch,
            token: by.token,
        }),
        created_at: body.created_at,
        expires_at: body.expires_at,
    };
    Event::Code(body.id, CodeEvent::Minted(minted))
}

fn approval_to_new(id: ApprovalId, event: &ApprovalEvent) -> Result<NewEvent, StoredError> {
    match event.clone() {
        ApprovalEvent::Requested(asked) => {
            let body = EnrollmentRequested {
                id,
                code: asked.code,
                site: asked.site,
                public_key: asked.public_key,
                exchange_key: asked.exchange_key,
                exchange_key_signature: asked.exchange_key_signature,
                facts: asked.facts,
                address: asked.address,
                server_nonce: asked.server_nonce,
                client_nonce: asked.client_nonce,
                at: asked.at,
                conflict: asked.conflict,
            };
            new("EnrollmentRequested", &body)
        }
        ApprovalEvent::Approved { guid, by, at } => new("EnrollmentApproved", &EnrollmentApproved { id, guid, by, at }),
        ApprovalEvent::Denied { by, reason, at } => new("EnrollmentDenied", &EnrollmentDenied { id, by, reason, at }),
        ApprovalEvent::Expired { at } => new("EnrollmentExpired", &EnrollmentExpired { id, at }),
        ApprovalEvent::Completed { guid, at } => new("EnrollmentCompleted", &EnrollmentCompleted { id, guid, at }),
    }
}

fn requested(body: EnrollmentRequested) -> Event {
    let asked = Asked {
        id: body.id,
        code: body.code,
        site: body.site,
        public_key: body.public_key,
        exchange_key: body.exchange_key,
        exchange_key_signature: body.exchange_key_signature,
        facts: body.facts,
        address: body.address,
        server_nonce: body.server_nonce,
        client_nonce: body.client_nonce,
        at: body.at,
        conflict: body.conflict,
    };
    Event::Approval(body.id, ApprovalEvent::Requested(Box::new(asked)))
}

fn device_to_new(event: &DeviceEvent) -> Result<NewEvent, StoredError> {
    match event.clone() {
        DeviceEvent::Enrolled(body) => new(DeviceEnrolled::KIND, &*body),
        DeviceEvent::StatusChanged(body) => new(DeviceStatusChanged::KIND, &body),
        DeviceEvent::Tagged(body) => new(DeviceTagged::KIND, &body),
        DeviceEvent::CredentialsIssued { guid, approval, at } => {
            new("CredentialsIssued", &CredentialsIssued { guid, approval, at })
        }
        DeviceEvent::CredentialsRenewed {
            guid,
            family,
            counter,
            at,
        } => new(
            "CredentialsRenewed",
            &CredentialsRenewed {
                guid,
                family,
                counter,
                at,
            },
        ),
        DeviceEvent::SaidHello { guid, counter, at } => new("DeviceSaidHello", &DeviceSaidHello { guid, counter, at }),
        DeviceEvent::KeyRotationAsked { guid, reason, by, at } => new(
            "DeviceKeyRotationAsked",
            &DeviceKeyRotationAsked { guid, reason, by, at },
        ),
        DeviceEvent::KeyRotated(body) => new(DeviceKeyRotated::KIND, &*body),
        DeviceEvent::RefreshFamilyRevoked {
            guid,
            family,
            counter,
            at,
        } => new(
            "RefreshFamilyRevoked",
            &RefreshFamilyRevoked {
                guid,
                family,
                counter,
                at,
            },
        ),
    }
}

#[cfg(test)]
mod tests;
