//! `password`: whoever is logged in proves the old password once more and sets another.
//!
//! Both steps are signed by the session key, and the second only counts in the session that made the first. The operator's
//! other sessions end; grants and tokens go on.

use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::SessionId;
use borealis_bus_schema::messages::access::{ChangePassword, ChangePasswordAnswer};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_service_kit::operator::OperatorCtx;
use borealis_service_kit::random;
use rand::rngs::OsRng;

use super::login::failed;
use crate::aggregate::{Command, Event, State, UserCommand};
use crate::error::{AccessError, malformed};
use crate::logins::{Login, Purpose};
use crate::opaque::{Opaque, OpaqueError};
use crate::service::{Access, CommandKey};
use crate::throttle::peer_key;

/// Answers a step of the change.
///
/// Errors: `login_failed` when the old password does not fit, `throttled`, `overloaded`, `invalid_field` for a message that is
/// none.
pub async fn handle(access: Arc<Access>, ctx: OperatorCtx) -> Reply<ChangePasswordAnswer> {
    match ctx.body()? {
        ChangePassword::Start {
            login_request,
            registration_request,
        } => start(&access, &ctx, &login_request, &registration_request).await,
        ChangePassword::Finish {
            change_id,
            login_finalization,
            registration_record,
        } => finish(&access, &ctx, &change_id, &login_finalization, &registration_record).await,
    }
}

async fn start(
    access: &Access,
    ctx: &OperatorCtx,
    login_request: &str,
    registration_request: &str,
) -> Reply<ChangePasswordAnswer> {
    let (username, operator) = (ctx.caller.username.clone(), ctx.caller.operator);
    let peer = peer_key(&ctx.call.peer);
    let record = {
        let state = access.state().await;
        let account = state.operators.get(&operator);
        account.and_then(|account| account.record.clone())
    };
    let attempt = access
        .logins(|logins| logins.throttle.admit(&username, &peer, true, ctx.now))
        .map_err(|refused| WireError::new(Code::Throttled, refused.to_string()))?;
    let registration_response = access
        .opaque
        .register(&username, registration_request)
        .map_err(malformed)?;
    let (login_response, exchange) = access
        .opaque
        .start(&mut OsRng, &username, record.as_deref(), login_request)
        .map_err(malformed)?;
    let change_id = random::id();
    let login = Login {
        purpose: Purpose::Change(ctx.caller.session),
        username,
        operator: Some(operator),
        proved: None,
        session_key: ctx.caller.session_key,
        exchange,
        attempt,
        began_at: ctx.now,
    };
    access
        .logins(|logins| logins.keep(change_id, login))
        .map_err(|full| WireError::new(Code::Overloaded, full.to_string()))?;
    Ok(ChangePasswordAnswer::Started {
        change_id,
        login_response,
        registration_response,
    })
}

async fn finish(
    access: &Access,
    ctx: &OperatorCtx,
    change_id: &SessionId,
    login_finalization: &str,
    registration_record: &str,
) -> Reply<ChangePasswordAnswer> {
    let (session, operator) = (ctx.caller.session, ctx.caller.operator);
    let record = Opaque::record(registration_record).map_err(malformed)?;
    let login = access
        .logins(|logins| logins.take(change_id, Purpose::Change(session), ctx.now))
        .ok_or_else(failed)?;
    Opaque::finish(login.exchange, &login.username, login_finalization).map_err(|error| match error {
        OpaqueError::Refused => failed(),
        OpaqueError::Malformed { .. } => malformed(error),
    })?;
    let command = Command::User(UserCommand::ChangePassword {
        operator,
        session,
        record,
    });
    let key = CommandKey {
        id: *ctx.command.as_bytes(),
        digest: ctx.digest,
        answer: Vec::new(),
    };
    let answer = |_: &State, events: &[Event]| {
        let ended = events
            .iter()
            .filter(|event| matches!(event, Event::SessionEnded { .. }));
        let answer = ChangePasswordAnswer::Finished {
            sessions_ended: ended.count(),
        };
        serde_json::to_vec(&answer).map_err(AccessError::Answer)
    };
    let (_, appended) = access.execute_answering(command, key, answer).await?;
    access.logins(|logins| logins.throttle.give_back(&login.attempt));
    tracing::info!(operator = %operator, session = %session, "an operator changed the password");
    Ok(codec::decode_json(&appended.answer, codec::MAX_JSON_BYTES)?)
}
