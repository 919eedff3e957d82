//! `step-up`, `totp-…`, `recovery-codes`, `users-reset-factor`: the password is proved once more, and second factors are made,
//! confirmed and taken away.
//!
//! Neither the secret of an app nor a recovery code is ever sent: both ends make them out of the exchange that proved the
//! password, and the log keeps the one sealed and digests of the others.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::SessionId;
use borealis_bus_schema::messages::access::{
    ConfirmTotp, EnrolTotpAnswer, FactorStanding, ProveAgain, RecoveryCodesAnswer, StepUpAnswer, UserView,
};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::operator::OperatorCtx;
use borealis_service_kit::random;
use serde::{Deserialize, Serialize};

use super::change::{Kept, actor, change, first};
use super::proof::{self, Step, wrong_code};
use super::users;
use crate::aggregate::{Command, Event, FactorCommand, State};
use crate::error::AccessError;
use crate::logins::Purpose;
use crate::service::Access;
use crate::throttle::peer_key;
use crate::totp;

/// Is what is kept of a proof's answer; the biscuit is minted each time, for the session that proved it and no other.
#[derive(Serialize, Deserialize)]
pub(super) struct ProvedAt {
    pub(super) proved_at: Timestamp,
    /// The one act that a passkey proved it for; none for whatever is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) act: Option<[u8; 32]>,
    /// The session; none in answers from before this field, which serve nobody any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<SessionId>,
}

impl ProvedAt {
    /// Returns what a repeated command proved, to the session that proved it: a command is known again by its words, which
    /// are the same from any session of its operator.
    ///
    /// Errors: `conflict` to another session.
    pub(super) fn to(self, session: SessionId) -> Reply<Self> {
        if self.session == Some(session) {
            return Ok(self);
        }
        let text = "another session proved this";
        Err(WireError::new(Code::Conflict, text))
    }
}

/// Answers a step of proving the password once more: the same session and key get a biscuit that says so.
///
/// Errors: `login_failed`, `factor_required`, `factor_invalid`, `throttled`, `overloaded`, `invalid_field` for a message that
/// is none, `token_revoked` when the session is over.
pub async fn step_up(access: Arc<Access>, ctx: OperatorCtx) -> Reply<StepUpAnswer> {
    let (operator, session) = (ctx.caller.operator, ctx.caller.session);
    let purpose = Purpose::StepUp(session);
    let (exchange_id, login_finalization, factor) = match ctx.body()? {
        ProveAgain::Start { login_request } => {
            let started = proof::start(&access, &ctx, purpose, &login_request).await?;
            return Ok(StepUpAnswer::Started(started));
        }
        ProveAgain::Finish {
            exchange_id,
            login_finalization,
            factor,
        } => (exchange_id, login_finalization, factor),
    };
    // An exchange is good once; whoever did not hear the answer asks again by the same command.
    let ProvedAt { proved_at, .. } = match first::<ProvedAt>(&access, &ctx)? {
        Some(first) => first.to(session)?,
        None => {
            let again = proof::finish(
                &access,
                &ctx,
                purpose,
                &exchange_id,
                &login_finalization,
                factor.as_ref(),
            )
            .await?;
            let command = Command::Factor(FactorCommand::StepUp {
                operator,
                session,
                proved: again.proved,
            });
            let answer = |_: &State, events: &[Event]| {
                events.iter().find_map(|event| match event {
                    Event::SessionProved { at, .. } => Some(ProvedAt {
                        proved_at: *at,
                        act: None,
                        session: Some(session),
                    }),
                    _ => None,
                })
            };
            let proved = change(&access, &ctx, Kept::WithoutSecret, command, answer).await?;
            again.accepted(&access);
            tracing::info!(operator = %operator, session = %session, "an operator proved the password once more");
            proved
        }
    };
    let expires_at = {
        let state = access.state().await;
        let live = state.live_session(&session, ctx.now).map_err(AccessError::from)?;
        live.expires_at
    };
    let begun = access
        .mint_session(
            session,
            operator,
            ctx.caller.session_key,
            expires_at,
            (Some(proved_at), None),
        )
        .await?;
    Ok(StepUpAnswer::Done {
        token: begun.token,
        session_id: begun.session,
        username: begun.username,
        expires_at: begun.expires_at,
        proved_at,
    })
}

/// Answers a step of making the secret of an authenticator app.
///
/// Errors: `login_failed`, `factor_required`, `factor_invalid`, `throttled`, `overloaded`, `invalid_field` for a message that
/// is none.
pub async fn enrol(access: Arc<Access>, ctx: OperatorCtx) -> Reply<EnrolTotpAnswer> {
    let purpose = Purpose::Enrol(ctx.caller.session);
    let again = match proof::step(&access, &ctx, purpose).await? {
        Step::Started(started) => return Ok(EnrolTotpAnswer::Started(started)),
        Step::Proved(again) => again,
    };
    let operator = ctx.caller.operator;
    let secret = again.secret.totp_secret();
    let sealed = access.sealer.seal(&operator, &secret, random::bytes());
    let command = Command::Factor(FactorCommand::Offer {
        operator,
        session: ctx.caller.session,
        proved: again.proved,
        sealed: sealed.map_err(AccessError::from)?,
    });
    let answer = |_: &State, events: &[Event]| {
        events.iter().find_map(|event| match event {
            Event::TotpOffered { until, .. } => Some(EnrolTotpAnswer::Offered { confirm_until: *until }),
            _ => None,
        })
    };
    let offered = change(&access, &ctx, Kept::Whole, command, answer).await?;
    again.accepted(&access);
    tracing::info!(operator = %operator, "an operator enrols an authenticator app");
    Ok(offered)
}

/// Makes the app the second factor, by a code of it.
///
/// Errors: `factor_invalid`, `throttled`, `wrong_state` when there is no app to confirm.
pub async fn confirm(access: Arc<Access>, ctx: OperatorCtx) -> Reply<FactorStanding> {
    let asked: ConfirmTotp = ctx.body()?;
    let (operator, session) = (ctx.caller.operator, ctx.caller.session);
    let sealed = {
        let state = access.state().await;
        let account = state.operators.get(&operator);
        account
            .and_then(|account| account.factors.offered.as_ref())
            .map(|offer| offer.sealed.clone())
    };
    let Some(sealed) = sealed else {
        return Err(AccessError::from(crate::aggregate::Rejection::NothingOffered).into());
    };
    let peer = peer_key(&ctx.call.peer);
    let attempt = access
        .logins(|logins| logins.codes.admit(&ctx.caller.username, &peer, true, ctx.now))
        .map_err(|refused| WireError::new(Code::Throttled, refused.to_string()))?;
    let secret = access.sealer.open(&operator, &sealed).map_err(AccessError::from)?;
    let typed: String = asked.code.chars().filter(|c| !c.is_whitespace()).collect();
    // The session itself knows the secret, so nothing can be learnt by the time that this takes.
    let step = totp::steps_at(ctx.now)
        .into_iter()
        .find(|step| totp::code(secret.as_slice(), *step) == typed);
    let command = Command::Factor(FactorCommand::Confirm {
        operator,
        session,
        sealed,
        step: step.ok_or_else(wrong_code)?,
    });
    let standing = changed(&access, &ctx, command).await?;
    access.logins(|logins| logins.codes.give_back(&attempt));
    tracing::info!(operator = %operator, "an operator's log-ins take a second factor from now on");
    Ok(standing)
}

/// Takes the caller's own second factor away.
///
/// Errors: `wrong_state` when there is none.
pub async fn remove(access: Arc<Access>, ctx: OperatorCtx) -> Reply<FactorStanding> {
    let operator = ctx.caller.operator;
    let command = Command::Factor(FactorCommand::Remove {
        operator,
        session: ctx.caller.session,
    });
    let standing = changed(&access, &ctx, command).await?;
    tracing::info!(operator = %operator, "an operator took the own second factor away");
    Ok(standing)
}

/// Answers a step of making recovery codes.
///
/// Errors: `login_failed`, `factor_required`, `factor_invalid`, `throttled`, `overloaded`, `wrong_state` where there is no
/// second factor, `invalid_field` for a message that is none.
pub async fn recovery_codes(access: Arc<Access>, ctx: OperatorCtx) -> Reply<RecoveryCodesAnswer> {
    let purpose = Purpose::Codes(ctx.caller.session);
    let again = match proof::step(&access, &ctx, purpose).await? {
        Step::Started(started) => return Ok(RecoveryCodesAnswer::Started(started)),
        Step::Proved(again) => again,
    };
    let operator = ctx.caller.operator;
    let command = Command::Factor(FactorCommand::MakeCodes {
        operator,
        session: ctx.caller.session,
        proved: again.proved,
        codes: again.secret.recovery_digests(),
    });
    let standing = changed(&access, &ctx, command).await?;
    again.accepted(&access);
    tracing::info!(operator = %operator, "an operator made recovery codes");
    Ok(RecoveryCodesAnswer::Made(standing))
}

/// Takes another operator's second factor away.
///
/// Errors: `not_found`, `wrong_state` when there is none, `exceeds_own_rights`.
pub async fn reset(access: Arc<Access>, ctx: OperatorCtx) -> Reply<UserView> {
    let command = Command::Factor(FactorCommand::Reset {
        by: actor(&ctx),
        operator: ctx.id()?,
    });
    let user = users::changed(&access, &ctx, Kept::Whole, command).await?;
    tracing::info!(operator = %user.id, by = %ctx.caller.operator, "an operator's second factor was taken away");
    Ok(user)
}

async fn changed(access: &Access, ctx: &OperatorCtx, command: Command) -> Reply<FactorStanding> {
    let operator = ctx.caller.operator;
    let answer = |state: &State, _: &[Event]| Some(state.operators.get(&operator)?.factors.standing());
    change(access, ctx, Kept::Whole, command, answer).await
}
