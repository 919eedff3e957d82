//! What can go wrong, and the one place that says it on the wire.

use borealis_bus_schema::causes::Chain;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::reply::WireError;
use borealis_event_store::{AppendError, StoreError};
use borealis_service_kit::nats_jwt::JwtError;
use borealis_service_kit::operator::store_code;
use thiserror::Error;

use crate::aggregate::approval::ApprovalRejection;
use crate::aggregate::code::CodeRejection;
use crate::aggregate::device::DeviceRejection;
use crate::stored::StoredError;

/// Says what failed that no caller can help.
#[derive(Debug, Error)]
pub enum Fault {
    /// The log did not take an append.
    #[error("the log did not take what was decided")]
    Append(#[source] AppendError),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Store(#[from] StoreError),
    /// An event cannot be written or read.
    #[error("an event cannot be written or read")]
    Stored(#[from] StoredError),
    /// An answer cannot be kept, or a kept one cannot be read.
    #[error("the answer of a command cannot be kept or read")]
    Answer,
    /// Others changed the same streams again and again.
    #[error("others changed the same thing again and again")]
    Contended,
    /// A device's bus credential cannot be signed.
    #[error("a bus credential cannot be signed")]
    Jwt(#[from] JwtError),
}

/// Says why a request is not done.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The code does not allow it.
    #[error(transparent)]
    Code(#[from] CodeRejection),
    /// The enrolment request does not allow it.
    #[error(transparent)]
    Approval(#[from] ApprovalRejection),
    /// The device does not allow it.
    #[error(transparent)]
    Device(#[from] DeviceRejection),
    /// The installer code is not known.
    #[error("the installer code is not known here")]
    UnknownCode,
    /// There is no such object, or not for this caller.
    #[error("there is no such {what}")]
    NotFound {
        /// What was asked for.
        what: &'static str,
    },
    /// A field has a value that is not allowed.
    #[error("{what}")]
    InvalidField {
        /// What is wrong.
        what: String,
    },
    /// Whoever mints a code that approves by itself decides in advance.
    #[error("a code that approves by itself takes the right approvals.decide on its site")]
    NoRightToDecide,
    /// There is no site of this name.
    #[error("there is no site {site}")]
    UnknownSite {
        /// The name.
        site: SiteName,
    },
    /// The machine or the key is known as another device, or elsewhere.
    #[error("{what}")]
    Conflict {
        /// What has to be decided.
        what: &'static str,
    },
    /// The caller's right does not reach the site.
    #[error("the right does not reach this site")]
    OutOfScope,
    /// A signature in the body does not fit.
    #[error("{what} does not fit")]
    Proof {
        /// Which one.
        what: &'static str,
    },
    /// Too much from here.
    #[error("too many attempts; wait {wait_s} s")]
    Throttled {
        /// For how long.
        wait_s: i64,
    },
    /// The body cannot be read, or the caller is refused by what the kit checks.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Something failed.
    #[error("the request could not be done")]
    Fault(#[from] Fault),
}

impl From<borealis_bus_schema::codec::CodecError> for Refusal {
    fn from(error: borealis_bus_schema::codec::CodecError) -> Self {
        Refusal::Wire(error.into())
    }
}

impl Refusal {
    /// Returns the refusal's stable code.
    pub fn code(&self) -> Code {
        match self {
            Refusal::Code(rejection) => match rejection {
                CodeRejection::UsesOutOfRange | CodeRejection::LifetimeOutOfRange | CodeRejection::NoHint => {
                    Code::InvalidField
                }
                CodeRejection::KeyTaken => Code::NameTaken,
                CodeRejection::Revoked => Code::CodeRevoked,
                CodeRejection::Expired => Code::CodeExpired,
                CodeRejection::UsedUp => Code::CodeUsed,
            },
            Refusal::Approval(rejection) => match rejection {
                ApprovalRejection::NotPending { .. } | ApprovalRejection::Completed => Code::WrongState,
                ApprovalRejection::Expired => Code::ApprovalExpired,
                ApprovalRejection::BadProof => Code::ProofInvalid,
                ApprovalRejection::ReasonTooLong => Code::InvalidField,
            },
            Refusal::Device(rejection) => match rejection {
                DeviceRejection::Revoked | DeviceRejection::Replaced => Code::DeviceRevoked,
                DeviceRejection::Decommissioned => Code::DeviceDecommissioned,
                DeviceRejection::RefreshInvalid => Code::RefreshInvalid,
                DeviceRejection::ClockSkew => Code::ClockSkew,
                DeviceRejection::WrongStatus { .. } => Code::WrongState,
                DeviceRejection::ReasonTooLong | DeviceRejection::TooManyTags => Code::InvalidField,
            },
            Refusal::UnknownCode => Code::CodeInvalid,
            Refusal::NotFound { .. } => Code::NotFound,
            Refusal::InvalidField { .. } => Code::InvalidField,
            Refusal::NoRightToDecide => Code::RightMissing,
            Refusal::UnknownSite { .. } => Code::SiteUnknown,
            Refusal::Conflict { .. } => Code::MachineConflict,
            Refusal::OutOfScope => Code::OutOfScope,
            Refusal::Proof { .. } => Code::ProofInvalid,
            Refusal::Throttled { .. } => Code::Throttled,
            Refusal::Wire(error) => error.code,
            Refusal::Fault(fault) => match fault {
                Fault::Append(AppendError::IdReused) => Code::IdReused,
                Fault::Append(AppendError::TooLarge { .. }) => Code::TooLarge,
                Fault::Append(AppendError::Closed) => Code::ShuttingDown,
                Fault::Append(AppendError::Storage(error)) | Fault::Store(error) => store_code(error),
                Fault::Contended => Code::Conflict,
                Fault::Append(_) | Fault::Stored(_) | Fault::Jwt(_) | Fault::Answer => Code::Internal,
            },
        }
    }
}

impl From<Refusal> for WireError {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        if let Refusal::Fault(fault) = &refusal {
            tracing::error!(error = %Chain(fault), code = %code, "a request could not be done");
        }
        match refusal {
            Refusal::Wire(error) => error,
            other => WireError::new(code, other.to_string()),
        }
    }
}
