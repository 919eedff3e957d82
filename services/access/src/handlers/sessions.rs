//! `sessions-…`: who is logged in where, and ending it.

use std::sync::Arc;

use borealis_bus_schema::ids::SessionId;
use borealis_bus_schema::messages::access::SessionView;
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::change::{Kept, actor, change};
use crate::aggregate::{BOOTSTRAP_NAME, Command, Session, State, UserCommand};
use crate::service::Access;

/// Lists the live sessions: the caller's own, and everybody's for whoever may see operators everywhere.
///
/// Errors: none of its own.
pub async fn list(access: Arc<Access>, ctx: OperatorCtx) -> Reply<Page<SessionView>> {
    let sees_all = ctx.caller.may_everywhere(Right::UsersRead);
    let state = access.state().await;
    let mut items: Vec<SessionView> = state
        .sessions
        .iter()
        .filter(|(id, session)| {
            (sees_all || session.operator == ctx.caller.operator) && state.live_session(id, ctx.now).is_ok()
        })
        .map(|(id, session)| show(&access, &state, id, session, &ctx))
        .collect();
    items.sort_by_key(|session| session.started_at);
    Ok(Page {
        items,
        next_cursor: None,
        total: None,
    })
}

/// Ends a session.
///
/// Errors: `not_found`, `wrong_state` when it is over, `right_missing` and `exceeds_own_rights` for another operator's.
pub async fn end(access: Arc<Access>, ctx: OperatorCtx) -> Reply<SessionView> {
    let session: SessionId = ctx.id()?;
    let command = Command::User(UserCommand::EndSession {
        by: actor(&ctx),
        session,
    });
    let answer = |state: &State, _: &[_]| {
        let found = state.sessions.get(&session)?;
        Some(show(&access, state, &session, found, &ctx))
    };
    let ended = change(&access, &ctx, Kept::Whole, command, answer).await?;
    tracing::info!(session = %session, by = %ctx.caller.operator, "a session was ended");
    Ok(ended)
}

fn show(access: &Access, state: &State, id: &SessionId, session: &Session, ctx: &OperatorCtx) -> SessionView {
    let account = state.operators.get(&session.operator);
    let username = account.map_or(BOOTSTRAP_NAME, |account| account.username.as_str());
    SessionView {
        id: *id,
        operator: session.operator,
        username: username.to_owned(),
        peer: session.peer.clone(),
        started_at: session.started_at,
        last_seen_at: access.presence.last_seen(id, session.started_at),
        expires_at: session.expires_at,
        current: *id == ctx.caller.session,
    }
}
