//! An operator's call as a handler sees it: verified, with the caller, the command and the parameter of its path.

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{CommandId, CorrelationId};
use borealis_bus_schema::operator::{FRESHNESS_MS, OperatorCall};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::{Asks, Need, Route, STEP_UP_MS, Tenancy};
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, AppendError, Appended, EventLog, StoreError, StreamWrite};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::audit::{Act, within};
use crate::auth::{Authoriser, Caller, ProvedFor, Resource, beyond};
use crate::shutdown::Shutdown;

/// Is a verified call of an operator.
#[derive(Clone)]
pub struct OperatorCtx {
    /// The call as it came.
    pub call: OperatorCall,
    /// Who calls.
    pub caller: Caller,
    /// The command: what the operator named it, or for reads a new id.
    pub command: CommandId,
    /// What makes two calls the same command: the digest of method, path and body, and of who calls.
    pub digest: [u8; 32],
    /// The `{id}` of the path.
    pub param: Option<String>,
    /// The act it belongs to.
    pub correlation: CorrelationId,
    /// The biscuit as it came; narrow it with [`crate::auth::attenuate`] before it goes on to another service.
    pub biscuit: String,
    /// When it was received, by the service's clock.
    pub now: Timestamp,
    /// Ends long waits when the service stops.
    pub shutdown: Shutdown,
    pub(crate) route: &'static Route,
    pub(crate) act: Act,
}

/// Is a call of a public route: its body proves what it must.
#[derive(Clone)]
pub struct PublicCtx {
    /// The call as it came.
    pub call: OperatorCall,
    /// The `{id}` of the path.
    pub param: Option<String>,
    /// The act it belongs to.
    pub correlation: CorrelationId,
    /// When it was received, by the service's clock.
    pub now: Timestamp,
    /// Ends long waits when the service stops.
    pub shutdown: Shutdown,
}

impl OperatorCtx {
    /// Reads the JSON body; no body reads as `{}`.
    ///
    /// Errors: `malformed`, `too_large`, `too_deep`.
    pub fn body<T: DeserializeOwned>(&self) -> Reply<T> {
        json_body(&self.call)
    }

    /// Reads the `{id}` of the path.
    ///
    /// Errors: `not_found` for what is no such id.
    pub fn id<T: std::str::FromStr>(&self) -> Reply<T> {
        path_id(self.param.as_deref())
    }

    /// Decides whether the caller's right reaches a device or site, by what was verified when the call came in.
    ///
    /// Errors: `out_of_scope`, also for a route that needs no right.
    pub fn reach(&self, resource: &Resource) -> Reply<()> {
        let reached = match (self.route.need, &resource.guid) {
            (Need::Right(right), Some(guid)) => self.caller.may_on(right, &resource.site, guid),
            (Need::Right(right), None) => self.caller.may(right, &resource.site),
            (Need::Public | Need::Session, _) => false,
        };
        if reached { Ok(()) } else { Err(beyond()) }
    }

    /// Appends what the command changes, and returns the answer: the first one when it had been made before.
    ///
    /// Errors: as [`wire_error`] says.
    pub async fn append<A: Serialize + DeserializeOwned>(
        &self,
        log: &dyn EventLog,
        writes: Vec<StreamWrite>,
        answer: &A,
    ) -> Reply<A> {
        let bytes = serde_json::to_vec(answer).map_err(unencodable)?;
        let appended = self
            .append_bytes(log, writes, bytes)
            .await
            .map_err(|error| wire_error(&error))?;
        codec::decode_json(&appended.answer, codec::MAX_JSON_BYTES).map_err(WireError::from)
    }

    /// Appends what the command changes, with an answer already in JSON; for handlers that retry a conflict.
    ///
    /// Errors: [`AppendError`].
    pub async fn append_bytes(
        &self,
        log: &dyn EventLog,
        writes: Vec<StreamWrite>,
        answer: Vec<u8>,
    ) -> Result<Appended, AppendError> {
        let append = log.append(Append {
            command_id: *self.command.as_bytes(),
            command_digest: self.digest,
            at_ms: self.now.unix_ms(),
            writes,
            answer,
        });
        // Also in a task of its own the change carries the record of this act.
        within(self.act.clone(), append).await
    }
}

impl PublicCtx {
    /// Reads the JSON body; no body reads as `{}`.
    ///
    /// Errors: `malformed`, `too_large`, `too_deep`.
    pub fn body<T: DeserializeOwned>(&self) -> Reply<T> {
        json_body(&self.call)
    }

    /// Reads the `{id}` of the path.
    ///
    /// Errors: `not_found` for what is no such id.
    pub fn id<T: std::str::FromStr>(&self) -> Reply<T> {
        path_id(self.param.as_deref())
    }
}

fn json_body<T: DeserializeOwned>(call: &OperatorCall) -> Reply<T> {
    let body: &[u8] = if call.body.is_empty() { b"{}" } else { &call.body };
    Ok(codec::decode_json(body, codec::MAX_JSON_BYTES)?)
}

fn path_id<T: std::str::FromStr>(param: Option<&str>) -> Reply<T> {
    param
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| WireError::new(Code::NotFound, "there is nothing of this id"))
}

pub(crate) fn unencodable(error: serde_json::Error) -> WireError {
    tracing::error!(%error, "an answer cannot be written as JSON");
    WireError::new(Code::Internal, "the answer cannot be written")
}

/// Returns the stable code of a store's failure: `storage_full` where the disk has no room, else `storage_failed`.
pub fn store_code(error: &StoreError) -> Code {
    if error.is_full() {
        Code::StorageFull
    } else {
        Code::StorageFailed
    }
}

/// Says what a store's failure means to whoever asked.
pub fn store_error(error: &StoreError) -> WireError {
    let told = if error.is_full() {
        "the server's disk is full"
    } else {
        "the store failed"
    };
    WireError::new(store_code(error), told)
}

/// Says what a failed append means to whoever asked.
pub fn wire_error(error: &AppendError) -> WireError {
    match error {
        AppendError::Conflict { .. } => WireError::new(Code::Conflict, "someone else changed it first"),
        AppendError::IdReused => WireError::new(Code::IdReused, "the command id was used before for another command"),
        AppendError::TooLarge { what, max, .. } => {
            WireError::new(Code::TooLarge, format!("{what} is larger than {max} bytes"))
        }
        AppendError::Storage(error) => store_error(error),
        AppendError::Closed => WireError::new(Code::ShuttingDown, "the service is stopping"),
        other => {
            tracing::error!(error = %other, "an append was not well formed");
            WireError::new(Code::Internal, "the change could not be written")
        }
    }
}

/// Finds the parameter of a call's path.
///
/// Errors: `unknown_route` when method and path are not those of the verb.
pub(crate) fn route_param(route: &Route, call: &OperatorCall) -> Reply<Option<String>> {
    route
        .matches(&call.method, call.path_only())
        .map(|param| param.map(ToOwned::to_owned))
        .ok_or_else(|| WireError::new(Code::UnknownRoute, "method and path are not those of this verb"))
}

/// Verifies the session key's signature over a changing call, and returns the command's id.
///
/// Errors: `signature_missing`; `signature_invalid` when it is another session's or does not fit; `signature_expired` when it
/// was made longer ago, or lies further ahead, than 30 s.
pub(crate) fn verify_proof(call: &OperatorCall, caller: &Caller, now: Timestamp) -> Reply<CommandId> {
    let proof = call.proof.as_ref().ok_or_else(|| {
        WireError::new(
            Code::SignatureMissing,
            "whatever changes anything is signed by the session key",
        )
    })?;
    if proof.session != caller.session {
        return Err(WireError::new(
            Code::SignatureInvalid,
            "the signature is of another session",
        ));
    }
    call.verify(proof, &caller.session_key)
        .map_err(|_| WireError::new(Code::SignatureInvalid, "the signature does not fit the request"))?;
    // Checked after the signature, so that only a true one learns that it is late.
    if now.since_ms(proof.issued_at).saturating_abs() > FRESHNESS_MS {
        return Err(WireError::new(
            Code::SignatureExpired,
            "the signature is older, or further ahead, than allowed",
        ));
    }
    Ok(proof.command)
}

/// Checks what a route asks of a token besides its right, which was decided before.
///
/// Errors: `token_invalid` for a grant, `session_required` for an API token where a log-in is needed, `out_of_scope` for a
/// token that is for some devices, or a right that reaches some sites, where more is asked for.
pub fn fits(caller: &Caller, asks: Asks) -> Reply<()> {
    if caller.grant.is_some() {
        return Err(WireError::new(Code::TokenInvalid, "a grant is no session"));
    }
    if caller.is_token && asks.need == Need::Session && !asks.serves_tokens {
        return Err(WireError::new(
            Code::SessionRequired,
            "this takes a log-in; an API token does not serve",
        ));
    }
    if caller.devices.is_some() && !asks.knows_devices {
        return Err(WireError::new(
            Code::OutOfScope,
            "the token is for some devices, and this is about more",
        ));
    }
    if let (Tenancy::Deployment, Need::Right(right)) = (asks.tenancy, asks.need)
        && !caller.may_everywhere(right)
    {
        return Err(WireError::new(
            Code::OutOfScope,
            "this reaches the whole deployment, and the right does not",
        ));
    }
    Ok(())
}

/// Verifies an operator's call for a route: path, biscuit, right, and for changes the session key's signature.
pub(crate) fn admit(
    route: &'static Route,
    call: &OperatorCall,
    biscuit: Option<&str>,
    authoriser: &Authoriser,
    now: Timestamp,
) -> Reply<(Caller, Option<CommandId>, Option<String>)> {
    let param = route_param(route, call)?;
    let caller = authoriser.authorise(biscuit, route.need, None)?;
    fits(&caller, route.asks())?;
    let command = if route.changes {
        Some(verify_proof(call, &caller, now)?)
    } else {
        None
    };
    if route.step_up {
        proved_lately(&caller, call, now)?;
    }
    Ok((caller, command, param))
}

/// Checks that password or passkey was proved not long ago, for whatever is asked or for just this call; the one place that
/// decides so.
///
/// Errors: `session_required` for an API token, which nobody proves a password for; `step_up_required`.
pub fn proved_lately(caller: &Caller, call: &OperatorCall, now: Timestamp) -> Reply<()> {
    if caller.is_token {
        return Err(WireError::new(
            Code::SessionRequired,
            "this takes a log-in; an API token does not serve",
        ));
    }
    let lately = |at: Timestamp| now.since_ms(at) < STEP_UP_MS;
    let for_this = |proved: ProvedFor| lately(proved.at) && call.act() == Some(proved.act);
    if caller.proved_at.is_some_and(lately) || caller.proved_for.is_some_and(for_this) {
        return Ok(());
    }
    Err(WireError::new(
        Code::StepUpRequired,
        "this takes a proof of the password of the last ten minutes: borealis step-up",
    ))
}

pub(crate) const fn is_public(need: Need) -> bool {
    matches!(need, Need::Public)
}

#[cfg(test)]
mod tests;
