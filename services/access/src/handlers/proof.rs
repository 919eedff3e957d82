//! How a password, and a code of the second factor, are proved: within a log-in, and once more within a session.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::factor::{Factor, FactorKind, FactorProof};
use borealis_bus_schema::ids::{OperatorId, SessionId};
use borealis_bus_schema::messages::access::{ProofStarted, ProveAgain};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::audit;
use borealis_service_kit::operator::OperatorCtx;
use borealis_service_kit::random;
use rand::rngs::OsRng;

use super::login::failed;
use crate::aggregate::{FactorUse, Operator, Proved};
use crate::error::{AccessError, malformed};
use crate::logins::{Login, Purpose};
use crate::opaque::{Opaque, OpaqueError, SessionSecret};
use crate::service::Access;
use crate::throttle::{Attempt, peer_key};
use crate::totp;

/// Is a password, and a code where one came, that were proved within a session.
pub struct ProvedAgain {
    /// What the decision needs of it.
    pub proved: Proved,
    /// What both sides know now.
    pub secret: SessionSecret,
    attempts: Vec<(Counted, Attempt)>,
}

#[derive(Clone, Copy)]
enum Counted {
    Password,
    Code,
}

impl ProvedAgain {
    /// Gives the attempts back once it was accepted.
    pub fn accepted(&self, access: &Access) {
        access.logins(|logins| {
            for (counted, attempt) in &self.attempts {
                match counted {
                    Counted::Password => logins.throttle.give_back(attempt),
                    Counted::Code => logins.codes.give_back(attempt),
                }
            }
        });
    }
}

/// Lists what serves an operator as the second factor.
pub fn kinds(account: &Operator) -> Vec<FactorKind> {
    match &account.factors.totp {
        None => Vec::new(),
        Some(_) if account.factors.recovery.is_empty() => vec![FactorKind::Totp],
        Some(_) => vec![FactorKind::Totp, FactorKind::Recovery],
    }
}

/// Finds the code that a proof is of, among those that count now.
///
/// Errors: `factor_invalid`, `throttled`; `internal` when the app's secret cannot be opened.
pub async fn code(
    access: &Access,
    operator: OperatorId,
    peer: &str,
    secret: &SessionSecret,
    proof: &FactorProof,
    now: Timestamp,
) -> Reply<(FactorUse, Attempt)> {
    let (username, known, factors) = {
        let state = access.state().await;
        let account = state.operators.get(&operator).ok_or_else(failed)?;
        (
            account.username.clone(),
            state.knows_peer(peer),
            account.factors.clone(),
        )
    };
    let attempt = access
        .logins(|logins| logins.codes.admit(username.as_str(), peer, known, now))
        .map_err(|refused| WireError::new(Code::Throttled, refused.to_string()))?;
    let found = match proof.kind {
        FactorKind::Totp => match &factors.totp {
            None => None,
            Some(app) => {
                let app = access.sealer.open(&operator, &app.sealed).map_err(AccessError::from)?;
                let fits = |step: &u64| secret.proves(&Factor::Totp(totp::code(app.as_slice(), *step)), proof);
                let step = totp::steps_at(now).into_iter().find(fits);
                step.map(|step| FactorUse::Totp { step })
            }
        },
        FactorKind::Recovery => {
            let fits = |code: &&Digest| secret.proves(&Factor::Recovery(**code), proof);
            let code = factors.recovery.iter().find(fits);
            code.map(|code| FactorUse::Recovery { code: *code })
        }
    };
    match found {
        Some(found) => Ok((found, attempt)),
        None => Err(wrong_code()),
    }
}

/// Says that a code does not fit.
pub fn wrong_code() -> WireError {
    WireError::new(Code::FactorInvalid, "the code does not fit, or was used before")
}

/// Is what a step of proving the password came to.
pub enum Step {
    /// It began.
    Started(ProofStarted),
    /// It was proved.
    Proved(ProvedAgain),
}

/// Takes the step that the request's body asks for.
///
/// Errors: those of [`start`] and [`finish`]; `malformed` for a body that is no step.
pub async fn step(access: &Access, ctx: &OperatorCtx, purpose: Purpose) -> Reply<Step> {
    match ctx.body()? {
        ProveAgain::Start { login_request } => start(access, ctx, purpose, &login_request).await.map(Step::Started),
        ProveAgain::Finish {
            exchange_id,
            login_finalization,
            factor,
        } => finish(access, ctx, purpose, &exchange_id, &login_finalization, factor.as_ref())
            .await
            .map(Step::Proved),
    }
}

/// Begins to prove the password of whoever is logged in.
///
/// Errors: `throttled`, `overloaded`, `invalid_field` for a message that is none.
pub async fn start(access: &Access, ctx: &OperatorCtx, purpose: Purpose, login_request: &str) -> Reply<ProofStarted> {
    let (username, operator) = (ctx.caller.username.clone(), ctx.caller.operator);
    let peer = peer_key(&ctx.call.peer);
    let (record, factors) = {
        let state = access.state().await;
        let account = state.operators.get(&operator);
        let record = account.and_then(|account| account.record.clone());
        (record, account.map(kinds).unwrap_or_default())
    };
    let attempt = access
        .logins(|logins| logins.throttle.admit(&username, &peer, true, ctx.now))
        .map_err(|refused| WireError::new(Code::Throttled, refused.to_string()))?;
    let (login_response, exchange) = access
        .opaque
        .start(&mut OsRng, &username, record.as_deref(), login_request)
        .map_err(malformed)?;
    let exchange_id = random::id();
    let login = Login {
        purpose,
        username,
        operator: Some(operator),
        proved: record.as_deref().map(Digest::of),
        session_key: ctx.caller.session_key,
        exchange,
        attempt,
        began_at: ctx.now,
    };
    access
        .logins(|logins| logins.keep(exchange_id, login))
        .map_err(|full| WireError::new(Code::Overloaded, full.to_string()))?;
    // Nothing has changed yet; what is refused is on record all the same.
    audit::note_no_change();
    Ok(ProofStarted {
        exchange_id,
        login_response,
        factors,
    })
}

/// Ends the proof of the password, and of a code where one came.
///
/// Errors: `login_failed`, `factor_invalid`, `throttled`, `invalid_field` for a message that is none.
pub async fn finish(
    access: &Access,
    ctx: &OperatorCtx,
    purpose: Purpose,
    exchange_id: &SessionId,
    login_finalization: &str,
    factor: Option<&FactorProof>,
) -> Reply<ProvedAgain> {
    let login = access
        .logins(|logins| logins.take(exchange_id, purpose, ctx.now))
        .ok_or_else(failed)?;
    let secret = Opaque::finish(login.exchange, &login.username, login_finalization).map_err(|error| match error {
        OpaqueError::Refused => failed(),
        OpaqueError::Malformed { .. } => malformed(error),
    })?;
    let password = login.proved.ok_or_else(failed)?;
    let mut attempts = vec![(Counted::Password, login.attempt)];
    let peer = peer_key(&ctx.call.peer);
    let factor = match factor {
        None => None,
        Some(proof) => {
            let (used, attempt) = code(access, ctx.caller.operator, &peer, &secret, proof, ctx.now).await?;
            attempts.push((Counted::Code, attempt));
            Some(used)
        }
    };
    Ok(ProvedAgain {
        proved: Proved { password, factor },
        secret,
        attempts,
    })
}
