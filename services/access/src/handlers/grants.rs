//! `grants-…` and `grant-revoke`: what may still act later in an operator's name, and ending it.
//!
//! That a grant is over stands in access's log; signing follows it, and signs for none of which it does not know within five
//! seconds whether it is.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::sha256;
use borealis_bus_schema::ids::{GrantId, JobId, ScheduleId};
use borealis_bus_schema::messages::access::{GrantFor, GrantOver, GrantView, RevokeGrant};
use borealis_bus_schema::messages::scheduler::Page;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::audit;
use borealis_service_kit::operator::OperatorCtx;
use borealis_service_kit::service::InternalCtx;

use super::change::{Kept, actor, change};
use crate::aggregate::{Command, Event, GrantPlace, LiveGrant, State};
use crate::service::{Access, CommandKey};

/// Is how many grants a page shows unless told otherwise, and at most.
const PAGE: usize = 500;

/// Lists the grants that live, what ends last first: the caller's own, and everybody's for whoever may see operators everywhere.
///
/// Errors: `invalid_field` for a cursor or a limit.
pub async fn list(access: Arc<Access>, ctx: OperatorCtx) -> Reply<Page<GrantView>> {
    let sees_all = ctx.caller.may_everywhere(Right::UsersRead);
    let limit = limit(ctx.call.query("limit"))?;
    let place = ctx.call.query("cursor").map(|text| place_of(&text)).transpose()?;
    let mut found = {
        let grants = access.grants().await;
        grants.before(place, limit + 1, |live| sees_all || live.author == ctx.caller.operator)
    };
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more);
    let next_cursor = next.map(|((end, grant), _)| format!("{}.{grant}", end.unix_ms()));
    let state = access.state().await;
    let items = found
        .iter()
        .map(|((_, grant), live)| show(&state, *grant, live, "active"));
    Ok(Page {
        items: items.collect(),
        next_cursor,
        total: None,
    })
}

/// Revokes a grant: nothing is signed under it any more.
///
/// Errors: `not_found` for one that is over, `right_missing` and `exceeds_own_rights` for another operator's.
pub async fn revoke(access: Arc<Access>, ctx: OperatorCtx) -> Reply<GrantView> {
    let grant: GrantId = ctx.id()?;
    let unknown = || WireError::new(Code::NotFound, "there is no such grant, or it is over");
    if let Some(first) = super::change::first::<GrantView>(&access, &ctx)? {
        return Ok(first);
    }
    let live = access.grants().await.get(&grant).cloned().ok_or_else(unknown)?;
    let may_see = live.author == ctx.caller.operator || ctx.caller.may_everywhere(Right::UsersRead);
    if !may_see {
        return Err(unknown());
    }
    let command = Command::RevokeGrant {
        grant,
        author: live.author,
        reason: "revoked by an operator".to_owned(),
        by: Some(actor(&ctx)),
    };
    let answer = |state: &State, _: &[Event]| Some(show(state, grant, &live, "revoked"));
    let view: GrantView = change(&access, &ctx, Kept::Whole, command, answer).await?;
    audit::note_object("grant", grant);
    tracing::info!(grant = %grant, by = %ctx.caller.operator, "a grant was revoked");
    Ok(view)
}

/// Ends a grant of which nothing is to come any more, as the scheduler says. It can do no harm by that which it could not do
/// by asking for nothing.
///
/// Errors: `storage_failed`.
pub async fn retire(access: Arc<Access>, _: InternalCtx, ask: RevokeGrant) -> Reply<GrantOver> {
    let grant = ask.grant;
    audit::note_object("grant", grant);
    let live = access.grants().await.get(&grant).cloned();
    let Some(live) = live else {
        audit::note_no_change();
        return Ok(GrantOver { grant });
    };
    let digest = sha256(&[b"borealis grant over".as_slice(), grant.as_bytes()].concat());
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(digest) {
        *to = from;
    }
    let command = Command::RevokeGrant {
        grant,
        author: live.author,
        reason: ask.reason,
        by: None,
    };
    let key = CommandKey {
        id,
        digest,
        answer: Vec::new(),
    };
    access.execute(command, key).await?;
    tracing::info!(grant = %grant, "a grant is over");
    Ok(GrantOver { grant })
}

fn limit(text: Option<String>) -> Reply<usize> {
    match text.map(|text| text.parse::<usize>()) {
        None => Ok(PAGE),
        Some(Ok(limit @ 1..=PAGE)) => Ok(limit),
        Some(_) => Err(WireError::new(Code::InvalidField, "limit has to be between 1 and 500")),
    }
}

fn place_of(text: &str) -> Reply<GrantPlace> {
    let wrong = || WireError::new(Code::InvalidField, "the cursor is none that this list gave");
    let (end, grant) = text.split_once('.').ok_or_else(wrong)?;
    let end = end.parse().map_err(|_| wrong())?;
    Ok((Timestamp::from_unix_ms(end), grant.parse().map_err(|_| wrong())?))
}

fn show(state: &State, id: GrantId, live: &LiveGrant, standing: &str) -> GrantView {
    let author = state.operators.get(&live.author);
    GrantView {
        id,
        acts: live.acts,
        job: (live.acts == Some(GrantFor::Job)).then(|| JobId::of_command(&live.command)),
        schedule: (live.acts == Some(GrantFor::Schedule)).then(|| ScheduleId::of_command(&live.command)),
        author: live.author,
        username: author
            .map(|author| author.username.as_str().to_owned())
            .unwrap_or_default(),
        by_token: live.by_token,
        expires_at: live.expires_at,
        state: standing.to_owned(),
    }
}
