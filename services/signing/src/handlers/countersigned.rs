//! `countersigned`: the newest head of a service that was confirmed, for whoever checks that service's log.

use std::sync::Arc;

use borealis_bus_schema::messages::audit::{NewestCountersigned, NewestHead};
use borealis_bus_schema::reply::Reply;
use borealis_event_store::EventLog;
use borealis_service_kit::service::InternalCtx;

use crate::countersign;

/// Reads it.
///
/// Errors: `storage_failed`.
pub async fn handle(log: Arc<dyn EventLog>, _: InternalCtx, ask: NewestCountersigned) -> Reply<NewestHead> {
    let countersigned = countersign::newest(log.as_ref(), ask.service)?;
    Ok(NewestHead { countersigned })
}
