//! `devices-list`: devices by host name, page by page.

use borealis_bus_schema::ids::TagName;
use borealis_bus_schema::messages::inventory::DeviceView;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;
use serde::Serialize;

use crate::app::App;
use crate::error::Refusal;
use crate::views::fleet::{Ask, Cursor};

/// Is how many devices a page holds unless asked.
const PAGE: usize = 100;
/// Is how many devices a page holds at most.
const MAX_PAGE: usize = 500;
/// Is how long a filter's text may be, in bytes.
const MAX_TEXT_BYTES: usize = 200;

/// Is a page of the list.
#[derive(Debug, Serialize)]
pub struct DevicesPage {
    items: Vec<DeviceView>,
    next_cursor: Option<String>,
    total: usize,
}

/// Lists the devices that the caller's right reaches; `q` filters by a text, `tag` by a tag, `cursor` and `limit` page.
///
/// Errors: `invalid_field` for a filter, tag, cursor or limit that is none.
pub fn handle(app: &App, ctx: &OperatorCtx) -> Result<DevicesPage, Refusal> {
    let query = |name| ctx.call.query(name).filter(|text| !text.is_empty());
    let text = query("q").unwrap_or_default();
    if text.len() > MAX_TEXT_BYTES {
        return Err(Refusal::InvalidField { what: "q is too long" });
    }
    let tag = match query("tag") {
        None => None,
        Some(text) => Some(
            text.parse::<TagName>()
                .map_err(|_| Refusal::InvalidField { what: "tag is none" })?,
        ),
    };
    let limit = match query("limit") {
        None => PAGE,
        Some(text) => text.parse::<usize>().map_err(|_| Refusal::InvalidField {
            what: "limit is no number",
        })?,
    };
    let cursor = match query("cursor") {
        None => None,
        Some(text) => Some(Cursor::parse(&text).ok_or(Refusal::InvalidField {
            what: "cursor is none that this list gave",
        })?),
    };
    let ask = Ask {
        text: text.trim(),
        tag: tag.as_ref(),
        after: cursor.as_ref(),
        limit: limit.clamp(1, MAX_PAGE),
        fresh: app.presence_is_fresh(),
        now: ctx.now,
    };
    let page = app
        .fleet()
        .page(ask, |device| ctx.caller.may(Right::DevicesRead, &device.site));
    Ok(DevicesPage {
        items: page.items,
        next_cursor: page.next_cursor,
        total: page.total,
    })
}
