//! `schedules-preview`: when a schedule would fire, or would have.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::{SchedulePreview, SchedulePreviewed};
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;
use borealis_calendar::{CronError, Kind, PlanError, Schedule, ScheduleError, Zone, plan};
use borealis_service_kit::operator::OperatorCtx;

use crate::scheduler::Scheduler;

/// Is how many firings are shown unless told otherwise.
const COUNT: usize = 20;
/// Is how many are shown at most.
const MAX_COUNT: usize = 1000;

impl Scheduler {
    /// Shows when a schedule would fire.
    ///
    /// Errors: `cron_invalid`, `schedule_never_fires`, `zone_unknown`; `invalid_field` for whatever else is wrong.
    pub async fn schedules_preview(self: Arc<Self>, ctx: OperatorCtx) -> Reply<SchedulePreview> {
        preview(&ctx.call, self.clock.now())
    }
}

/// Answers a preview, whatever the time is.
fn preview(call: &OperatorCall, now: Timestamp) -> Reply<SchedulePreview> {
    let zone = call.query("zone").filter(|name| !name.is_empty());
    let zone = zone.map_or(Ok(Zone::utc()), |name| {
        Zone::named(&name).map_err(|error| WireError::new(Code::ZoneUnknown, error.to_string()))
    })?;
    let kind = kind(call)?;
    let (from, until) = span(call, &zone, now)?;
    let count = match call.query("count").map(|text| text.parse::<usize>()) {
        None => COUNT,
        Some(Ok(count @ 1..=MAX_COUNT)) => count,
        Some(_) => return Err(invalid("count has to be between 1 and 1000")),
    };
    // What has a start of its own begins there; cron text has been firing for ever.
    let start = match (instant(call, "start")?, &kind) {
        (Some(start), _) => start,
        (None, Kind::Cron(_)) => Timestamp::from_unix_ms(i64::MIN),
        (None, _) => from,
    };
    let schedule = Schedule::new(kind, zone, start, instant(call, "end")?).map_err(refused)?;

    let mut due = schedule.between(from, until.unwrap_or(Timestamp::from_unix_ms(i64::MAX)));
    let items = due.by_ref().take(count).map(|due| {
        let firing = schedule.describe(due);
        SchedulePreviewed {
            at: firing.due,
            local: firing.local,
            change: firing.note.as_ref().map(|note| note.as_str().to_owned()),
            note: firing.note.map(|note| note.to_string()),
        }
    });
    let items = items.collect();
    Ok(SchedulePreview {
        schedule: schedule.kind().to_string(),
        zone: schedule.zone().name().to_owned(),
        zones_release: Zone::database_version().to_owned(),
        from,
        until,
        items,
        more: due.next().is_some(),
    })
}

fn kind(call: &OperatorCall) -> Reply<Kind> {
    let (cron, kind) = (call.query("cron"), call.query("kind"));
    plan::kind(cron.as_deref(), kind.as_deref()).map_err(|error| plan_refused(&error))
}

/// Returns from when and until when.
fn span(call: &OperatorCall, zone: &Zone, now: Timestamp) -> Reply<(Timestamp, Option<Timestamp>)> {
    let (from, until) = (instant(call, "from")?, instant(call, "until")?);
    match call.query("period").as_deref() {
        None => {}
        Some("last_month") if from.is_none() && until.is_none() => return Ok(last_month(zone, now)),
        Some("last_month") => return Err(invalid("period stands in the place of from and until")),
        Some(_) => return Err(invalid("period has to be last_month")),
    }
    let from = from.unwrap_or(now);
    if until.is_some_and(|until| until <= from) {
        return Err(invalid("until has to be after from"));
    }
    Ok((from, until))
}

/// Returns the calendar month before this one, as the zone's clock sees it.
fn last_month(zone: &Zone, now: Timestamp) -> (Timestamp, Option<Timestamp>) {
    let begins = "0 0 1 * *".parse().map_err(ScheduleError::Cron);
    let months = begins.and_then(|begins| {
        Schedule::new(
            Kind::Cron(begins),
            zone.clone(),
            Timestamp::from_unix_ms(i64::MIN),
            None,
        )
    });
    let before = |at: Timestamp| {
        months
            .as_ref()
            .ok()
            .and_then(|months| months.previous(at))
            .unwrap_or(at)
    };
    let this = before(now.plus_ms(1));
    (before(this), Some(this))
}

fn instant(call: &OperatorCall, name: &str) -> Reply<Option<Timestamp>> {
    let read = |text: String| {
        text.parse()
            .map_err(|_| invalid(&format!("{name} has to be an RFC 3339 instant")))
    };
    call.query(name).map(read).transpose()
}

fn invalid(message: &str) -> WireError {
    WireError::new(Code::InvalidField, message)
}

fn refused(error: ScheduleError) -> WireError {
    plan_refused(&error.into())
}

/// Says why a request makes no schedule.
pub(crate) fn plan_refused(error: &PlanError) -> WireError {
    let code = match error {
        PlanError::Schedule(ScheduleError::Cron(CronError::NeverFires { .. }) | ScheduleError::EndsFirst)
        | PlanError::Past => Code::ScheduleNeverFires,
        PlanError::Schedule(ScheduleError::Cron(_)) => Code::CronInvalid,
        PlanError::Zone(_) => Code::ZoneUnknown,
        PlanError::Schedule(ScheduleError::Kind(_)) | PlanError::CronOrKind | PlanError::Field(_) => Code::InvalidField,
    };
    WireError::new(code, error.to_string())
}

#[cfg(test)]
mod tests;
