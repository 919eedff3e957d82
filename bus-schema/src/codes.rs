//! Every error code of the product, once.
//!
//! The same code stands in a bus reply, in the HTTP problem's member `code`, in the CLI's `error.code` and in the audit.
//! A code, once released, keeps its name and its meaning.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Tells which side has to change something before the request can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Whoever sent the request.
    Caller,
    /// The device that was addressed.
    Device,
    /// The server.
    Server,
}

/// Tells whether the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It would fail again.
    Never,
    /// Unchanged, after a pause.
    Later,
    /// After the caller read the current state.
    Refresh,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $side:ident, $retry:ident, $http:literal;)+) => {
        /// Names one kind of failure.
        ///
        /// Shape: snake_case text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code {$(
            $(#[$doc])*
            #[serde(rename = $text)]
            $name,
        )+}

        impl Code {
            /// Lists every code.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];
            /// Returns the code's stable text.
            pub const fn as_str(self) -> &'static str { match self { $(Code::$name => $text),+ } }
            /// Tells who has to act.
            pub const fn side(self) -> Side { match self { $(Code::$name => Side::$side),+ } }
            /// Tells whether trying again can help.
            pub const fn retry(self) -> Retry { match self { $(Code::$name => Retry::$retry),+ } }
            /// Returns the HTTP status that carries the code.
            pub const fn http_status(self) -> u16 { match self { $(Code::$name => $http),+ } }
        }
    };
}

codes! {
    /// The bytes are not the CBOR or JSON that the verb takes.
    Malformed = "malformed", Caller, Never, 400;
    /// The body is larger than the verb takes.
    TooLarge = "too_large", Caller, Never, 413;
    /// The body nests deeper than any message does.
    TooDeep = "too_deep", Caller, Never, 400;
    /// A field has a value that is not allowed.
    InvalidField = "invalid_field", Caller, Never, 422;
    /// A filter over devices cannot be read; the message names the place.
    FilterInvalid = "filter_invalid", Caller, Never, 422;
    /// A cron text cannot be read; the message names the field.
    CronInvalid = "cron_invalid", Caller, Never, 422;
    /// The schedule names no day that there is, or ends before it begins.
    ScheduleNeverFires = "schedule_never_fires", Caller, Never, 422;
    /// The assembly declares no variable of this name.
    VariableUndeclared = "variable_undeclared", Caller, Never, 422;
    /// A variable of the assembly has to have a value and has none.
    VariableMissing = "variable_missing", Caller, Never, 422;
    /// The value does not fit its variable's type.
    VariableInvalid = "variable_invalid", Caller, Never, 422;
    /// The assembly takes a secret, and secrets are not handed to devices yet.
    CredentialsUnsupported = "credentials_unsupported", Caller, Never, 422;
    /// The assembly has files, and files are not handed to devices yet.
    FilesUnsupported = "files_unsupported", Caller, Never, 422;
    /// The version of the assembly was never published.
    NotPublished = "not_published", Caller, Refresh, 409;
    /// The digest is not that of the version it was sent with.
    DigestMismatch = "digest_mismatch", Caller, Refresh, 409;
    /// There is no time zone of this name.
    ZoneUnknown = "zone_unknown", Caller, Never, 422;
    /// The service or the device has no such verb.
    UnknownVerb = "unknown_verb", Caller, Never, 404;
    /// There is no such route.
    UnknownRoute = "unknown_route", Caller, Never, 404;
    /// The route does not take this method.
    MethodNotAllowed = "method_not_allowed", Caller, Never, 405;
    /// The schema's major version is not known here.
    UnknownSchema = "unknown_schema", Caller, Never, 400;
    /// The object does not exist, or not for this caller.
    NotFound = "not_found", Caller, Never, 404;
    /// Someone else changed the object first.
    Conflict = "conflict", Caller, Refresh, 409;
    /// The command id was used before with another body.
    IdReused = "id_reused", Caller, Never, 409;
    /// The object is in a state that does not allow the act.
    WrongState = "wrong_state", Caller, Refresh, 409;

    /// No token came with the request.
    TokenMissing = "token_missing", Caller, Never, 401;
    /// The token is not one that this deployment minted.
    TokenInvalid = "token_invalid", Caller, Never, 401;
    /// The token's time is over.
    TokenExpired = "token_expired", Caller, Refresh, 401;
    /// The token, its session or its grant was revoked.
    TokenRevoked = "token_revoked", Caller, Never, 401;
    /// The token was made for another service.
    WrongService = "wrong_service", Caller, Never, 403;
    /// The token was made for another act.
    WrongAction = "wrong_action", Caller, Never, 403;
    /// The caller does not hold the right.
    RightMissing = "right_missing", Caller, Never, 403;
    /// The right does not reach this device or site.
    OutOfScope = "out_of_scope", Caller, Never, 403;
    /// A changing request came without the session key's signature.
    SignatureMissing = "signature_missing", Caller, Never, 401;
    /// The signature does not fit the request.
    SignatureInvalid = "signature_invalid", Caller, Never, 401;
    /// The signature is older or newer than allowed.
    SignatureExpired = "signature_expired", Caller, Refresh, 401;
    /// The request lacks an `Idempotency-Key`.
    IdempotencyKeyMissing = "idempotency_key_missing", Caller, Never, 400;
    /// User name and password do not fit.
    LoginFailed = "login_failed", Caller, Never, 401;
    /// The password fits, and a code of the second factor is needed besides.
    FactorRequired = "factor_required", Caller, Never, 403;
    /// The code of the second factor does not fit, or was used before.
    FactorInvalid = "factor_invalid", Caller, Never, 401;
    /// The act needs a proof of the password that is not older than ten minutes.
    StepUpRequired = "step_up_required", Caller, Never, 403;
    /// The address by which the server was reached is no name that a passkey can be for.
    PasskeyUnavailable = "passkey_unavailable", Caller, Never, 422;
    /// What the authenticator answered cannot be read, is of another kind, or its signature does not fit.
    PasskeyInvalid = "passkey_invalid", Caller, Never, 401;
    /// The passkey answered another challenge: another session key, session or act, or an answer that was used before.
    PasskeyChallenge = "passkey_challenge", Caller, Never, 401;
    /// The passkey was used on another page than this server's, or is for another server.
    PasskeyOrigin = "passkey_origin", Caller, Never, 401;
    /// The authenticator did not check who uses it.
    PasskeyUnverified = "passkey_unverified", Caller, Never, 401;
    /// There is no such passkey, or it is another operator's.
    PasskeyUnknown = "passkey_unknown", Caller, Never, 401;
    /// The passkey's counter went back, so that there may be a copy of it.
    PasskeyCopied = "passkey_copied", Caller, Never, 401;
    /// Too many attempts from here or for this user.
    Throttled = "throttled", Caller, Later, 429;
    /// The set-up link is not the current one, or set-up is over.
    SetupClosed = "setup_closed", Caller, Never, 403;
    /// The link of an invitation was used.
    LinkUsed = "link_used", Caller, Never, 403;
    /// The time of an invitation's link is over, or a newer link took its place.
    LinkExpired = "link_expired", Caller, Never, 403;
    /// Nobody gives, changes or takes away more than they hold.
    ExceedsOwnRights = "exceeds_own_rights", Caller, Never, 403;
    /// An operator of this name exists.
    UsernameTaken = "username_taken", Caller, Never, 409;
    /// An object of this name exists.
    NameTaken = "name_taken", Caller, Never, 409;
    /// There is no role of this name.
    RoleUnknown = "role_unknown", Caller, Never, 422;
    /// This role always holds every right and cannot be changed.
    RoleFixed = "role_fixed", Caller, Never, 409;
    /// There is no site of this name.
    SiteUnknown = "site_unknown", Caller, Never, 422;
    /// Nobody would be left who may do everything.
    LastAdministrator = "last_administrator", Caller, Never, 409;
    /// The act takes a log-in; an API token does not serve.
    SessionRequired = "session_required", Caller, Never, 403;
    /// The request came from another origin than the page's own.
    WrongOrigin = "wrong_origin", Caller, Never, 403;

    /// The installer code is unknown, or its check digits do not fit.
    CodeInvalid = "code_invalid", Caller, Never, 403;
    /// The installer code's time is over.
    CodeExpired = "code_expired", Caller, Never, 403;
    /// The installer code was used as often as it may be.
    CodeUsed = "code_used", Caller, Never, 403;
    /// The installer code was revoked.
    CodeRevoked = "code_revoked", Caller, Never, 403;
    /// The proof does not fit the enrolment request.
    ProofInvalid = "proof_invalid", Caller, Never, 403;
    /// The machine or the key is known as another device, or in another site; an operator has to decide what becomes of it.
    MachineConflict = "machine_conflict", Caller, Later, 409;
    /// The enrolment request was denied.
    ApprovalDenied = "approval_denied", Caller, Never, 403;
    /// The enrolment request waited too long.
    ApprovalExpired = "approval_expired", Caller, Never, 403;
    /// The device is quarantined.
    DeviceQuarantined = "device_quarantined", Device, Never, 403;
    /// The device was revoked.
    DeviceRevoked = "device_revoked", Device, Never, 403;
    /// The device was decommissioned.
    DeviceDecommissioned = "device_decommissioned", Device, Never, 403;
    /// The refresh token is not the newest of its family.
    RefreshInvalid = "refresh_invalid", Device, Never, 403;

    /// The order's bytes are not an order.
    OrderMalformed = "order_malformed", Device, Never, 400;
    /// The order decodes to something that encodes to other bytes.
    OrderNotCanonical = "order_not_canonical", Device, Never, 400;
    /// The order's signature does not fit, or is by a key that the device does not pin.
    OrderSignatureInvalid = "order_signature_invalid", Device, Never, 403;
    /// The order is signed by a key that is retired or unknown.
    OrderKeyUnknown = "order_key_unknown", Device, Later, 403;
    /// The order is for another device.
    OrderWrongDevice = "order_wrong_device", Device, Never, 403;
    /// The order is for another context than this agent has.
    OrderWrongContext = "order_wrong_context", Device, Never, 403;
    /// The order's time is over.
    OrderExpired = "order_expired", Device, Never, 403;
    /// The order's time has not begun.
    OrderNotYetValid = "order_not_yet_valid", Device, Later, 403;
    /// The order is valid for longer than allowed.
    OrderTooLongValid = "order_too_long_valid", Device, Never, 403;
    /// The order came on another subject than the one it is for.
    OrderWrongSubject = "order_wrong_subject", Device, Never, 403;
    /// Another order was seen for the same run and attempt.
    OrderReplayed = "order_replayed", Device, Never, 409;
    /// The journal has no room for another run.
    NoSpace = "no_space", Device, Later, 507;
    /// The device does as many runs as it may at once.
    Busy = "busy", Device, Later, 503;
    /// The interpreter that the script wants is not there.
    InterpreterMissing = "interpreter_missing", Device, Never, 422;
    /// The agent lacks the rights for this act.
    NotPermittedOnDevice = "not_permitted_on_device", Device, Never, 403;
    /// The server that answers is not of the deployment that the installer code or the identity names.
    ServerUntrusted = "server_untrusted", Device, Never, 403;
    /// The device's clock differs too much from the server's.
    ClockSkew = "clock_skew", Device, Later, 409;

    /// A signed content differs from what was signed before for the same run and attempt.
    AlreadySigned = "already_signed", Server, Never, 409;
    /// The signer's newest knowledge of rights is too old to decide by.
    Stale = "stale", Server, Later, 503;
    /// The job is on more devices than its author may have it without another operator's approval.
    ApprovalRequired = "approval_required", Caller, Never, 403;
    /// Nobody approves what they asked for themselves.
    OwnApproval = "own_approval", Caller, Never, 403;
    /// The approval does not hold for this job: it is of another request, of other devices, or nobody's own.
    ApprovalMismatch = "approval_mismatch", Server, Never, 403;
    /// The grant does not cover this order.
    GrantMismatch = "grant_mismatch", Server, Never, 403;
    /// The author no longer holds the right.
    NoLongerPermitted = "no_longer_permitted", Caller, Never, 403;
    /// A result's signature is not the device's.
    ResultSignatureInvalid = "result_signature_invalid", Device, Never, 403;

    /// The store failed; the service ends and starts anew.
    StorageFailed = "storage_failed", Server, Later, 503;
    /// The disk is full.
    StorageFull = "storage_full", Server, Later, 507;
    /// The service that owns this is not answering.
    Unavailable = "unavailable", Server, Later, 503;
    /// The request took too long.
    DeadlineExceeded = "deadline_exceeded", Server, Later, 504;
    /// The service is at its limit.
    Overloaded = "overloaded", Server, Later, 503;
    /// The service is stopping.
    ShuttingDown = "shutting_down", Server, Later, 503;
    /// Something failed that has no code of its own.
    Internal = "internal", Server, Later, 500;
    /// nats-server is missing, or is not the pinned version.
    BusUnusable = "bus_unusable", Server, Never, 503;
    /// Another server uses this root.
    RootInUse = "root_in_use", Caller, Never, 409;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_code_has_its_own_snake_case_text() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for text in texts {
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{text}");
        }
    }

    #[test]
    fn serde_and_display_agree() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{code}\""));
        }
    }
}
