//! What can go wrong in access, and what whoever asked is told.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::reply::WireError;
use borealis_event_store::{AppendError, StoreError};
use borealis_service_kit::auth::AuthError;
use borealis_service_kit::keys::KeyFileError;
use borealis_service_kit::operator::{store_error, wire_error};

use crate::aggregate::Rejection;
use crate::opaque::OpaqueError;
use crate::stored::StoredError;
use crate::totp::SealBroken;

/// Says why access could not do what it was asked, or could not start.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A rule forbids it.
    #[error("{0}")]
    Rejected(Rejection),
    /// The log did not take it.
    #[error("the change could not be written")]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Store(#[from] StoreError),
    /// An event cannot be written or read.
    #[error("an event cannot be written or read")]
    Stored(#[from] StoredError),
    /// An answer cannot be written or read.
    #[error("an answer cannot be written or read")]
    Answer(#[source] serde_json::Error),
    /// A biscuit could not be minted.
    #[error("a biscuit could not be minted")]
    Mint(#[from] AuthError),
    /// A key file cannot be used.
    #[error("a key file cannot be used")]
    Key(#[from] KeyFileError),
    /// The stored OPAQUE set-up is damaged.
    #[error("the stored OPAQUE set-up is damaged")]
    OpaqueSetup(#[source] OpaqueError),
    /// The secret of an authenticator app cannot be opened.
    #[error("the secret of an authenticator app cannot be opened")]
    Seal(#[from] SealBroken),
    /// The file of the set-up secret cannot be removed.
    #[error("the file of the set-up secret cannot be removed")]
    SecretFile(#[source] std::io::Error),
    /// The task that makes a change did not come to its end.
    #[error("a change was not brought to its end")]
    Unfinished,
    /// The line to the supervisor cannot be used.
    #[error("the line inherited from the supervisor cannot be used")]
    Pipe(#[source] std::io::Error),
}

impl From<Rejection> for AccessError {
    fn from(rejection: Rejection) -> Self {
        AccessError::Rejected(rejection)
    }
}

impl From<AccessError> for WireError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Rejected(rejection) => WireError::new(code_of(rejection), rejection.to_string()),
            AccessError::Append(error) => wire_error(&error),
            AccessError::Store(error) => store_error(&error),
            other => {
                tracing::error!(error = %borealis_bus_schema::causes::chain(&other), "access could not answer");
                WireError::new(Code::Internal, "access could not answer")
            }
        }
    }
}

const fn code_of(rejection: Rejection) -> Code {
    match rejection {
        Rejection::SetupDone | Rejection::SecretWrong => Code::SetupClosed,
        Rejection::OperatorUnknown => Code::NoLongerPermitted,
        Rejection::UserUnknown
        | Rejection::RoleMissing
        | Rejection::SiteMissing
        | Rejection::SessionMissing
        | Rejection::TokenMissing
        | Rejection::PasskeyMissing => Code::NotFound,
        Rejection::PasskeyUnknown => Code::PasskeyUnknown,
        Rejection::PasskeyCopied => Code::PasskeyCopied,
        Rejection::UsernameTaken => Code::UsernameTaken,
        Rejection::TooWide => Code::TooLarge,
        Rejection::WrongStatus(_) => Code::WrongState,
        Rejection::ExceedsOwnRights => Code::ExceedsOwnRights,
        Rejection::LastAdministrator => Code::LastAdministrator,
        Rejection::FactorRequired => Code::FactorRequired,
        Rejection::FactorWrong => Code::FactorInvalid,
        Rejection::NothingOffered => Code::WrongState,
        Rejection::LinkKeyTaken => Code::NameTaken,
        Rejection::LinkUsed => Code::LinkUsed,
        Rejection::LinkExpired => Code::LinkExpired,
        Rejection::RoleUnknown => Code::RoleUnknown,
        Rejection::RoleExists | Rejection::SiteExists => Code::NameTaken,
        Rejection::RoleFixed => Code::RoleFixed,
        Rejection::SiteUnknown => Code::SiteUnknown,
        Rejection::SessionUnknown => Code::TokenInvalid,
        Rejection::SessionEnded => Code::TokenRevoked,
        Rejection::SessionExpired => Code::TokenExpired,
        Rejection::RightMissing(_) => Code::RightMissing,
        Rejection::GrantEnded
        | Rejection::LifetimeTooShort
        | Rejection::NoRole
        | Rejection::TokenEmpty
        | Rejection::TokenLifetime
        | Rejection::LinkOfAnother
        | Rejection::NothingToLimit
        | Rejection::PasskeyName
        | Rejection::TextTooLong => Code::InvalidField,
    }
}

/// Says which field of a body is no message of OPAQUE.
pub(crate) fn malformed(error: OpaqueError) -> WireError {
    WireError::new(Code::InvalidField, error.to_string())
}
