//! What can go wrong, and the one place that says it on the wire.

use borealis_bus_schema::causes::chain;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::reply::WireError;
use borealis_event_store::{AppendError, StoreError};
use borealis_service_kit::operator::store_code;
use thiserror::Error;

use crate::stored::StoredError;

/// Says what failed that no caller can help.
#[derive(Debug, Error)]
pub enum Fault {
    /// The log did not take an append.
    #[error("the log did not take what was decided")]
    Append(#[source] AppendError),
    /// The log, a view or a file cannot be read or written.
    #[error("the store cannot be read or written")]
    Store(#[from] StoreError),
    /// An event cannot be written or read.
    #[error("an event cannot be written or read")]
    Stored(#[from] StoredError),
    /// A view's row is not what it was written as.
    #[error("a row of a view cannot be read")]
    View,
    /// Others changed the same stream again and again.
    #[error("others changed the same thing again and again")]
    Contended,
    /// A task of the service ended abnormally.
    #[error("a task ended abnormally")]
    Task(#[from] tokio::task::JoinError),
}

/// Says why a request is not done.
#[derive(Debug, Error)]
pub enum Refusal {
    /// There is no such device, or not for this caller.
    #[error("there is no such device")]
    NotFound,
    /// The device is not known here yet.
    #[error("the device is not known here yet")]
    NotYetKnown,
    /// The device was shut out.
    #[error("the device was revoked")]
    Revoked,
    /// The device was decommissioned.
    #[error("the device was decommissioned")]
    Decommissioned,
    /// The facts are not signed by the device, or are another device's.
    #[error("the facts are not signed by this device")]
    Proof,
    /// A field has a value that is not allowed.
    #[error("{what}")]
    InvalidField {
        /// What is wrong.
        what: &'static str,
    },
    /// The body cannot be read, or the kit refused.
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
            Refusal::NotFound => Code::NotFound,
            Refusal::NotYetKnown => Code::Unavailable,
            Refusal::Revoked => Code::DeviceRevoked,
            Refusal::Decommissioned => Code::DeviceDecommissioned,
            Refusal::Proof => Code::ProofInvalid,
            Refusal::InvalidField { .. } => Code::InvalidField,
            Refusal::Wire(error) => error.code,
            Refusal::Fault(fault) => match fault {
                Fault::Append(AppendError::Closed) => Code::ShuttingDown,
                Fault::Append(AppendError::TooLarge { .. }) => Code::TooLarge,
                Fault::Append(AppendError::Storage(error)) | Fault::Store(error) => store_code(error),
                Fault::Contended => Code::Conflict,
                Fault::Append(_) | Fault::Stored(_) | Fault::View | Fault::Task(_) => Code::Internal,
            },
        }
    }
}

impl From<Refusal> for WireError {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        if let Refusal::Fault(fault) = &refusal {
            tracing::error!(error = %chain(fault), code = %code, "a request could not be done");
        }
        match refusal {
            Refusal::Wire(error) => error,
            other => WireError::new(code, other.to_string()),
        }
    }
}
