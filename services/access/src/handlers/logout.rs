//! `logout`: the session ends, here at once and in every other service with the next head.

use std::sync::Arc;

use borealis_bus_schema::reply::Reply;
use borealis_service_kit::operator::OperatorCtx;

use crate::aggregate::Command;
use crate::service::{Access, CommandKey};

/// Ends the caller's session.
///
/// Errors: `token_revoked` when it is over already.
pub async fn handle(access: Arc<Access>, ctx: OperatorCtx) -> Reply<serde_json::Value> {
    let command = Command::EndSession {
        session: ctx.caller.session,
        reason: "log-out".to_owned(),
    };
    let key = CommandKey {
        id: *ctx.command.as_bytes(),
        digest: ctx.digest,
        answer: b"{}".to_vec(),
    };
    access.execute(command, key).await?;
    tracing::info!(operator = %ctx.caller.operator, session = %ctx.caller.session, "an operator logged out");
    Ok(serde_json::json!({}))
}
