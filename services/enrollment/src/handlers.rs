//! One file per verb: read the body, decide, write, answer.

pub mod approvals_approve;
pub mod approvals_deny;
pub mod approvals_list;
pub mod codes_create;
pub mod codes_list;
pub mod codes_revoke;
pub mod device_renew;
pub mod device_rotate_key;
pub mod device_status;
pub mod devices_rotate_key;
pub mod enroll_poll;
pub mod enroll_request;
pub mod hello;

mod public;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::messages::shared_events::Actor;
use borealis_bus_schema::operator::OperatorCall;
use borealis_service_kit::auth::Resource;
use borealis_service_kit::operator::OperatorCtx;
use serde::Serialize;

use crate::error::Refusal;
use crate::ledger::Stamp;

/// Is how many items a page holds unless asked.
const PAGE: usize = 200;
/// Is how many items a page holds at most.
const MAX_PAGE: usize = 500;

/// Is a page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// What it holds.
    pub items: Vec<T>,
    /// Where to go on; null at the end.
    pub next_cursor: Option<String>,
}

/// Makes the stamp of an operator's command.
fn stamp(ctx: &OperatorCtx) -> Stamp {
    Stamp {
        id: ctx.command,
        digest: ctx.digest,
        at: ctx.now,
    }
}

/// Names the operator who calls.
fn actor(ctx: &OperatorCtx) -> Actor {
    Actor {
        operator: ctx.caller.operator,
        username: ctx.caller.username.clone(),
    }
}

/// Refuses a caller whose right does not reach a site.
fn reach(ctx: &OperatorCtx, site: &SiteName) -> Result<(), Refusal> {
    let resource = Resource {
        guid: None,
        site: site.clone(),
    };
    Ok(ctx.reach(&resource)?)
}

/// Answers a caller whose right does not reach an object's site as if there were no such object.
fn reach_object(ctx: &OperatorCtx, site: &SiteName, missing: Refusal) -> Result<(), Refusal> {
    let resource = Resource {
        guid: None,
        site: site.clone(),
    };
    ctx.reach(&resource).map_err(|error| match error.code {
        Code::OutOfScope => missing,
        _ => error.into(),
    })
}

/// Cuts a page out of items that are in order; the cursor is the key of the last item before it.
fn page<T, V>(
    call: &OperatorCall,
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    show: impl Fn(&T) -> V,
) -> Result<Page<V>, Refusal> {
    let limit = match call.query("limit").as_deref() {
        None | Some("") => PAGE,
        Some(text) => text.parse::<usize>().map_err(|_| Refusal::InvalidField {
            what: "limit is no number".to_owned(),
        })?,
    };
    let limit = limit.clamp(1, MAX_PAGE);
    let begin = match call.query("cursor").filter(|cursor| !cursor.is_empty()) {
        None => 0,
        Some(cursor) => {
            let at = items.iter().position(|item| key(item) == cursor);
            at.map(|at| at + 1).ok_or_else(|| Refusal::InvalidField {
                what: "cursor is none that this list gave".to_owned(),
            })?
        }
    };
    let mut rest = items.iter().skip(begin);
    let shown: Vec<&T> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    Ok(Page {
        next_cursor: shown.last().filter(|_| more).map(|last| key(last)),
        items: shown.into_iter().map(show).collect(),
    })
}
