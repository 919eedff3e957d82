//! `password`: whoever is logged in proves the old password once more and sets another.
//!
//! Both steps are signed by the session key, and the second only counts in the session that made the first. The operator's
//! other sessions end; grants and tokens go on.

use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::ids::SessionId;
use borealis_bus_schema::messages::access::{ChangePassword, ChangePasswordAnswer};
use borealis_bus_schema::reply::Reply;
use borealis_service_kit::operator::OperatorCtx;

use super::login::failed;
use super::proof;
use crate::aggregate::{Command, Event, State, UserCommand};
use crate::error::{AccessError, malformed};
use crate::logins::Purpose;
use crate::opaque::{Opaque, OpaqueError};
use crate::service::{Access, CommandKey};

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
    let registration_response = access
        .opaque
        .register(&ctx.caller.username, registration_request)
        .map_err(malformed)?;
    let started = proof::start(access, ctx, Purpose::Change(ctx.caller.session), login_request).await?;
    Ok(ChangePasswordAnswer::Started {
        change_id: started.exchange_id,
        login_response: started.login_response,
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
