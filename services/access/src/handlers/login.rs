//! `login`: a password is proved by OPAQUE, then a second factor where there is one, and a session is bound to a key.
//!
//! Who exists cannot be learnt: an unknown name gets an exchange that fails like one with a wrong password. Whether an
//! operator has a second factor is told to whoever proved the password. A code is proved, not sent, and each counts.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::factor::FactorProof;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{OperatorId, SessionId};
use borealis_bus_schema::messages::access::{Login, LoginAnswer};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::audit;
use borealis_service_kit::operator::PublicCtx;
use borealis_service_kit::random;
use rand::rngs::OsRng;

use super::passkeys;
use super::proof::{self, kinds};
use crate::aggregate::{Command, Event, Proved, Rejection, Status, Username};
use crate::error::{AccessError, malformed};
use crate::logins::{self, Purpose, Waiting};
use crate::opaque::{Opaque, OpaqueError};
use crate::service::{Access, CommandKey};
use crate::throttle::peer_key;

/// Answers a step of a log-in.
///
/// Errors: `login_failed` whatever does not fit, `factor_invalid` for a code, `throttled`, `overloaded`, `invalid_field` for a
/// message that is none, those of [`passkeys::log_in_finish`] for a passkey.
pub async fn handle(access: Arc<Access>, ctx: PublicCtx) -> Reply<LoginAnswer> {
    match ctx.body()? {
        Login::Start {
            username,
            login_request,
            session_public_key,
        } => start(&access, &ctx, &username, &login_request, session_public_key).await,
        Login::Finish {
            login_id,
            login_finalization,
            key_binding,
        } => finish(&access, &ctx, &login_id, &login_finalization, &key_binding).await,
        Login::Factor { login_id, factor } => second(&access, &ctx, login_id, &factor).await,
        Login::PasskeyStart {
            host,
            session_public_key,
        } => passkeys::log_in_start(&access, &ctx, &host, session_public_key),
        Login::PasskeyFinish { login_id, assertion } => {
            passkeys::log_in_finish(&access, &ctx, &login_id, &assertion).await
        }
    }
}

async fn start(
    access: &Access,
    ctx: &PublicCtx,
    username: &str,
    login_request: &str,
    session_key: PublicKey,
) -> Reply<LoginAnswer> {
    // A name that nobody can have takes the same way as one that nobody has.
    let username: String = username.trim().to_lowercase().chars().take(64).collect();
    let peer = peer_key(&ctx.call.peer);
    let (operator, record, known) = {
        let state = access.state().await;
        let found = Username::new(&username).and_then(|name| state.operator(&name));
        // Whoever is disabled or has no password yet looks like one who does not exist; the address counts for all names
        // alike, so that the number of attempts does not tell which exist.
        let known = state.knows_peer(&peer);
        match found.filter(|(_, operator)| operator.status == Status::Active) {
            Some((id, operator)) => (Some(id), operator.record.clone(), known),
            None => (None, None, known),
        }
    };
    let attempt = access
        .logins(|logins| logins.throttle.admit(&username, &peer, known, ctx.now))
        .map_err(|refused| WireError::new(Code::Throttled, refused.to_string()))?;
    let (login_response, exchange) = access
        .opaque
        .start(&mut OsRng, &username, record.as_deref(), login_request)
        .map_err(malformed)?;
    let login_id = random::id();
    let login = logins::Login {
        purpose: Purpose::LogIn,
        username,
        operator,
        proved: record.as_deref().map(Digest::of),
        session_key,
        exchange,
        attempt,
        began_at: ctx.now,
    };
    access
        .logins(|logins| logins.keep(login_id, login))
        .map_err(|full| WireError::new(Code::Overloaded, full.to_string()))?;
    Ok(LoginAnswer::Started {
        login_id,
        login_response,
    })
}

async fn finish(
    access: &Access,
    ctx: &PublicCtx,
    login_id: &SessionId,
    login_finalization: &str,
    key_binding: &str,
) -> Reply<LoginAnswer> {
    let login = access
        .logins(|logins| logins.take(login_id, Purpose::LogIn, ctx.now))
        .ok_or_else(failed)?;
    if let Some(operator) = login.operator {
        // Only names that exist: what else was typed there may be a password.
        audit::note_object("operator", operator);
    }
    let secret = Opaque::finish(login.exchange, &login.username, login_finalization).map_err(|error| match error {
        OpaqueError::Refused => failed(),
        OpaqueError::Malformed { .. } => malformed(error),
    })?;
    if !secret.binds(&login.session_key, key_binding) {
        return Err(failed());
    }
    let (operator, proved) = login.operator.zip(login.proved).ok_or_else(failed)?;
    let factors = {
        let state = access.state().await;
        state.operators.get(&operator).map(kinds).unwrap_or_default()
    };
    if factors.is_empty() {
        let proved = Proved {
            password: proved,
            factor: None,
        };
        let begun = begin(access, ctx, operator, proved, login.session_key).await?;
        access.logins(|logins| logins.throttle.give_back(&login.attempt));
        return Ok(begun);
    }
    let login_id = random::id();
    let waiting = Waiting {
        operator,
        proved,
        session_key: login.session_key,
        secret,
        tries: 0,
        began_at: ctx.now,
    };
    access
        .logins(|logins| {
            // The password was proved; from here on codes are counted.
            logins.throttle.give_back(&login.attempt);
            logins.keep_waiting(login_id, waiting, ctx.now)
        })
        .map_err(|full| WireError::new(Code::Overloaded, full.to_string()))?;
    Ok(LoginAnswer::FactorNeeded { login_id, factors })
}

/// Ends a log-in by a code of the second factor.
async fn second(access: &Access, ctx: &PublicCtx, login_id: SessionId, factor: &FactorProof) -> Reply<LoginAnswer> {
    let waiting = access
        .logins(|logins| logins.take_waiting(&login_id, ctx.now))
        .ok_or_else(failed)?;
    audit::note_object("operator", waiting.operator);
    let begun = with_code(access, ctx, &waiting, factor).await;
    let may_come_again = |error: &WireError| matches!(error.code, Code::FactorInvalid | Code::Throttled);
    if begun.as_ref().is_err_and(may_come_again) {
        access.logins(|logins| logins.tried(login_id, waiting));
    }
    begun
}

async fn with_code(access: &Access, ctx: &PublicCtx, waiting: &Waiting, factor: &FactorProof) -> Reply<LoginAnswer> {
    let peer = peer_key(&ctx.call.peer);
    let (used, attempt) = proof::code(access, waiting.operator, &peer, &waiting.secret, factor, ctx.now).await?;
    let proved = Proved {
        password: waiting.proved,
        factor: Some(used),
    };
    let begun = begin(access, ctx, waiting.operator, proved, waiting.session_key).await?;
    access.logins(|logins| logins.codes.give_back(&attempt));
    Ok(begun)
}

/// Begins the session of whoever proved everything that is needed.
async fn begin(
    access: &Access,
    ctx: &PublicCtx,
    operator: OperatorId,
    proved: Proved,
    session_key: PublicKey,
) -> Reply<LoginAnswer> {
    let command = Command::StartSession {
        operator,
        proved,
        session_key,
        peer: peer_key(&ctx.call.peer),
    };
    begun(access, operator, session_key, command).await
}

/// Begins a session by a command that does so, and mints its biscuit.
///
/// Errors: `login_failed` for whoever may not log in, and what the command is refused by.
pub(super) async fn begun(
    access: &Access,
    operator: OperatorId,
    session_key: PublicKey,
    command: Command,
) -> Reply<LoginAnswer> {
    let begun = access.execute(command, CommandKey::once()).await;
    let (events, _) = begun.map_err(|error| match error {
        // Disabled, with another password or with a second factor, between the steps.
        AccessError::Rejected(Rejection::OperatorUnknown | Rejection::FactorRequired) => failed(),
        other => other.into(),
    })?;
    let Some(Event::SessionStarted {
        session,
        at,
        expires_at,
        ..
    }) = events.first()
    else {
        return Err(WireError::new(Code::Internal, "no session was begun"));
    };
    let begun = access
        .mint_session(*session, operator, session_key, *expires_at, (Some(*at), None))
        .await?;
    tracing::info!(operator = %operator, session = %begun.session, "an operator logged in");
    Ok(LoginAnswer::Finished {
        token: begun.token,
        session_id: begun.session,
        username: begun.username,
        expires_at: begun.expires_at,
    })
}

/// Says no, and not why.
pub fn failed() -> WireError {
    WireError::new(Code::LoginFailed, "user name and password do not fit")
}
