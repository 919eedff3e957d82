//! `session`: who is logged in and with which rights.

use std::sync::Arc;

use borealis_bus_schema::messages::access::SessionInfo;
use borealis_bus_schema::reply::Reply;
use borealis_service_kit::auth::reach;
use borealis_service_kit::operator::OperatorCtx;

use crate::service::Access;

/// Tells what the caller's biscuit says.
///
/// Errors: none of its own.
pub async fn handle(_: Arc<Access>, ctx: OperatorCtx) -> Reply<SessionInfo> {
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
    })
}
