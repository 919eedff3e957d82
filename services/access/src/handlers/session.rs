//! `session`: who is logged in, with which rights and which second factor.

use std::sync::Arc;

use borealis_bus_schema::messages::access::SessionInfo;
use borealis_bus_schema::reply::Reply;
use borealis_service_kit::auth::reach;
use borealis_service_kit::operator::OperatorCtx;

use crate::service::Access;

/// Tells what the caller's biscuit says, and what stands beside the password.
///
/// Errors: none of its own.
pub async fn handle(access: Arc<Access>, ctx: OperatorCtx) -> Reply<SessionInfo> {
    let (factors, passkeys) = {
        let state = access.state().await;
        let account = state.operators.get(&ctx.caller.operator);
        let standing = account.map(|account| account.factors.standing());
        (standing, account.map_or(0, |account| account.passkeys.len()))
    };
    Ok(SessionInfo {
        session_id: ctx.caller.session,
        operator: ctx.caller.operator,
        username: ctx.caller.username,
        expires_at: ctx.caller.expires_at,
        rights: ctx
            .caller
            .rights
            .iter()
            .map(|right| right.as_str().to_owned())
            .collect(),
        sites: ctx.caller.sites.names(),
        reach: reach::write(&ctx.caller.reach),
        second_factor: factors.is_some_and(|factors| factors.second_factor),
        recovery_codes_left: factors.map_or(0, |factors| factors.recovery_codes_left),
        passkeys,
        proved_at: ctx.caller.proved_at,
    })
}
