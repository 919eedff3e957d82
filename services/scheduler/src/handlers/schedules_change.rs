//! `schedules-pause`, `-resume`, `-skip` and `-archive`: an operator's word on whether a schedule goes on.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::schedules::ScheduleView;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_event_store::{AppendError, StreamWrite};
use borealis_service_kit::operator::{OperatorCtx, wire_error};

use crate::schedule::{self, Event, Rejection, Standing, State};
use crate::scheduler::Scheduler;
use crate::schedules::firing::schedule_stream;
use crate::schedules::{Entry, Slot};
use crate::stored::Stored;

/// Decides a change for a caller.
type Decide = fn(&State, &Entry, &OperatorCtx) -> Result<Event, Rejection>;

/// Says why a change is refused.
pub(crate) fn rejected(refused: Rejection) -> WireError {
    WireError::new(Code::WrongState, refused.to_string())
}

impl Scheduler {
    /// Pauses a schedule.
    ///
    /// Errors: `not_found`, `wrong_state`, `storage_failed`.
    pub async fn schedules_pause(self: Arc<Self>, ctx: OperatorCtx) -> Reply<ScheduleView> {
        self.change(ctx, Right::JobsCancel, |state, _, ctx| {
            schedule::decide_pause(state, &ctx.caller.username, ctx.now)
        })
        .await
    }

    /// Lets a schedule go on.
    ///
    /// Errors: `not_found`, `wrong_state`, `storage_failed`.
    pub async fn schedules_resume(self: Arc<Self>, ctx: OperatorCtx) -> Reply<ScheduleView> {
        self.change(ctx, Right::JobsRun, |state, entry, ctx| {
            schedule::decide_resume(state, &entry.plan, &ctx.caller.username, ctx.now)
        })
        .await
    }

    /// Leaves the next firing out.
    ///
    /// Errors: `not_found`, `wrong_state`, `storage_failed`.
    pub async fn schedules_skip(self: Arc<Self>, ctx: OperatorCtx) -> Reply<ScheduleView> {
        self.change(ctx, Right::JobsCancel, |state, entry, ctx| {
            schedule::decide_skip(state, &entry.plan, &ctx.caller.username, ctx.now)
        })
        .await
    }

    /// Ends a schedule for good.
    ///
    /// Errors: `not_found`, `wrong_state`, `storage_failed`.
    pub async fn schedules_archive(self: Arc<Self>, ctx: OperatorCtx) -> Reply<ScheduleView> {
        self.change(ctx, Right::JobsCancel, |state, _, ctx| {
            schedule::decide_archive(state, &ctx.caller.username, ctx.now)
        })
        .await
    }

    async fn change(self: Arc<Self>, ctx: OperatorCtx, right: Right, decide: Decide) -> Reply<ScheduleView> {
        let entry = self.schedule_for(&ctx, right)?;
        if let (Some(why), Right::JobsRun) = (&entry.unplanned, right) {
            let text = format!("the schedule cannot be planned any more: {}", why.message);
            return Err(WireError::new(Code::WrongState, text));
        }
        // A task of its own: whoever asked may go away, and what is durable has its effect.
        let changed = tokio::spawn(async move {
            let mut slot = entry.slot.lock().await;
            let event = decide(&slot.state, &entry, &ctx).map_err(rejected)?;
            let after = Slot {
                state: schedule::evolve(slot.state.clone(), entry.plan.policy, &event),
                version: slot.version,
                recent: std::collections::VecDeque::new(),
                jobs: Vec::new(),
                dormant: None,
            };
            let view = entry.view(&after);
            self.write(&ctx, &entry, &mut slot, event, Vec::new(), &view).await?;
            slot.dormant = None;
            if slot.state.standing == Standing::Archived {
                self.schedules.retiring.lock().insert(entry.created.schedule);
                self.schedules.retire.notify_one();
            }
            let at = schedule::next_look(&slot.state, &entry.plan, ctx.now);
            self.schedules
                .appoint(entry.created.schedule, slot.state.queued.map(|_| ctx.now).or(at));
            Ok(view)
        });
        changed
            .await
            .unwrap_or_else(|_| Err(WireError::new(Code::Internal, "the schedule could not be changed")))
    }

    /// Appends what an operator changes of a schedule, with the answer, and folds it.
    ///
    /// Errors: `conflict`, `storage_failed`.
    pub(crate) async fn write<A: serde::Serialize>(
        &self,
        ctx: &OperatorCtx,
        entry: &Entry,
        slot: &mut Slot,
        event: Event,
        more: Vec<StreamWrite>,
        answer: &A,
    ) -> Reply<()> {
        let stream = schedule_stream(&entry.created.schedule)?;
        let mut writes = vec![StreamWrite {
            stream: stream.clone(),
            expected: slot.version,
            events: vec![Stored::Schedule(event.clone()).encode()?],
        }];
        writes.extend(more);
        let answer = serde_json::to_vec(answer).map_err(|_| WireError::new(Code::Internal, "no JSON"))?;
        if let Err(error) = ctx.append_bytes(self.log.as_ref(), writes, answer).await {
            if matches!(error, AppendError::Conflict { .. }) {
                self.catch_up(entry, &stream, slot)?;
            }
            return Err(wire_error(&error));
        }
        let version = self.version_of(&stream)?;
        slot.evolve(&entry.plan, &event, version);
        Ok(())
    }
}
