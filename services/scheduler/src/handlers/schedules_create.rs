//! `schedules-create`: an operator's signed request becomes a schedule.
//!
//! The request is kept as it was signed, with a grant of its own: each firing is covered by them, and signing reads from them
//! again when the schedule is due.

use std::collections::BTreeSet;
use std::sync::Arc;

use borealis_bus_schema::assembly;
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{Guid, ScheduleId, SiteName};
use borealis_bus_schema::messages::access::MintGrant;
use borealis_bus_schema::messages::scheduler::MAX_EXPIRES_IN_MS;
use borealis_bus_schema::messages::schedules::{CreateSchedule, ScheduleView};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::time::Timestamp;
use borealis_calendar::Plan;
use borealis_event_store::StreamWrite;
use borealis_service_kit::audit;
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::operator::OperatorCtx;
use serde_bytes::ByteBuf;

use super::schedules_preview::plan_refused;
use crate::job;
use crate::orders::{Warrant, refused};
use crate::schedule::{self, Created, Event};
use crate::scheduler::Scheduler;
use crate::schedules::Entry;
use crate::schedules::firing::schedule_stream;
use crate::stored::Stored;
use crate::targets;

/// Is how long a grant is asked for that no end of a schedule bounds, in milliseconds; access gives what it gives.
const ENDLESS_MS: i64 = 36_525 * 24 * 3_600_000;

impl Scheduler {
    /// Accepts a schedule.
    ///
    /// Errors: `cron_invalid`, `schedule_never_fires`, `zone_unknown`, `invalid_field`; what a job with its body is refused for,
    /// also for its assembly; `approval_required` for one on more devices than its author's limit; what access or library
    /// answer, `storage_failed`.
    pub async fn schedules_create(self: Arc<Self>, ctx: OperatorCtx) -> Reply<ScheduleView> {
        let wanted: CreateSchedule = ctx.body()?;
        let id = ScheduleId::of_command(&ctx.command);
        let proof = ctx.call.proof.as_ref();
        let signed_at = proof.map_or(ctx.now, |proof| proof.issued_at);
        let plan = Plan::read(&wanted, &id, signed_at).map_err(|refused| plan_refused(&refused))?;
        let (assembly, bytes) = self.assembly_of(&ctx, &wanted.job).await?.unzip();
        let plain = assembly::plain(wanted.job.clone(), assembly.as_ref()).map_err(refused)?;
        let what = job::check(&plain).map_err(|refused| WireError::new(refused.code(), refused.to_string()))?;
        if let Some(assembly) = &assembly {
            audit::note_object("assembly", &assembly.name);
        }
        let found = self.targets_wanted(&ctx, &plain, assembly.as_ref()).await?;
        audit::note_object("schedule", id);
        if self.needs_approval(&ctx, &found)? {
            let text =
                "the schedule is on more devices than your limit; make one on fewer, or have it made by whoever may";
            return Err(WireError::new(Code::ApprovalRequired, text));
        }
        let mint = MintGrant {
            call: ctx.call.clone(),
            expires_at: grant_ends(&wanted, &plan, ctx.now),
        };
        let options = RequestOptions {
            biscuit: Some(ctx.biscuit.clone()),
            correlation: Some(ctx.correlation),
            ..RequestOptions::default()
        };
        let list = self.files.put(targets::write(&found)).await?;
        let grant = self.bus.request(&mint, options).await?;
        self.put_script(&ctx, &plain, &what, &grant.token, ctx.now).await?;
        let warrant = Warrant {
            call: ctx.call.clone(),
            grant: grant.token,
            targets: list,
            schedule: None,
            assembly: bytes.map(ByteBuf::from),
        };
        let file = self.files.put(codec::encode(&warrant)?).await?;
        let meant = &wanted.job.targets;
        // A site that is named and has no device yet is one of its sites all the same.
        let sites: BTreeSet<SiteName> = found
            .iter()
            .filter_map(|target| Some(self.devices.get(&target.guid)?.site.clone()))
            .chain(meant.sites.iter().cloned())
            .collect();
        let guids = if meant.sites.is_empty() {
            let named: BTreeSet<Guid> = meant.guids.iter().copied().collect();
            named.into_iter().filter(|guid| !meant.except.contains(guid)).collect()
        } else {
            Vec::new()
        };
        let created = Created {
            schedule: id,
            name: wanted.name.trim().to_owned(),
            author: ctx.caller.operator,
            username: ctx.caller.username.clone(),
            what,
            expires_in_ms: wanted.job.expires_in_ms,
            timing: wanted.timing(),
            signed_at,
            created_at: ctx.now,
            grant: grant.grant,
            file,
            guids,
            sites: sites.into_iter().collect(),
        };
        let draft = Entry::new(created.clone(), plan, 0);
        let slot = draft.slot.lock().await;
        let view = draft.view(&slot);
        drop(slot);
        let event = Event::Created(Box::new(created.clone()));
        let write = StreamWrite {
            stream: schedule_stream(&id)?,
            expected: 0,
            events: vec![Stored::Schedule(event).encode()?],
        };
        // A task of its own: whoever asked may go away between the append and the collection.
        let made = tokio::spawn(async move {
            let _entering = self.entering.lock().await;
            let answer: ScheduleView = ctx.append(self.log.as_ref(), vec![write], &view).await?;
            if self.schedules.get(&id).is_none() {
                let version = self.version_of(&schedule_stream(&id)?)?;
                let entry = self.schedules.add(created, version);
                let slot = entry.slot.lock().await;
                let at = schedule::next_look(&slot.state, &entry.plan, ctx.now);
                self.schedules.appoint(id, at);
            }
            Ok(answer)
        });
        made.await
            .unwrap_or_else(|_| Err(WireError::new(Code::Internal, "the schedule could not be made")))
    }
}

/// Returns until when a schedule may have to act: a run of its last firing may wait, and then run.
fn grant_ends(wanted: &CreateSchedule, plan: &Plan, now: Timestamp) -> Timestamp {
    let Some(end) = plan.schedule.end() else {
        return now.plus_ms(ENDLESS_MS);
    };
    let timeout_ms = i64::try_from(wanted.job.timeout_ms).unwrap_or(i64::MAX);
    let waits_ms = MAX_EXPIRES_IN_MS.cast_signed();
    end.plus_ms(plan.delay_ms).plus_ms(waits_ms).plus_ms(timeout_ms)
}
