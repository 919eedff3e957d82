//! What access is asked, and what it tells of log-ins.

use serde::{Deserialize, Serialize};

use super::Request;
use crate::forms::PublicKey;
use crate::ids::{GrantId, OperatorId, SessionId};
use crate::operator::OperatorCall;
use crate::subjects::Service;
use crate::time::Timestamp;

/// Is the body of `POST /api/v1/setup`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Setup {
    /// Begins the registration of a password (OPAQUE).
    Start {
        /// The secret behind `#` of the set-up link.
        secret: String,
        /// The operator's name.
        username: String,
        /// The OPAQUE registration request, base64url.
        registration_request: String,
    },
    /// Ends it.
    Finish {
        /// The secret behind `#` of the set-up link.
        secret: String,
        /// The operator's name.
        username: String,
        /// The OPAQUE registration record, base64url.
        registration_record: String,
    },
}

/// Answers [`Setup`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SetupAnswer {
    /// The registration goes on.
    Started {
        /// The OPAQUE registration response, base64url.
        registration_response: String,
    },
    /// The operator exists.
    Finished {
        /// The operator.
        operator: OperatorId,
    },
}

/// Is the body of `POST /api/v1/login`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Login {
    /// Begins a log-in (OPAQUE).
    Start {
        /// The operator's name.
        username: String,
        /// The OPAQUE credential request, base64url.
        login_request: String,
        /// The public key that the session is to be bound to.
        session_public_key: PublicKey,
    },
    /// Ends it.
    Finish {
        /// What the start answered.
        login_id: SessionId,
        /// The OPAQUE credential finalization, base64url.
        login_finalization: String,
        /// HMAC-SHA256 with the OPAQUE session key over the form `session-binding` of the session's public key, base64url.
        key_binding: String,
    },
}

/// Answers [`Login`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LoginAnswer {
    /// The log-in goes on.
    Started {
        /// Names the log-in.
        login_id: SessionId,
        /// The OPAQUE credential response, base64url.
        login_response: String,
    },
    /// The session exists.
    Finished {
        /// The session's biscuit, base64url.
        token: String,
        /// The session.
        session_id: SessionId,
        /// The operator's name.
        username: String,
        /// When the session ends at the latest.
        expires_at: Timestamp,
    },
}

/// Answers `GET /api/v1/session`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The session.
    pub session_id: SessionId,
    /// The operator.
    pub operator: OperatorId,
    /// The operator's name.
    pub username: String,
    /// When the session ends at the latest.
    pub expires_at: Timestamp,
    /// The rights it carries.
    pub rights: Vec<String>,
    /// The sites they reach; `*` for all.
    pub sites: Vec<String>,
}

/// Asks for a grant: the right to act later on exactly this signed request.
///
/// The biscuit travels in the message's header.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MintGrant {
    /// The operator's signed request.
    pub call: OperatorCall,
    /// When the grant ends; access never grants longer than its own limit.
    pub expires_at: Timestamp,
}

/// Is a minted grant.
#[derive(Clone, Serialize, Deserialize)]
pub struct Grant {
    /// The grant.
    pub grant: GrantId,
    /// The grant's biscuit, base64url: author, session key, digest of the request, end.
    pub token: String,
}

impl Request for MintGrant {
    type Reply = Grant;
    const SERVICE: Service = Service::Access;
    const VERB: &'static str = "grant-mint";
}

/// Is what `up` may ask access over the pipe that access inherited: a session of minutes for the first start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BootstrapSession {
    /// The public key that the session is to be bound to.
    pub session_public_key: PublicKey,
    /// How long the session lives, in milliseconds; at most 15 minutes.
    pub lifetime_ms: i64,
}
