//! `schedules-run`: an operator lets a schedule run now, in that operator's own name.
//!
//! The operator signs for the digest of the author's request, and gets a grant for that: signing needs nobody's word for what
//! is to run, and the author's standing does not matter.

use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::JobId;
use borealis_bus_schema::messages::access::MintGrant;
use borealis_bus_schema::messages::scheduler::JobCreated;
use borealis_bus_schema::messages::schedules::RunSchedule;
use borealis_bus_schema::messages::signing::Author;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_event_store::StreamWrite;
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::operator::OperatorCtx;

use super::schedules_change::rejected;
use crate::commit::job_stream;
use crate::job::{self, Fired};
use crate::orders::{self, Ends, Warrant};
use crate::schedule;
use crate::scheduler::Scheduler;
use crate::stored::Stored;
use crate::targets;

impl Scheduler {
    /// Lets a schedule run now.
    ///
    /// Errors: `not_found`, `wrong_state` for one that is archived, `conflict` for another request than the schedule's, what a
    /// job with its body is refused for, `approval_required`, what access answers, `storage_failed`.
    pub async fn schedules_run(self: Arc<Self>, ctx: OperatorCtx) -> Reply<JobCreated> {
        let entry = self.schedule_for(&ctx, Right::JobsRun)?;
        let wanted: RunSchedule = ctx.body()?;
        let author = self.warrant(&entry.created.file).await?;
        if wanted.request != Digest(author.call.digest()) {
            let text = "the request names another than the schedule's";
            return Err(WireError::new(Code::Conflict, text));
        }
        let asked = orders::schedule_of(&author.call)?;
        let assembly = author.assembly_of(&asked.job)?;
        let found = self.targets_wanted(&ctx, &asked.job, assembly.as_ref()).await?;
        if self.needs_approval(&ctx, &found)? {
            let text = "the schedule is on more devices than your limit";
            return Err(WireError::new(Code::ApprovalRequired, text));
        }
        let job = JobId::of_command(&ctx.command);
        let devices = found.len() as u64;
        let decide = |state: &schedule::State| {
            schedule::decide_run_now(state, &ctx.caller.username, ctx.now, job, devices).map_err(rejected)
        };
        decide(&entry.slot.lock().await.state)?;
        let lives_ms = i64::try_from(asked.job.expires_in_ms).unwrap_or(i64::MAX);
        let expires_at = ctx.now.plus_ms(lives_ms);
        let mint = MintGrant {
            call: ctx.call.clone(),
            expires_at: Ends::of(ctx.now, expires_at, asked.job.timeout_ms).grant,
        };
        let options = RequestOptions {
            biscuit: Some(ctx.biscuit.clone()),
            correlation: Some(ctx.correlation),
            ..RequestOptions::default()
        };
        let grant = self.bus.request(&mint, options).await?;
        let list = self.files.put(targets::write(&found)).await?;
        let warrant = Warrant {
            call: ctx.call.clone(),
            grant: grant.token,
            targets: list,
            schedule: Some(Author {
                call: author.call,
                grant: author.grant,
            }),
            assembly: author.assembly,
        };
        let created = job::Created {
            job,
            author: ctx.caller.operator,
            username: ctx.caller.username.clone(),
            what: entry.created.what.clone(),
            created_at: ctx.now,
            expires_at,
            grant: grant.grant,
            file: self.files.put(codec::encode(&warrant)?).await?,
            runs_total: devices,
            needs_approval: false,
            firing: Some(Fired {
                schedule: entry.created.schedule,
                due: None,
                targets: list,
            }),
        };
        let answer = JobCreated {
            job,
            runs_total: devices,
            awaiting_approval: false,
        };
        let write = StreamWrite {
            stream: job_stream(&job)?,
            expected: 0,
            events: vec![Stored::Job(job::Event::Created(Box::new(created.clone()))).encode()?],
        };
        // A task of its own: whoever asked may go away between the append and the book.
        let me = Arc::clone(&self);
        let event = decide(&entry.slot.lock().await.state)?;
        let made = tokio::spawn(async move {
            let mut slot = entry.slot.lock().await;
            me.write(&ctx, &entry, &mut slot, event, vec![write], &answer).await?;
            me.enter(created, found)?;
            Ok(answer)
        });
        made.await
            .unwrap_or_else(|_| Err(WireError::new(Code::Internal, "the schedule could not run")))
    }
}
