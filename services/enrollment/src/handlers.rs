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
pub mod devices_tag;
pub mod enroll_poll;
pub mod enroll_request;
pub mod hello;

mod public;

use std::cmp::Reverse;
use std::fmt::Display;
use std::str::FromStr;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::messages::shared_events::Actor;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::time::Timestamp;
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

/// Puts items in order, newest first, and cuts a page out of them.
///
/// The cursor is the place of the last item before the page; the item itself may have left the list meanwhile.
fn page<T, I, V>(
    call: &OperatorCall,
    mut items: Vec<T>,
    place: impl Fn(&T) -> (Timestamp, I),
    show: impl Fn(&T) -> V,
) -> Result<Page<V>, Refusal>
where
    I: Ord + Display + FromStr,
{
    let limit = match call.query("limit").as_deref() {
        None | Some("") => PAGE,
        Some(text) => text.parse::<usize>().map_err(|_| Refusal::InvalidField {
            what: "limit is no number".to_owned(),
        })?,
    };
    let limit = limit.clamp(1, MAX_PAGE);
    let behind = match call.query("cursor").filter(|cursor| !cursor.is_empty()) {
        None => None,
        Some(cursor) => Some(read_cursor::<I>(&cursor).ok_or_else(|| Refusal::InvalidField {
            what: "cursor is none that this list gave".to_owned(),
        })?),
    };
    items.sort_by_key(|item| Reverse(place(item)));
    let mut rest = items
        .iter()
        .skip_while(|item| behind.as_ref().is_some_and(|behind| place(item) >= *behind));
    let shown: Vec<&T> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    Ok(Page {
        next_cursor: shown.last().filter(|_| more).map(|last| {
            let (at, id) = place(last);
            format!("{}-{id}", at.unix_ms())
        }),
        items: shown.into_iter().map(show).collect(),
    })
}

fn read_cursor<I: FromStr>(cursor: &str) -> Option<(Timestamp, I)> {
    let (at_ms, id) = cursor.split_once('-')?;
    Some((Timestamp::from_unix_ms(at_ms.parse().ok()?), id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_bus_schema::ids::ApprovalId;

    fn call(query: &str) -> OperatorCall {
        OperatorCall {
            method: "GET".into(),
            path: format!("/api/v1/approvals?{query}"),
            body: Vec::new(),
            proof: None,
            peer: String::new(),
        }
    }

    fn listed(seeds: &[u8], query: &str) -> Result<Page<u8>, Refusal> {
        // Two at each instant: the id decides between them.
        let place = |seed: &u8| {
            let at = Timestamp::from_unix_ms(i64::from(*seed / 2));
            (at, ApprovalId::from_bytes([*seed; 16]))
        };
        page(&call(query), seeds.to_vec(), place, |seed| *seed)
    }

    #[test]
    fn a_list_goes_on_where_it_stood_also_when_that_item_left_it() {
        let first = listed(&[1, 2, 3, 4, 5, 6], "limit=2").unwrap();
        assert_eq!(first.items, [6, 5]);
        let cursor = first.next_cursor.unwrap();
        let next = format!("limit=2&cursor={cursor}");
        for left in [vec![1, 2, 3, 4, 5, 6], vec![1, 2, 3, 4, 6], vec![1, 2, 3, 4]] {
            let second = listed(&left, &next).unwrap();
            assert_eq!(second.items, [4, 3], "{left:?}");
        }
        let last = listed(&[1, 2], &next).unwrap();
        assert_eq!((last.items, last.next_cursor), (vec![2, 1], None));
    }

    #[test]
    fn a_cursor_that_no_list_gave_is_refused() {
        for cursor in ["x", "7", "7-x", "-"] {
            let refused = listed(&[1], &format!("cursor={cursor}")).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidField, "{cursor}");
        }
    }
}
