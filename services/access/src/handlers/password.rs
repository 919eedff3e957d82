//! `password`: whoever is logged in proves the old password once more and sets another.
//!
//! Both steps are signed by the session key, and the second only counts in the session that made the first. The operator's
//! other sessions end; grants and tokens go on. Whoever has a second factor proves it too.

use std::sync::Arc;

use borealis_bus_schema::messages::access::{ChangePassword, ChangePasswordAnswer};
use borealis_bus_schema::reply::Reply;
use borealis_service_kit::operator::OperatorCtx;

use super::change::{Kept, change, first};
use super::proof::{self, ProvedAgain};
use crate::aggregate::{Command, Event, State, UserCommand};
use crate::error::malformed;
use crate::logins::Purpose;
use crate::opaque::Opaque;
use crate::service::Access;

/// Answers a step of the change.
///
/// Errors: `login_failed` when the old password does not fit, `factor_required`, `factor_invalid`, `throttled`, `overloaded`,
/// `invalid_field` for a message that is none.
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
            factor,
        } => {
            // An exchange is good once; whoever did not hear the answer asks again by the same command.
            if let Some(first) = first(&access, &ctx)? {
                return Ok(first);
            }
            let record = Opaque::record(&registration_record).map_err(malformed)?;
            let purpose = Purpose::Change(ctx.caller.session);
            let factor = factor.as_ref();
            let proved = proof::finish(&access, &ctx, purpose, &change_id, &login_finalization, factor).await?;
            finish(&access, &ctx, record, proved).await
        }
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
        factors: started.factors,
    })
}

async fn finish(
    access: &Access,
    ctx: &OperatorCtx,
    record: Vec<u8>,
    again: ProvedAgain,
) -> Reply<ChangePasswordAnswer> {
    let (session, operator) = (ctx.caller.session, ctx.caller.operator);
    let command = Command::User(UserCommand::ChangePassword {
        operator,
        session,
        proved: again.proved,
        record,
    });
    let answer = |_: &State, events: &[Event]| {
        let ended = events
            .iter()
            .filter(|event| matches!(event, Event::SessionEnded { .. }));
        Some(ChangePasswordAnswer::Finished {
            sessions_ended: ended.count(),
        })
    };
    let answer = change(access, ctx, Kept::Whole, command, answer).await?;
    again.accepted(access);
    tracing::info!(operator = %operator, session = %session, "an operator changed the password");
    Ok(answer)
}
