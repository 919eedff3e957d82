//! What can go wrong in signing, and what whoever asked is told.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::order::OrderError;
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{AppendError, StoreError};
use borealis_service_kit::operator::{store_error, wire_error};

use crate::aggregate::Rejection;
use crate::coverage::Refusal;
use crate::stored::StoredError;

/// Says why orders were not signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The request does not cover them.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// A rule over what was signed before forbids it.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// The token is a session's.
    #[error("orders are signed for a grant, not for a session")]
    NoGrant,
    /// What came with the approval is no grant of a log-in.
    #[error("the approval comes without the grant of an operator's own log-in")]
    ApproverNoGrant,
    /// The newest word from enrollment is too old to decide by.
    #[error("the newest word from enrollment on the devices is too old to decide by")]
    Stale,
    /// Devices refuse every order of a key set that has ended.
    #[error(
        "the set of code-signing keys ended at {ended_at}: `borealis-server recovery renew-key-set` signs it for another year"
    )]
    KeySetEnded {
        /// When.
        ended_at: Timestamp,
    },
    /// There is no such device.
    #[error("there is no device {guid}")]
    NoDevice {
        /// The device.
        guid: Guid,
    },
    /// The device may get no orders.
    #[error("device {guid} is {} and gets no orders", status.as_str())]
    NotActive {
        /// The device.
        guid: Guid,
        /// What it is.
        status: DeviceStatus,
    },
    /// The author's right does not reach the device.
    #[error("the grant does not reach the site of device {guid}")]
    OutOfScope {
        /// The device.
        guid: Guid,
    },
    /// The signed orders do not fit one message.
    #[error("the signed orders have {size_bytes} bytes; at most {limit_bytes} fit one answer")]
    AnswerTooLarge {
        /// Their size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The orders cannot be encoded.
    #[error("the orders cannot be signed")]
    Order(#[from] OrderError),
    /// The log did not take it.
    #[error("what was signed could not be written")]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Store(#[from] StoreError),
    /// An event cannot be written or read.
    #[error("an event cannot be written or read")]
    Stored(#[from] StoredError),
}

impl From<SigningError> for WireError {
    fn from(error: SigningError) -> Self {
        match &error {
            SigningError::Append(append) => wire_error(append),
            SigningError::Store(store) => store_error(store),
            SigningError::Stored(_) => {
                tracing::error!(error = %borealis_bus_schema::causes::chain(&error), "signing could not answer");
                WireError::new(Code::Internal, "signing could not answer")
            }
            known => WireError::new(code_of(known), known.to_string()),
        }
    }
}

fn code_of(error: &SigningError) -> Code {
    match error {
        SigningError::Refused(refusal) => match refusal {
            Refusal::OwnApproval => Code::OwnApproval,
            Refusal::Approval { .. } => Code::ApprovalMismatch,
            Refusal::CallUnsigned => Code::SignatureMissing,
            Refusal::CallSignature(_) => Code::SignatureInvalid,
            Refusal::CallBody(_) => Code::Malformed,
            Refusal::Assembly(error) => error.code(),
            Refusal::BatchSize { .. } | Refusal::Times { .. } => Code::InvalidField,
            Refusal::OtherCall
            | Refusal::NotAJob
            | Refusal::Firing { .. }
            | Refusal::UnknownAct { .. }
            | Refusal::Differs { .. }
            | Refusal::NotApproved { .. }
            | Refusal::NotATarget { .. }
            | Refusal::Outlives { .. } => Code::GrantMismatch,
        },
        SigningError::Rejected(Rejection::AlreadySigned) => Code::AlreadySigned,
        SigningError::Rejected(Rejection::OtherApproval) | SigningError::ApproverNoGrant => Code::ApprovalMismatch,
        SigningError::Rejected(Rejection::BeyondLimit { .. }) => Code::ApprovalRequired,
        SigningError::NoGrant => Code::TokenInvalid,
        SigningError::Stale => Code::Stale,
        // Runs wait, and say why, until somebody has renewed it.
        SigningError::KeySetEnded { .. } => Code::Unavailable,
        SigningError::NoDevice { .. } => Code::NotFound,
        SigningError::NotActive { status, .. } => match status {
            DeviceStatus::Quarantined => Code::DeviceQuarantined,
            DeviceStatus::Decommissioned => Code::DeviceDecommissioned,
            DeviceStatus::Revoked | DeviceStatus::Active => Code::DeviceRevoked,
        },
        SigningError::OutOfScope { .. } => Code::OutOfScope,
        SigningError::AnswerTooLarge { .. } => Code::TooLarge,
        SigningError::Order(error) => error.code(),
        SigningError::Append(_) | SigningError::Store(_) | SigningError::Stored(_) => Code::Internal,
    }
}
